"""Where each node really runs, and that a silent way back to the processor is not silent here."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from edgestudio.agent.supervisor import Supervisor
from edgestudio.runtime.choice import Choice
from edgestudio.wire.errors import InstallError
from edgestudio.wire.release import Requirements
from tests.agent import releases

# A provider that this library has, and that does none of the sample's nodes: what a missing accelerator looks like.
IDLE = "AzureExecutionProvider"


def test_nodes_that_fall_back_to_the_processor_are_told_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    if IDLE not in onnxruntime.get_available_providers():
        pytest.skip(f"this ONNX Runtime has no {IDLE}")

    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await releases.push(board, releases.make_release(tmp_path / "a"))
            plain = board.info()["placement"]["digits"]
            assert plain["alarm"] is None
            assert len(plain["nodes"]) == sum(plain["counts"].values())
            assert plain["nodes_left_out"] == 0
            assert "nodes" not in board.state()["models"]["digits"]["host"]["placement"]

            chosen = Choice.from_dict
            monkeypatch.setattr(
                Choice,
                "from_dict",
                lambda row: dataclasses.replace(chosen(row), accelerator="idle", provider=IDLE),
            )
            second = releases.make_release(tmp_path / "b", version="2", counter=2)
            assert (await releases.push(board, second))["state"] == "COMMITTED"
            await asyncio.sleep(1.5)
            assert "fell back" in board.info()["placement"]["digits"]["alarm"]
            assert "fell back" in board.state()["models"]["digits"]["host"]["placement"]["alarm"]
            records = board.history(0, 500)
            told = [record for record in records if record.get("name") == "placement.fallback"]
            assert len(told) == 1
            assert told[0]["level"] == "warning"
            assert IDLE in told[0]["text"]
            windows = [r for r in records if r["k"] == "win" and r["ver"] == "2"]
            assert any("cpu_fallback_nodes" in str(window) for window in windows), windows[-1:]
        finally:
            await board.stop()

    asyncio.run(scenario())


def test_an_accelerator_that_is_not_there_is_never_passed_over_in_silence(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            await _told(board, tmp_path)
        finally:
            await board.stop()

    asyncio.run(scenario())


async def _told(board: Supervisor, tmp_path: Path) -> None:
    wanted = Requirements(accelerators=("openvino-npu", "cpu"))
    release = releases.make_release(tmp_path / "a", requires=wanted)
    assert (await releases.push(board, release))["state"] == "COMMITTED"
    placement = board.info()["placement"]["digits"]
    assert placement["accelerator"] == "cpu"
    assert placement["alarm"].startswith("openvino-npu was asked for: ")
    assert placement["alarm"].endswith("nodes run on cpu")
    await asyncio.sleep(1.5)
    records = board.history(0, 500)
    assert [r["text"] for r in records if r.get("name") == "placement.fallback"]
    assert any("cpu_fallback_nodes" in str(record) for record in records if record["k"] == "win")

    # One that runs nowhere else is refused, and what runs goes on.
    alone = Requirements(accelerators=("openvino-npu",))
    second = releases.make_release(tmp_path / "b", version="2", counter=2, requires=alone)
    install = await releases.push(board, second)
    assert install["state"] == "FAILED"
    assert "asks for" in install["reason"]
    assert board.state()["models"]["digits"]["active"]["version"] == "1.0.0"

    # What only an NVIDIA GPU has is known before a byte is sent.
    third = releases.make_release(
        tmp_path / "c", version="3", counter=3, requires=Requirements(accelerators=("tensorrt", "cuda"))
    )
    with pytest.raises(InstallError, match="has no NVIDIA GPU"):
        await releases.offer(board, third)
    fourth = releases.make_release(
        tmp_path / "d", version="4", counter=4, requires=Requirements(gpu=("Orin",))
    )
    with pytest.raises(InstallError, match="made for the GPU Orin"):
        await releases.offer(board, fourth)
