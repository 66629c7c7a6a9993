"""Boards as rows: found by address, paired by code, present by heartbeat, forgotten on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from edgestudio.agent.net import server
from edgestudio.studio.app import Studio
from edgestudio.studio.boards import boards as boards_module
from edgestudio.studio.boards.address import parse_address
from edgestudio.studio.rows import BoardRow
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError, TrustError
from tests.agent.net.board import running


@contextlib.asynccontextmanager
async def desk(tmp_path):
    """A studio that watches its boards, and a board."""
    studio = Studio()
    studio.boards._directory.is_watching = True
    try:
        async with running(tmp_path / "board") as (board, server):
            yield studio, board, server
            await studio.stop()
    finally:
        await studio.stop()


async def until(condition):
    async with asyncio.timeout(90):
        while not condition():  # noqa: ASYNC110  the condition is a row's
            await asyncio.sleep(0.02)


def window(**fields):
    return {"t": time.time(), "mono": 1.0, "dur": 1.0, "m": "digits", "rel": 1, "n": 5, "sim": True, **fields}


def test_pair_watch_unpair(tmp_path):
    async def scenario():
        async with desk(tmp_path) as (studio, board, server):
            row = await studio.boards.add_address("127.0.0.1", server.port)
            assert row.id == board.identity.fingerprint
            assert (row.is_paired, row.presence, row.is_simulated) == (False, "unknown", True)
            assert studio.boards.find("bench board") == row
            assert studio.boards.find(f"127.0.0.1:{server.port}") == row
            assert studio.boards.find(row.id[:6]) == row
            with pytest.raises(TrustError):
                await studio.boards.session(row.id)

            opened = board.pairing.open()
            with pytest.raises(EdgeStudioError) as caught:
                await studio.boards.pair(row.id, "not a code at all")
            assert caught.value.hint
            row = await studio.boards.pair(row.id, opened.code)
            assert row.is_paired
            assert row.role == "owner"
            await until(lambda: studio.boards.find(row.id).presence == "online")
            await until(lambda: studio.boards.find(row.id).runtimes == ("onnxruntime",))

            board.record(**window(sys={"cpu_temperature": [48.5, "°C", "simulated"]}))
            series = studio.monitor.series(row.id)
            await until(lambda: series.snapshot().inferences == 5)
            assert series.snapshot().is_simulated
            await until(lambda: studio.boards.find(row.id).sensors)
            board.record(kind="win", nonsense=True)
            board.record(**window(n=7))
            await until(lambda: series.snapshot().inferences == 12)

            assert await studio.boards.unpair(row.id)
            assert board.peers.all() == []
            assert not studio.boards.find(row.id).is_paired
            await studio.boards.forget(row.id)
            with pytest.raises(DeviceError):
                studio.boards.find(row.id)

    asyncio.run(scenario())


def test_a_board_that_stops_is_offline_and_comes_back(tmp_path):
    async def scenario():
        studio = Studio()
        studio.boards._directory.is_watching = True
        try:
            async with running(tmp_path / "board") as (board, server):
                port = server.port
                row = await studio.boards.add_address("127.0.0.1", port)
                await studio.boards.pair(row.id, board.pairing.open().code)
                await until(lambda: studio.boards.find(row.id).presence == "online")
            await until(lambda: studio.boards.find(row.id).presence == "offline")
            assert studio.boards.find(row.id).problem
            assert studio.monitor.series(row.id).snapshot().gap
            async with running(tmp_path / "board", port):
                await until(lambda: studio.boards.find(row.id).presence == "online")
                await studio.stop()
        finally:
            await studio.stop()

        again = Studio()
        try:
            (kept,) = [seen for seen in await again.boards.survey(0.1) if seen.id == row.id]
            assert (kept.presence, kept.is_paired) == ("offline", True)
            assert not await again.boards.unpair(row.id), "a board that is gone cannot be told"
            assert again.boards.rows.get(row.id) is None
        finally:
            await again.stop()

    asyncio.run(scenario())


def test_a_board_with_a_new_address_is_waited_for_longer_than_one_that_nobody_knows(monkeypatch):
    assert server.HOUSEKEEPING_S * 2 < boards_module.MOVED_S, (
        "so long it takes a board to notice and to say so"
    )

    async def scenario():
        studio, waited = Studio(), []
        try:
            known = BoardRow("a" * 64, "there", "127.0.0.1", 9, is_paired=True)
            monkeypatch.setattr(studio.boards, "find", lambda reference: known)
            monkeypatch.setattr(studio.boards._directory, "listen", lambda: asyncio.sleep(0))
            started = asyncio.get_running_loop().time()
            assert await studio.boards.locate("there", wait_s=0.0, moved_s=0.3) is known
            waited.append(asyncio.get_running_loop().time() - started)
            assert waited[0] >= 0.3
        finally:
            await studio.stop()

    asyncio.run(scenario())


def test_nothing_there_is_said_in_a_sentence():
    async def scenario():
        studio = Studio()
        try:
            with pytest.raises(DeviceError) as caught:
                await studio.boards.add_address("127.0.0.1", 9)
            assert caught.value.hint
            with pytest.raises(DeviceError) as caught:
                await studio.boards.locate("nobody", wait_s=0.2)
            assert caught.value.code == "unknown-board"
            with pytest.raises(DeviceError):
                await studio.deployer.rollback("f" * 64)
        finally:
            await studio.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("pi.local", ("pi.local", 8743)),
        (" 10.0.0.2:99 ", ("10.0.0.2", 99)),
        ("[fe80::1%eth0]:5", ("fe80::1%eth0", 5)),
        ("[::1]", ("::1", 8743)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "a b", "host:", "host:0", "host:99999", "::1", "http://x"])
def test_what_is_no_address(text):
    with pytest.raises(InputError):
        parse_address(text)


def test_what_a_board_reported_while_the_studio_was_closed_is_fetched_once(tmp_path, monkeypatch):
    """Days without a studio: nothing is lost, nothing comes twice, no old alarm rings, and the board may forget."""
    monkeypatch.setattr("edgestudio.devices.session.ACK_EVERY_S", 0.0)
    hot = {"cpu_temperature": [95.0, "°C"]}

    async def watched(studio, board_id, inferences):
        studio.boards._directory.is_watching = True
        await studio.boards.load()
        await studio.boards._directory.watch(studio.boards._directory.get(board_id))
        await until(lambda: studio.monitor.series(board_id).snapshot().inferences == inferences)

    async def scenario():
        async with running(tmp_path / "board") as (board, server):
            first = Studio()
            row = await first.boards.add_address("127.0.0.1", server.port)
            await first.boards.pair(row.id, board.pairing.open().code)
            await first.boards._directory.watch(first.boards._directory.get(row.id))
            await until(lambda: board.listeners)
            board.record(**window(t=time.time() - 60, n=5))
            await until(lambda: first.monitor.series(row.id).snapshot().inferences == 5)
            await first.stop()
            assert board.acknowledged[-1][1:] == (board.boot_id, 1)

            for number in range(600):
                board.record(**window(t=time.time() - 50 + number / 20, n=1, sys=hot))
            second = Studio()
            try:
                await watched(second, row.id, 605)
                assert not list(second.notices.rows), "what is over rings no alarm"
                board.record(**window(t=time.time(), n=3, sys=hot))
                await until(lambda: second.monitor.series(row.id).snapshot().inferences == 608)
                await until(lambda: board.acknowledged[-1][1:] == (board.boot_id, 602))
            finally:
                await second.stop()
            third = Studio()
            try:
                await watched(third, row.id, 608)
                assert third.monitor.newest(row.id) == (board.boot_id, 602)
                kept = [record["seq"] for record in third.monitor.history().read(row.id)]
                assert sorted(kept) == list(range(1, 603))
            finally:
                await third.stop()

    asyncio.run(scenario())
