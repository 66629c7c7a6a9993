"""Inputs kept by a real board, fetched by the studio over the network, and done again at the desk."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.net.server import AgentServer
from edgestudio.studio.app import Studio
from edgestudio.studio.boards.captures import CaptureService
from edgestudio.wire.capture import Capture
from edgestudio.wire.errors import InputError
from tests.agent import releases


async def verb(*arguments: str) -> tuple[int, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgestudio", *arguments, "--json", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out)


async def settled(captures: CaptureService, board_id: str, count: int) -> None:
    """Wait until the board has written `count` captures."""
    for _ in range(1000):
        if len((await captures.view(board_id))["captures"]) >= count:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the board kept nothing")


def test_capture_fetch_and_replay(tmp_path: Path) -> None:
    items = releases.digits()

    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        server = AgentServer(board)
        await server.start()
        studio = Studio()
        try:
            release = releases.make_release(tmp_path / "release")
            assert (await releases.push(board, release))["state"] == "COMMITTED"
            board.models.bays["digits"].is_paused = True
            row = await studio.boards.add_address("127.0.0.1", server.port)
            row = await studio.boards.pair(row.id, board.pairing.open().code)
            captures, where = studio.captures, f"127.0.0.1:{server.port}"
            view = await captures.switch(row.id, None, is_on=True, max_bytes=1 << 20)
            assert view["models"]["digits"]["every"] == 1
            session = await studio.boards.session(row.id)
            for number, item in enumerate(items[:3]):
                await session.infer("digits", {"input": item})
                await settled(captures, row.id, number + 1)
            files = await captures.fetch(row.id, tmp_path / "here")
            assert [file.name for file in files] == ["1.capture", "2.capture", "3.capture"]
            kept = Capture.from_bytes(files[0].read_bytes())
            assert (kept.raw["input"] == items[0]).all()
            assert kept.sensors["cpu_temperature"][2] == "simulated"
            assert kept.simulated

            with pytest.raises(InputError, match="not in the library"):
                await captures.replay([tmp_path / "here"])
            await studio.models.open(releases.MODEL)
            report = await captures.replay([tmp_path / "here"])
            assert report["equal"] is True, report
            assert len(report["captures"]) == 3

            status, said = await verb("capture", where)
            assert (status, len(said["captures"])) == (0, 3)
            status, said = await verb("capture", where, "--fetch", str(tmp_path / "there"))
            assert (status, len(said["files"])) == (0, 3)
            status, said = await verb("replay", str(tmp_path / "there"), "--model", str(releases.MODEL))
            assert (status, said["equal"], said["first_difference"]) == (0, True, None)
            other = tmp_path / "other.yaml"
            other.write_text(releases.PIPELINE.read_text().replace("scale: 0.0039", "scale: 0.0038"))
            status, said = await verb("replay", str(files[0]), "--pipeline", str(other))
            assert (status, said["first_difference"]) == (3, "preprocess")
            status, said = await verb("capture", where, "digits", "--off")
            assert said["models"] == {}
            status, said = await verb("capture", where, "--clear")
            assert said == {"removed": 3}
            status, said = await verb("capture", where, "--every", "2")
            assert (status, said["error"]["code"]) == (2, "usage")
        finally:
            await studio.stop()
            await server.stop()
            await board.stop()

    asyncio.run(scenario())
