"""Fault 36 on a whole board: pushes over TLS while its clock says 1970, jumps, or is years ahead."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edgestudio.agent.net.server import AgentServer
from edgestudio.agent.supervisor import Supervisor
from edgestudio.agent.trust.clock import BUILT_UNIX_S, TrustClock
from edgestudio.devices.deploy import deploy
from edgestudio.devices.known import KnownBoard
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.errors import InstallError
from edgestudio.wire.identity import Identity
from tests.agent import releases

DAY_S = 86_400.0


def quality(clock: TrustClock) -> str:
    return clock.quality


@contextlib.asynccontextmanager
async def board_at(folder: Path, desk: Identity, wall: Callable[[], float]) -> AsyncIterator[Supervisor]:
    board = releases.supervisor(folder / "board")
    board.clock = TrustClock(folder / "board" / "clock", wall=wall)
    board.peers.add("desk", "owner", desk.cert_pem)
    server = AgentServer(board, announce=False)
    await board.start()
    await server.start()
    board.test_port = server.port  # type: ignore[attr-defined]
    try:
        yield board
    finally:
        await server.stop()
        await board.stop()


async def push(board: Supervisor, desk: Identity, publisher: Publisher, folder: Path, version: str) -> str:
    made = releases.make_release(folder)
    files = {role: made.paths[file.sha256] for role, file in made.manifest.files.items()}
    signed = publisher.publish("digits", version=version, files=files, limits=releases.SHORT)
    port: int = board.test_port  # type: ignore[attr-defined]
    known = KnownBoard(board.identity.fingerprint, "b", "127.0.0.1", port, board.identity.cert_pem)
    async with BoardSession(desk, known) as session:
        return [state async for state in deploy(session, publisher, signed)][-1].name


def test_a_board_that_wakes_in_1970_takes_a_push_and_remembers_when_it_was_signed(tmp_path: Path) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")

    async def scenario() -> None:
        started = time.time()
        async with board_at(tmp_path, desk, lambda: 5.0) as board:
            assert quality(board.clock) == "bad"
            assert board.info()["clock"] == "bad"
            assert await push(board, desk, publisher, tmp_path / "r", "1.0.0") == "committed"
            assert quality(board.clock) == "ok", "the studio's word mended it"
            assert board.clock.now() >= started - 5
            assert board.clock.floor >= started - 5, "what was signed then cannot have been earlier"
            seqs = [record["seq"] for record in board.history(0, 500)]
            assert seqs == sorted(set(seqs)), "order never came from the clock"
        async with board_at(tmp_path, desk, lambda: 5.0) as board:  # a power cut; 1970 again
            assert quality(board.clock) == "bad"
            assert board.clock.now() >= started - 5, "signed metadata on disk says so"
            assert board.state()["models"]["digits"]["serving"] is True

    asyncio.run(scenario())


def test_a_board_years_ahead_keeps_running_refuses_installs_and_recovers(tmp_path: Path) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    ahead = 0.0

    async def scenario() -> None:
        nonlocal ahead
        async with board_at(tmp_path, desk, lambda: time.time() + ahead) as board:
            assert await push(board, desk, publisher, tmp_path / "r", "1.0.0") == "committed"
            ahead = 5000 * DAY_S
            with pytest.raises(InstallError) as e:
                await push(board, desk, publisher, tmp_path / "r", "1.1.0")
            assert e.value.code == "clock-ahead"
            assert "5000 days ahead" in e.value.message
            view = board.state()["models"]["digits"]
            assert (view["active"]["version"], view["serving"]) == ("1.0.0", True)
            ahead = 0.0
            assert await push(board, desk, publisher, tmp_path / "r", "1.2.0") == "committed"

    asyncio.run(scenario())


def test_a_future_that_nobody_confirmed_is_not_remembered(tmp_path: Path) -> None:
    wall = [BUILT_UNIX_S + 5000 * DAY_S]
    clock = TrustClock(tmp_path / "clock", wall=lambda: wall[0])
    clock.keep()
    clock.raise_floor(BUILT_UNIX_S + 10 * DAY_S)
    again = TrustClock(tmp_path / "clock", wall=lambda: BUILT_UNIX_S + 11 * DAY_S)
    assert quality(again) == "ok"
    assert again.now() == BUILT_UNIX_S + 11 * DAY_S


def test_a_floor_from_the_boards_own_clock_gives_way_to_the_studio_but_not_below_what_was_signed(
    tmp_path: Path,
) -> None:
    wall = [BUILT_UNIX_S + 200 * DAY_S]
    clock = TrustClock(tmp_path / "clock", wall=lambda: wall[0])
    clock.raise_floor(BUILT_UNIX_S + 20 * DAY_S)  # and keeps its own time, half a year ahead
    assert clock.floor > BUILT_UNIX_S + 100 * DAY_S
    wall[0] = BUILT_UNIX_S + 21 * DAY_S  # somebody set it right
    assert quality(clock) == "bad"
    clock.offer(BUILT_UNIX_S + 21 * DAY_S)
    assert quality(clock) == "ok"
    assert clock.now() == pytest.approx(BUILT_UNIX_S + 21 * DAY_S)
    clock.check_install()
    clock.offer(BUILT_UNIX_S + 1 * DAY_S)
    assert clock.floor >= BUILT_UNIX_S + 20 * DAY_S, "what was signed is proof against any word"
    restarted = TrustClock(tmp_path / "clock", wall=lambda: wall[0])
    assert quality(restarted) == "ok", "the lowered floor was kept"
