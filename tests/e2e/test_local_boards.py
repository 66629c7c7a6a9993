"""Boards started from the desk: real agents, found by their announcement, gone when the desk is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import psutil
import pytest

from edgestudio.studio.app import Studio
from edgestudio.studio.paths import Paths
from edgestudio.wire.errors import DeviceError
from tests.e2e.parts import MODEL


@pytest.fixture(autouse=True)
def _on_loopback(monkeypatch):
    monkeypatch.setenv("EDGESTUDIO_DISCOVERY_INTERFACES", "127.0.0.1")


async def until(condition, timeout_s=60):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  the condition is a row's
            await asyncio.sleep(0.05)


def agents():
    return [p for p in psutil.Process().children(recursive=True) if "agent" in p.cmdline()]


def local_row(studio, name):
    return next((row for row in studio.boards.rows if row.name == name and row.is_local), None)


async def only_its_own_desk_lists(studio, board_id, folder):
    """Another window of the same home shows a board of its own, one of another home does not."""
    for home, is_shown in ((studio.paths.home, True), (folder / "stranger", False)):
        other = Studio(Paths(home))
        try:
            rows = await other.boards.survey(2.0)
            assert (board_id in [row.id for row in rows]) is is_shown
            if not is_shown:  # its address still leads there
                row = studio.boards.find(board_id)
                assert (await other.boards.add_address(row.address, row.port)).id == board_id
        finally:
            await other.stop()


def test_a_simulated_board_is_found_paired_pushed_to_and_watched(tmp_path):
    async def scenario():
        studio = Studio()
        try:
            await studio.start()
            name = await studio.boards.add_simulated("pi5")
            await until(lambda: local_row(studio, name))
            row = local_row(studio, name)
            assert row.is_simulated
            assert not row.is_paired
            await only_its_own_desk_lists(studio, row.id, tmp_path)
            await until(lambda: any("pairing code" in line for line in local_row(studio, name).screen))
            (shown,) = [line for line in local_row(studio, name).screen if "pairing code" in line]
            await studio.boards.pair(row.id, shown.split("pairing code: ")[1].split()[0])
            await until(lambda: local_row(studio, name).presence == "online")

            sample = await studio.models.open_sample()
            (pushed,) = await studio.deployer.push(sample.sha256, [row.id])
            assert pushed.state == "committed", pushed
            assert {step.state for step in pushed.steps} == {"done"}
            (active,) = local_row(studio, name).active
            assert active.sha256 == sample.sha256

            series = studio.monitor.series(row.id)
            await until(lambda: series.snapshot().inferences > 0)
            seen = series.snapshot()
            assert seen.is_simulated
            assert seen.baseline is not None
            assert seen.overall_ms["total"][50] > 0

            with pytest.raises(DeviceError):
                await studio.boards.stop_local("f" * 64)
            await studio.boards.stop_local(row.id)
            await until(lambda: studio.boards.find(row.id).presence == "offline")
            assert studio.boards.find(row.id).can_start
            assert await studio.boards.start_again(row.id) == name
            await until(lambda: studio.boards.find(row.id).presence == "online")
            assert not studio.boards.find(row.id).can_start
            with pytest.raises(DeviceError, match="already"):
                await studio.boards.start_again(row.id)
            next(p for p in agents() if name in p.cmdline()).kill()
            await until(lambda: studio.boards.find(row.id).can_start)
            again = await studio.boards.add_simulated("pi5")
            assert again == name, "a board that has ended starts again rather than a new one"
            await until(lambda: studio.boards.find(row.id).presence == "online")
            await studio.boards.forget(row.id)
            assert local_row(studio, name) is None
            assert not (studio.paths.boards / name).exists()
        finally:
            await studio.stop()
        assert not agents()

    asyncio.run(scenario())
    assert MODEL.exists()


def test_a_killed_desk_takes_its_boards_with_it(tmp_path):
    code = (
        "import asyncio\n"
        "from edgestudio.studio.app import Studio\n"
        "async def main():\n"
        "    studio = Studio()\n"
        "    await studio.boards.add_simulated('pi4')\n"
        "    print(next(iter(studio.boards._local._boards.values())).process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    desk = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert desk.stdout is not None
    try:
        agent = psutil.Process(int(desk.stdout.readline()))
        family = [agent, *agent.children(recursive=True)]
    finally:
        desk.kill()
        desk.wait()
        desk.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
