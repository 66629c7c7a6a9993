"""A board from the first push to the rollback, in one process, with real models in real child processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.agent.supervisor import Supervisor
from edgestudio.wire.errors import DeviceError, InstallError
from edgestudio.wire.release import HealthLimits, Requirements
from tests.agent import releases


def test_a_board_installs_serves_reports_and_goes_back(tmp_path: Path) -> None:
    asyncio.run(_whole_life(tmp_path))


async def _whole_life(tmp_path: Path) -> None:
    first = releases.make_release(tmp_path / "r1")
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        seen: list[dict[str, Any]] = []
        listening = asyncio.ensure_future(_collect(board, seen.append))
        done = await releases.push(board, first)
        assert done["state"] == "COMMITTED", done
        states = [step["state"] for step in done["history"]]
        assert states == [
            "OFFERED", "RECEIVING", "VERIFIED", "INSPECTED", "STAGED", "DRYRUN", "TRIAL", "COMMITTED",
        ]  # fmt: skip
        state = board.state()
        assert state["models"]["digits"]["active"]["version"] == "1.0.0"
        assert state["models"]["digits"]["serving"] is True
        assert board.hello()["simulated"] is True

        answer = await board.infer("digits", {"input": releases.digits()[0]})
        assert answer["release"] == 1
        assert answer["outputs"]

        second = releases.make_release(tmp_path / "r2", version="1.1.0", counter=2)
        offered = await releases.offer(board, second)
        sent = await releases.send(board, second, offered["need"])
        assert sent == 0, "every chunk was on the board already"
        await board.finish(offered["id"])
        assert (await releases.ended(board, offered["id"]))["state"] == "COMMITTED"
        assert board.state()["models"]["digits"]["previous"]["version"] == "1.0.0"

        with pytest.raises(InstallError, match="not newer"):
            await releases.offer(board, releases.make_release(tmp_path / "r0", version="0.9", counter=1))

        with pytest.raises(InstallError, match="no model nobody") as refused:
            await board.rollback("nobody")
        assert "digits" in refused.value.hint
        back = await board.rollback("digits")
        assert back["state"] == "COMMITTED"
        assert back["active"] == "1.0.0"
        await asyncio.sleep(2.2)
        listening.cancel()
        kinds = {record["k"] for record in seen}
        assert {"win", "evt", "install"} <= kinds
        windows = [record for record in board.history(0, 500) if record["k"] == "win"]
        assert windows
        assert all(window["sim"] for window in windows)
        assert sum(window["n"] for window in windows) > 0
        assert any(window["conf"] for window in windows)
        assert windows[-1]["sys"]["cpu_temperature"][2] == "simulated"
    finally:
        await board.stop()


async def _collect(board: Supervisor, note: Callable[[dict[str, Any]], None]) -> None:
    async for record in board.subscribe():
        note(record)


def test_a_wrong_golden_answer_never_serves(tmp_path: Path) -> None:
    asyncio.run(_wrong_golden(tmp_path))


async def _wrong_golden(tmp_path: Path) -> None:
    golden, _ = releases.sample_golden(releases.digits()[:4])
    for array in golden.outputs.values():
        array[...] = array[..., ::-1]
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        good = await releases.push(board, releases.make_release(tmp_path / "good"))
        assert good["state"] == "COMMITTED"
        wrong = releases.make_release(tmp_path / "bad", version="2", counter=2, golden=golden)
        bad = await releases.push(board, wrong)
        assert bad["state"] == "FAILED"
        assert "golden" in bad["reason"]
        assert board.state()["models"]["digits"]["active"]["version"] == "1.0.0"
        with pytest.raises(InstallError, match="failed here before"):
            await releases.offer(board, wrong)
    finally:
        await board.stop()


def test_an_unhealthy_trial_rolls_back_and_says_so_after_the_old_one_answered(tmp_path: Path) -> None:
    asyncio.run(_unhealthy(tmp_path))


async def _unhealthy(tmp_path: Path) -> None:
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        assert (await releases.push(board, releases.make_release(tmp_path / "a")))["state"] == "COMMITTED"
        limits = HealthLimits(trial_s=8.0, trial_inferences=10, memory_bytes=1)
        bad = await releases.push(
            board, releases.make_release(tmp_path / "b", version="2", counter=2, limits=limits)
        )
        assert bad["state"] == "FAILED"
        assert "MiB" in bad["reason"]
        assert bad["rolled_back_to"] == "1.0.0"
        assert "answers its golden inputs again" in bad["reason"]
        states = [step["state"] for step in bad["history"]]
        assert states[-3:] == ["TRIAL", "ROLLBACK", "FAILED"]
        assert board.state()["models"]["digits"]["serving"] is True
    finally:
        await board.stop()


def test_what_does_not_fit_is_refused_before_a_byte_is_sent(tmp_path: Path) -> None:
    asyncio.run(_refusals(tmp_path))


async def _refusals(tmp_path: Path) -> None:
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        for requires in (
            Requirements(arch=("riscv64",)),
            Requirements(hardware=("toaster",)),
            Requirements(runtimes=("abacus",)),
            Requirements(min_memory_bytes=2**50),
        ):
            with pytest.raises(InstallError) as refused:
                await releases.offer(board, releases.make_release(tmp_path / "r", requires=requires))
            assert refused.value.code == "wrong-device"
        assert board.state()["models"] == {}
        with pytest.raises(DeviceError):
            await board.infer("digits", {"input": np.zeros(3)})
    finally:
        await board.stop()
