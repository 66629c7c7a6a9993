"""What a board builds from a model for itself: kept under its key, trusted by digest, else built again."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgestudio.agent.run import opening
from edgestudio.agent.store.derived import DerivedStore
from edgestudio.agent.store.fsops import DiskOps
from edgestudio.agent.supervisor import Supervisor
from edgestudio.runtime.choice import Choice
from edgestudio.runtime.derive import WORTH, key_of
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.release import Requirements
from tests.agent import releases
from tests.agent.crashfs import CrashFS, PowerCutError
from tests.agent.test_host import endless
from tests.patience import until

ONNX = Requirements(runtimes=("onnx",))
"""So that no other library that happens to be installed here is chosen."""
CHOICE = Choice("tensorrt", "tensorrt", "gpu", "10.3", "Orin (8.7)", must_build=True)
KEY = key_of("a" * 64, {}, CHOICE, {})
GPU = {"name": "a GPU", "compute_capability": "8.6", "driver": "13.0"}


def kept(store: DerivedStore, key: dict[str, Any], data: bytes = b"engine") -> Path:
    part = store.begin(key, 10)
    part.write_bytes(data)
    return store.keep(key, {"build_s": 1.0})


def store_in(folder: Path) -> DerivedStore:
    store = DerivedStore(DiskOps(), folder)
    store.prepare()
    return store


def test_a_file_is_found_under_its_key_alone_and_only_as_it_was_built(tmp_path: Path) -> None:
    store = store_in(tmp_path / "derived")
    assert store.find(KEY) is None
    path = kept(store, KEY)
    found = store.find(KEY)
    assert found is not None
    assert found.path == path
    assert path.stat().st_mode & 0o777 == 0o400
    newer = key_of("a" * 64, {}, dataclasses.replace(CHOICE, version="10.4"), {})
    assert store.find(newer) is None

    path.chmod(0o600)
    path.write_bytes(b"enginf")
    assert store.find(KEY) is None  # rotten or changed: built again
    assert not path.exists()


def test_what_cannot_be_built_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    store = store_in(tmp_path / "derived")
    store.begin(KEY, 10)
    store.refuse(KEY, "no such operator")
    found = store.find(KEY)
    assert found is not None
    assert (found.path, found.refused) == (None, "no such operator")
    store.forget(KEY)
    assert store.find(KEY) is None


def test_leftovers_and_damaged_records_are_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path / "derived")
    path = kept(store, KEY)
    store.begin(key_of("b" * 64, {}, CHOICE, {}), 10)
    (tmp_path / "derived" / "alone").write_bytes(b"x")
    store.prepare()
    assert sorted(entry.name for entry in (tmp_path / "derived").iterdir()) == [
        path.name,
        f"{path.name}.json",
    ]
    (tmp_path / "derived" / f"{path.name}.json").write_text('{"key": []}')
    assert store.find(KEY) is None


def test_room_is_bounded_and_goes_with_the_models(tmp_path: Path) -> None:
    store = store_in(tmp_path / "derived")
    versions = [key_of("a" * 64, {}, dataclasses.replace(CHOICE, version=f"10.{n}"), {}) for n in range(4)]
    for key in versions:
        kept(store, key, b"x" * 100)
    orphans = [key_of(letter * 64, {}, CHOICE, {}) for letter in "bcd"]
    for key in orphans:
        kept(store, key)
    assert store.collect({"a" * 64}) == 3
    assert [store.find(key) is not None for key in orphans] == [False, True, True]
    assert [store.find(key) is not None for key in versions] == [False, False, True, True]
    assert store.collect({"a" * 64}, max_bytes=150) == 1
    assert store.find(versions[2]) is None
    with pytest.raises(DeviceError, match="building for this model may take"):
        store.begin(orphans[0], 1 << 60)


def test_a_power_cut_leaves_the_whole_file_or_none() -> None:
    def work(fs: CrashFS) -> None:
        store = DerivedStore(fs, Path("/board/derived"))
        store.prepare()
        part = store.begin(KEY, 1)
        fs.append(part, b"ENGINE" * 4)
        store.keep(KEY, {})

    def wrong(skip: set[int]) -> int:
        fs = CrashFS(folders={Path("/board")})
        work(fs)
        bad = 0
        for stop in range(fs.count + 1):
            fs = CrashFS(folders={Path("/board")})
            fs.skip, fs.stop_at = skip, stop
            with contextlib.suppress(PowerCutError):
                work(fs)
            for disk in fs.after_power_cut():
                store = DerivedStore(disk, Path("/board/derived"))
                store.prepare()
                before = copy.deepcopy(disk.names)
                found = store.find(KEY)
                if found is None:
                    bad += any(not name.name.endswith(".json") for name in before) and bool(skip)
                elif found.path is None or disk.read(found.path) != b"ENGINE" * 4:
                    bad += 1
        return bad

    assert wrong(set()) == 0


# ------------------------------------------------------------------ on a board


def run(tmp_path: Path, scenario: Callable[[Supervisor], Awaitable[None]]) -> None:
    async def whole() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await scenario(board)
        finally:
            await board.stop()

    asyncio.run(whole())


def events(board: Supervisor, name: str) -> list[dict[str, Any]]:
    return [record for record in board.history(0, 10_000) if record.get("name") == name]


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Lets a board build ONNX Runtime's optimised model as it would an engine: a real build that needs no GPU."""
    read = Choice.from_dict
    changed: dict[str, Any] = {"must_build": True}
    monkeypatch.setattr(Choice, "from_dict", lambda row: dataclasses.replace(read(row), **changed))
    return changed


def push(board: Supervisor, tmp_path: Path, counter: int, **more: Any) -> Awaitable[dict[str, Any]]:
    folder = tmp_path / f"r{counter}"
    release = releases.make_release(folder, version=f"{counter}.0", counter=counter, requires=ONNX, **more)
    return releases.push(board, release)


def test_a_build_is_a_step_of_the_install_told_cached_and_bound_to_its_version(
    tmp_path: Path, builder: dict[str, Any]
) -> None:
    async def scenario(board: Supervisor) -> None:
        board.models.opener.gpu = GPU
        assert (await push(board, tmp_path, 1))["state"] == "COMMITTED"
        assert len(events(board, "model.built")) == 1
        steps = [r for r in board.history(0, 10_000) if r["k"] == "install" and r.get("detail")]
        assert {record["state"] for record in steps} == {"STAGED"}
        assert {record["detail"] for record in steps} >= {"optimising the model"}
        placement = board.info()["placement"]["digits"]
        assert placement["derived"] is True
        assert board.install(next(iter(board.store.state.installs)))["detail"] == ""

        # The same model again, as another release, and the way back: nothing is built anew.
        assert (await push(board, tmp_path, 2))["state"] == "COMMITTED"
        assert (await board.rollback("digits"))["state"] == "COMMITTED"
        assert len(events(board, "model.built")) == 1

        # Another version of the library: built again, and what the older one needed is kept beside it.
        builder["version"] = "99.0"
        assert (await push(board, tmp_path, 3))["state"] == "COMMITTED"
        built = events(board, "model.built")
        assert len(built) == 2
        assert built[-1]["data"]["version"] == "99.0"
        files = [
            p.name for p in (board.settings.data_dir / "derived").iterdir() if not p.name.endswith(".json")
        ]
        assert len(files) == 2

    run(tmp_path, scenario)


def test_a_changed_file_is_never_loaded_but_built_again(tmp_path: Path, builder: dict[str, Any]) -> None:
    async def scenario(board: Supervisor) -> None:
        board.models.opener.gpu = GPU
        assert (await push(board, tmp_path, 1))["state"] == "COMMITTED"
        folder = board.settings.data_dir / "derived"
        path = next(entry for entry in folder.iterdir() if not entry.name.endswith(".json"))
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        seat = await board.models.open("digits", board.store.state.models["digits"].active or "")
        assert await seat.check_golden() == ""
        await seat.close()
        assert len(events(board, "model.built")) == 2

    run(tmp_path, scenario)


def test_a_build_can_be_given_up_and_killed_and_nothing_has_changed(
    tmp_path: Path, builder: dict[str, Any]
) -> None:
    async def scenario(board: Supervisor) -> None:
        assert (await push(board, tmp_path, 1))["state"] == "COMMITTED"
        board.models.opener.gpu = GPU
        before = set(psutil.Process().children())
        folder = board.settings.data_dir / "derived"
        files = sorted(folder.iterdir())
        for number, end in ((2, "abort"), (3, "kill")):
            release = releases.make_release(
                tmp_path / f"r{number}", version=f"{number}.0", counter=number, pipeline=False, with_golden=False,
                requires=ONNX, model=endless(tmp_path / f"endless{number}.onnx"),
            )  # fmt: skip
            answer = await releases.offer(board, release)
            await releases.send(board, release, answer["need"])
            await board.finish(answer["id"])
            await until(lambda i=answer["id"]: board.install(i)["detail"] == "comparing it with the model")
            if end == "abort":
                row = await board.abort(answer["id"])
            else:
                for child in set(psutil.Process().children()) - before:
                    child.kill()
                row = await releases.ended(board, answer["id"])
            assert row["state"] == "FAILED", row
            assert ("aborted" in row["reason"]) == (end == "abort")
            assert ("ended the process" in row["reason"]) == (end == "kill"), row["reason"]
            assert sorted(folder.iterdir()) == files
            await until(lambda: not set(psutil.Process().children()) - before)
        assert board.state()["models"]["digits"]["active"]["version"] == "1.0"
        assert board.state()["models"]["digits"]["quarantine"] == {}
        answer = await board.infer("digits", {"image": releases.sample_golden(_rows())[0].inputs["image"][0]})
        assert answer["label"] is not None

    run(tmp_path, scenario)


def test_a_slow_model_starts_faster_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SLOW_LOAD_MS", 0.0)

    async def scenario(board: Supervisor) -> None:
        assert (await push(board, tmp_path, 1))["state"] == "COMMITTED"
        assert board.info()["placement"]["digits"]["derived"] is False
        await until(lambda: events(board, "model.built"))
        told = events(board, "model.built")[0]["data"]
        seat = await board.models.open("digits", board.store.state.models["digits"].active or "")
        is_worth_it = told["derived_load_ms"] < WORTH * told["load_ms"]
        assert seat.loaded.placement["derived"] is is_worth_it
        assert await seat.check_golden() == ""
        await seat.close()

    run(tmp_path, scenario)


def _rows() -> Any:

    return releases.digits()[:4]
