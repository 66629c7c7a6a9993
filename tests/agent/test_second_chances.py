"""What may be tried again, what goes back by itself after the commit, and a board too small for two models at once."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from edgestudio.agent.install.quarantine import MAX_QUARANTINED, put_away
from edgestudio.agent.install.room import fits, needed_bytes
from edgestudio.agent.run.host import ModelFailedError, ModelHost
from edgestudio.agent.store.state import ModelRow, ReleaseRow
from edgestudio.agent.supervisor import Supervisor
from edgestudio.devices.publisher import KEPT_RELEASES
from edgestudio.runtime.choice import Choice
from edgestudio.wire.errors import DeviceError, InputError, InstallError
from edgestudio.wire.release import HealthLimits
from tests.agent import releases


def names(board: Supervisor) -> list[str]:
    return [str(record.get("name")) for record in board.history(0, 500) if record["k"] == "evt"]


def wrong_release(folder: Path, counter: int = 2) -> releases.LocalRelease:
    golden, _ = releases.sample_golden(releases.digits()[:4])
    for array in golden.outputs.values():
        array[...] = array[..., ::-1]
    return releases.make_release(folder, version="2", counter=counter, golden=golden)


def test_a_person_lets_a_release_out_of_quarantine(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await releases.push(board, releases.make_release(tmp_path / "good"))
            wrong = wrong_release(tmp_path / "bad")
            assert (await releases.push(board, wrong))["state"] == "FAILED"
            (held,) = board.state()["models"]["digits"]["quarantined"]
            assert "golden" in held["reason"]
            with pytest.raises(InstallError, match="failed here before"):
                await releases.offer(board, wrong)
            with pytest.raises(DeviceError) as e:
                board.let_go("digits", "0" * 64, "desk")
            assert e.value.code == "not-quarantined"
            told = board.let_go("digits", held["manifest"], "desk")
            assert told["reason"] == held["reason"]
            assert board.state()["models"]["digits"]["quarantined"] == []
            again = Supervisor(board.settings)
            again.store.open()
            again.recorder.close()
            assert again.store.state.models["digits"].quarantine == {}, "it is on disk"
            assert (await releases.push(board, wrong))["state"] == "FAILED", "tried again, and judged again"
            assert "quarantine.released" in names(board)
        finally:
            await board.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(("on_creep", "version"), [("event", "2"), ("rollback", "1.0.0")])
def test_what_creeps_up_after_the_commit_tells_or_goes_back(
    tmp_path: Path, on_creep: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await releases.push(board, releases.make_release(tmp_path / "a"))
            limits = HealthLimits.from_dict({**releases.SHORT.to_dict(), "on_creep": on_creep})
            second = releases.make_release(tmp_path / "b", version="2", counter=2, limits=limits)
            assert (await releases.push(board, second))["state"] == "COMMITTED"
            seat = board.models.bays["digits"].serving
            assert seat is not None
            # Two hours of a leak, in the readings that the reporter takes once a second.
            for number in range(200):
                monkeypatch.setattr(seat.host, "rss_bytes", lambda n=number: (200 + 10 * n) << 20)
                board.reporter._watch_creep("digits", seat, {})
            await asyncio.sleep(0.1)
            await board.machine.wait()
            assert board.state()["models"]["digits"]["active"]["version"] == version
            assert names(board).count("model.creep") == 1
            if on_creep == "rollback":
                (held,) = board.state()["models"]["digits"]["quarantined"]
                assert "memory grew" in held["reason"]
                assert board.state()["models"]["digits"]["serving"] is True
        finally:
            await board.stop()

    asyncio.run(scenario())


def test_the_first_release_of_a_model_is_never_taken_away_by_creep(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            limits = HealthLimits(trial_s=1.0, trial_inferences=10, on_creep="rollback")
            await releases.push(board, releases.make_release(tmp_path / "a", limits=limits))
            assert board.models.has_previous("digits") is False
            assert board.models.has_previous("other") is False
        finally:
            await board.stop()

    asyncio.run(scenario())


def test_an_unknown_word_for_creep_is_refused() -> None:
    assert HealthLimits.from_dict({}).on_creep == "event"
    with pytest.raises(InputError):
        HealthLimits.from_dict({"on_creep": "explode"})


def test_a_board_short_of_memory_pauses_for_the_dry_run_and_loses_no_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await releases.push(board, releases.make_release(tmp_path / "a"))
            board.machine._steps._available = lambda: 1 << 20  # type: ignore[attr-defined]
            item, answered, done = releases.digits()[0], list[int](), asyncio.Event()

            async def ask() -> None:
                while not done.is_set():
                    answered.append((await board.infer("digits", {"input": item}))["release"])
                    await asyncio.sleep(0.01)

            asking = asyncio.ensure_future(ask())
            second = releases.make_release(tmp_path / "b", version="2", counter=2)
            assert (await releases.push(board, second))["state"] == "COMMITTED"
            assert "model.making_room" in names(board)
            wrong = wrong_release(tmp_path / "c", counter=3)
            failed = await releases.push(board, wrong)
            assert failed["state"] == "FAILED"
            done.set()
            await asking  # raises when a request was lost
            assert set(answered) == {1, 2}
            state = board.state()["models"]["digits"]
            assert state["active"]["version"] == "2"
            assert state["serving"] is True
            assert names(board).count("model.making_room") == 2
            assert "model.resumed" in names(board)
            limits = HealthLimits(trial_s=8.0, trial_inferences=10, memory_bytes=1)
            unhealthy = releases.make_release(tmp_path / "d", version="4", counter=4, limits=limits)
            ended = await releases.push(board, unhealthy)
            assert ended["rolled_back_to"] == "2"
            assert (await board.infer("digits", {"input": item}))["release"] == 2
        finally:
            await board.stop()

    asyncio.run(scenario())


def test_room_is_what_the_release_says_or_an_estimate_from_its_file(tmp_path: Path) -> None:
    plain = releases.make_release(tmp_path / "a").manifest
    stated = releases.make_release(tmp_path / "b", limits=HealthLimits(memory_bytes=1 << 30)).manifest
    assert needed_bytes(stated) == 1 << 30
    assert needed_bytes(plain) > 3 * plain.files["model"].size_bytes
    assert fits(plain, 4 << 30)
    assert not fits(stated, 1 << 30), "the rest of the board needs some too"


def test_a_release_that_was_removed_keeps_its_name_in_what_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await releases.push(board, releases.make_release(tmp_path / "1", version="1.0"))
            strict = dataclasses.replace(releases.SHORT, memory_bytes=1, trial_s=8.0)
            bad = releases.make_release(tmp_path / "2", version="2.0", counter=2, limits=strict)
            failed = await releases.push(board, bad)
            assert [row.counter for row in board.store.state.releases.values()] == [1], "its row is gone"
            told = board.install(failed["id"])
            assert (told["version"], told["release"], told["active"]) == ("2.0", 2, "1.0")
            (kept,) = board.state()["models"]["digits"]["quarantined"]
            assert (kept["version"], kept["release"]) == ("2.0", 2)
        finally:
            await board.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_a_board_short_of_memory_pauses_for_a_build_as_well(
    tmp_path: Path, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built stands for an engine; nothing here builds one without its vendor's library."""

    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await releases.push(board, releases.make_release(tmp_path / "a"))
            board.machine._steps._available = lambda: 1 << 20  # type: ignore[attr-defined]
            paused: list[bool] = []
            choice = Choice("tensorrt", "tensorrt_rtx", "", "1", "a GPU", must_build=True)

            async def ways(*_: object) -> dict[str, object]:
                return {"choices": [choice.to_dict()], "fed": {}}

            async def build(*_: object) -> None:
                paused.append(board.models.bays["digits"].serving is None)
                if fails:
                    raise ModelFailedError("it cannot be built", hint="", code="build-failed")

            opener = board.models.opener
            with monkeypatch.context() as patch:
                patch.setattr(opener, "gpu", {"name": "a GPU"})
                patch.setattr(opener, "_derived", build)
                patch.setattr(ModelHost, "ask", ways)
                build_step = board.machine._steps.build

                async def then_without_gpu(row: object, progress: object) -> None:
                    try:
                        await build_step(row, progress)  # type: ignore[arg-type]
                    finally:
                        patch.undo()  # what follows runs on the processor

                patch.setattr(board.machine._steps, "build", then_without_gpu)
                second = releases.make_release(tmp_path / "b", version="2", counter=2)
                ended = await releases.push(board, second)
            assert paused == [True]
            assert ended["state"] == ("FAILED" if fails else "COMMITTED")
            assert names(board).count("model.making_room") == 1
            assert names(board).count("model.resumed") == int(fails)
            answer = await board.infer("digits", {"input": releases.digits()[0]})
            assert answer["release"] == (1 if fails else 2)
        finally:
            await board.stop()

    asyncio.run(scenario())


def test_a_long_quarantine_forgets_what_is_refused_all_the_same() -> None:
    slots = ModelRow(floor=50, quarantine={"f" * 64: "of an agent that kept no counters"})
    for counter in range(1, MAX_QUARANTINED + 100):
        put_away(slots, ReleaseRow("m", "", counter, f"{counter:064d}", ""), "it failed")
    assert len(slots.quarantine) == MAX_QUARANTINED
    assert set(slots.failed.values()) == set(range(100, MAX_QUARANTINED + 100)), "the newest stay"
    assert set(slots.failed) == set(slots.quarantine)
    assert KEPT_RELEASES < MAX_QUARANTINED, "no list names more releases of a model than are remembered here"
