"""What a board's pipeline does under pressure, on real models: full queues, late items, heat; and what it may start."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.agent.observe.sensors.reading import Reading
from edgestudio.agent.run.dispatch import STAND_INS
from edgestudio.agent.run.queue import CAPACITY
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.supervisor import Supervisor
from edgestudio.runtime.backend import open_session
from tests.agent import releases
from tests.agent.test_live import DIGITS, counted, events, paused, pushed, run, windows
from tests.patience import PATIENCE, until
from tests.runtime.servers import model_server, web_server


def test_a_flood_is_dropped_by_the_pipelines_own_policy_and_counted(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        bay = await pushed(
            board, tmp_path / "r", {"queue": {"size": 2, "when_full": "drop-oldest", "deadline_ms": 5000}}
        )
        bay.is_paused = True
        asked = [board.infer("digits", {"input": item}) for item in DIGITS[:24]]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert 0 < len(refused) < len(answers)
        assert {getattr(error, "code", "") for error in refused} == {"busy"}
        await until(lambda: sum(window.dropped for window in windows(board)) >= len(refused))
        assert max(window.queue_max for window in windows(board)) == 2

    run(tmp_path, scenario)


def test_what_waits_too_long_is_dropped_instead_of_answered_late(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        bay = await pushed(board, tmp_path / "r", {"queue": {"size": 64, "deadline_ms": 1}})
        bay.is_paused = True
        bay.slowdown = 200.0  # as a simulated hot board is slowed down
        asked = [board.infer("digits", {"input": item}, deadline_ms=1) for item in DIGITS[:24]]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(answer, Exception) for answer in answers)
        await until(lambda: counted(board, "expired") >= 1)

    run(tmp_path, scenario)


def test_whoever_has_time_is_answered_by_a_model_that_takes_long_to_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(board: Supervisor) -> None:
        bay = await pushed(board, tmp_path / "r", {})
        await paused(bay)
        gate, reopen, usual_s = asyncio.Event(), board.models.reopen, bay.deadline_s

        async def slowly(model: str, release: str) -> Seat:
            await gate.wait()
            return await reopen(model, release)

        monkeypatch.setattr(board.models, "reopen", slowly)
        assert bay.serving is not None
        os.kill(bay.serving.host.pid or 0, signal.SIGKILL)
        await until(lambda: bay.serving is not None and not bay.serving.host.is_alive)
        bay.deadline_s = 0.05  # how long an answer itself may take
        asking = asyncio.ensure_future(
            board.infer("digits", {"input": DIGITS[0]}, deadline_ms=60_000 * PATIENCE)
        )
        await asyncio.sleep(0.5)
        bay.deadline_s = usual_s
        assert not asking.done()
        gate.set()
        assert (await asking)["release"] == 1

    run(tmp_path, scenario)


def test_a_lighter_model_that_is_slower_than_the_source_lets_nothing_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(board: Supervisor) -> None:
        folder = tmp_path / "r"
        folder.mkdir()
        (folder / "lighter.onnx").write_bytes(releases.MODEL.read_bytes())
        chain = {"fallback": [{"kind": "model", "file": "lighter.onnx"}]}
        bay = await pushed(board, folder, chain, files={"lighter": folder / "lighter.onnx"})
        bay.is_paused = True
        await until(lambda: bay.live is not None and bay.live._lighter and not bay._elsewhere)
        assert bay.live is not None
        gate, answering = asyncio.Event(), bay.live._lighter_answer

        async def slowly(*arguments: Any) -> Any:
            await gate.wait()
            return await answering(*arguments)

        monkeypatch.setattr(bay.live, "_lighter_answer", slowly)
        bay.prefers_lighter = True  # as on a hot board
        asked = []
        for item in DIGITS[:24]:
            asked.append(asyncio.ensure_future(board.infer("digits", {"input": item})))
            await asyncio.sleep(0.01)
        await until(lambda: any(task.done() for task in asked))
        assert len(bay._elsewhere) == STAND_INS
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert {getattr(error, "code", "") for error in refused} == {"busy"}
        served = [answer["served"] for answer in answers if isinstance(answer, dict)]
        assert set(served) == {"file:lighter.onnx"}
        assert STAND_INS < len(served) <= STAND_INS + 1 + CAPACITY, "being done, in hand, in the line"

    run(tmp_path, scenario)


def test_a_command_that_the_owner_allows_gets_the_result_and_nothing_else(tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"
    policy = f"commands: {{tell: {{argv: [/bin/sh, -c, 'cat >> {told}; echo >> {told}; echo $# >> {told}.count']}}}}\n"

    async def scenario(board: Supervisor) -> None:
        bay = await pushed(
            board,
            tmp_path / "r",
            {"actions": [{"kind": "command", "name": "tell", "when": {"on_change": True}}]},
        )
        bay.is_paused = True
        await until(lambda: bay.live is not None)
        before = len(told.read_text().splitlines()) if told.exists() else 0
        labels = [(await board.infer("digits", {"input": item}))["label"] for item in DIGITS[:3]]
        await until(lambda: told.exists() and len(told.read_text().splitlines()) >= before + 1)
        await until(lambda: counted(board, "action_sent") >= 1)
        rows = [json.loads(line) for line in told.read_text().splitlines() if line.strip()]
        assert {row["label"] for row in rows} & set(labels)
        assert all(row["model"] == "digits" and "outputs" not in row for row in rows)
        assert set((tmp_path / "told.jsonl.count").read_text().split()) == {"0"}

    run(tmp_path, scenario, policy)


class _Thermometer:
    """Stands in for the sensors alone: says the temperature that the test sets."""

    def __init__(self) -> None:
        self.celsius = 60.0

    def read(self) -> dict[str, Reading]:
        return {"cpu_temperature": Reading(self.celsius, "°C", "test")}


def test_a_hot_board_climbs_the_whole_ladder_and_comes_down_again(tmp_path: Path) -> None:
    session = open_session(releases.MODEL)

    async def scenario(board: Supervisor) -> None:
        thermometer = _Thermometer()
        ticks = itertools.count(0.0, 31.0)  # longer than the ladder waits between two steps
        reporter = board.reporter
        assert reporter._task is not None
        reporter._task.cancel()
        await asyncio.gather(reporter._task, return_exceptions=True)
        reporter._bank, reporter._clock = thermometer, lambda: next(ticks)  # type: ignore[assignment]
        board.models.threads = 2
        async with web_server({"/v2/models/big/infer": model_server(session, [], [])}) as url:
            folder = tmp_path / "r"
            folder.mkdir()
            (folder / "lighter.onnx").write_bytes(releases.MODEL.read_bytes())
            changes = {
                "fallback": [{"kind": "model", "file": "lighter.onnx"}],
                "second_opinion": {
                    "is_on": True, "confidence_below": 0.0, "remote": {"url": url, "model": "big"},
                },
            }  # fmt: skip
            pushing = asyncio.ensure_future(
                pushed(board, folder, changes, files={"lighter": folder / "lighter.onnx"})
            )
            while not pushing.done():  # the trial is watched by the heartbeat that is stopped here
                await reporter.beat()
                await asyncio.sleep(0.2)
            bay = await pushing
            await until(lambda: bay.live is not None and bay.live._lighter and bay.live._remote)
            rate_hz = bay.rate_hz

            async def served() -> str:
                return str((await board.infer("digits", {"input": DIGITS[0]})).get("served", "itself"))

            def threads() -> int:
                return bay.serving.host.spec.threads if bay.serving else 0

            assert (await served(), threads()) == ("itself", 2)
            thermometer.celsius = 95.0
            seen: list[Any] = []
            for _ in range(5):
                await reporter.beat()
                seen.append(
                    (reporter.ladder.rung, round(bay.rate_hz / rate_hz, 2), threads(), await served())
                )
            assert seen == [
                ("fewer-frames", 0.5, 2, "itself"),
                ("fewer-threads", 0.5, 1, "itself"),
                ("smaller-model", 0.5, 1, "file:lighter.onnx"),
                ("remote", 0.5, 1, "remote"),
                ("paused", 0.5, 1, "file:lighter.onnx"),
            ]
            assert bay.is_halted
            thermometer.celsius = 78.0  # between the limits: nothing changes
            await reporter.beat()
            assert reporter.ladder.rung == "paused"
            thermometer.celsius = 60.0
            down = []
            for _ in range(5):
                await reporter.beat()
                down.append(reporter.ladder.rung)
            assert down == ["remote", "smaller-model", "fewer-threads", "fewer-frames", "normal"]
            assert (await served(), threads(), bay.rate_hz) == ("itself", 2, rate_hz)
            assert len(events(board, "throttle")) == 10
            assert all("°C" in text for text in events(board, "throttle"))

    run(tmp_path, scenario, "remote: {is_allowed: true, hosts: [127.0.0.1]}\n")
    session.close()


def test_pictures_of_a_folder_that_a_release_carries_run_on_a_board(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        folder = tmp_path / "r"
        folder.mkdir()
        np.savez(folder / "source.npz", x=DIGITS[:5].astype(np.uint8))
        bay = await pushed(
            board, folder, {"source": {"kind": "folder", "path": "source.npz", "rate_hz": 50}},
            files={"source": folder / "source.npz"},
        )  # fmt: skip
        assert bay.serving is not None
        assert bay.serving.loaded.samples == 5
        before = bay.serving.ticks
        await until(lambda: bay.serving is not None and bay.serving.ticks > before + 10)
        assert counted(board, "invalid") == 0

    run(tmp_path, scenario)
