"""Where each node really runs, and that a silent way back to the processor is not silent here."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from edgestudio.agent.run import seat as seats
from edgestudio.agent.run.host import HostSpec
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

            monkeypatch.setattr(
                seats, "HostSpec", lambda **fields: dataclasses.replace(HostSpec(**fields), providers=(IDLE,))
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
