"""Fault 38: a broker that loses, repeats, reorders, restarts or lies; each record arrives once, signed by its board."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent import uplink
from edgestudio.agent.observe import spool
from edgestudio.agent.observe.recorder import Origin, Recorder
from edgestudio.agent.trust.peers import PeerStore
from edgestudio.agent.uplink import BoardUplink
from edgestudio.devices import collector
from edgestudio.devices.collector import Collector
from edgestudio.devices.known import KnownBoard
from edgestudio.runtime.uplink import Uplink
from edgestudio.wire import uplink as wire
from edgestudio.wire.errors import EdgeStudioError, InputError, TrustError
from edgestudio.wire.identity import Identity
from tests.patience import PATIENCE, until
from tests.runtime.brokers import BROKERS, WHO, broker, mosquitto
from tests.runtime.mqtt_faults import Between, between

pytest.importorskip("aiomqtt")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BATCH", 20)
    monkeypatch.setattr(uplink, "RESEND_S", 0.3)
    monkeypatch.setattr(uplink, "LONGEST_RESEND_S", 2.0)
    monkeypatch.setattr(uplink, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(uplink, "LONGEST_PAUSE_S", 0.5)
    monkeypatch.setattr(collector, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(collector, "FIRST_PAUSE_S", 0.1)


class Board:
    """The parts of a board that report."""

    def __init__(self, folder: Path, boot: str = "boot-1", boots: int = 1) -> None:
        self.identity = Identity.load_or_create(folder / "identity", "board")
        self.peers = PeerStore(folder / "peers.json")
        origin = Origin(self.identity.fingerprint, boot, True, lambda: "ok", lambda: 1.0)
        self.time_s = time.time()
        self.recorder = Recorder(folder / "spool", origin, self.peers.fingerprints, lambda: self.time_s)
        self.boot, self.boots = boot, boots
        self.events: list[str] = []

    def report(self, count: int) -> None:
        for _ in range(count):
            self.recorder.event("tick", "It ticks.")

    @contextlib.asynccontextmanager
    async def up(self, port: int) -> AsyncIterator[BoardUplink]:
        up = BoardUplink(
            _way(port), self.identity, self.boot, self.boots, self.recorder, self.peers,
            lambda name, **_: self.events.append(name),
        )  # fmt: skip
        up.start()
        try:
            yield up
        finally:
            assert up._kept._task is not None
            assert not up._kept._task.done()
            await up.stop()

    @property
    def known(self) -> KnownBoard:
        return KnownBoard(self.identity.fingerprint, "board", "127.0.0.1", 1, self.identity.cert_pem)


class Desk:
    """A studio's receiver; `seen` is what it had, by board."""

    def __init__(self, folder: Path, *boards: Board, name: str = "desk") -> None:
        self.identity = Identity.load_or_create(folder / name, name)
        self.boards = boards
        self.seen: dict[str, list[tuple[str, int]]] = {board.identity.fingerprint: [] for board in boards}
        self.records: list[dict[str, Any]] = []
        for board in boards:
            board.peers.add(name, "viewer", self.identity.cert_pem)

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[Collector]:
        def newest(board: str) -> tuple[str, int] | None:
            return self.seen[board][-1] if self.seen[board] else None

        boards = [b.known for b in self.boards]
        got = Collector(_way(port), self.identity, lambda: boards, newest)

        async def take() -> None:
            async with contextlib.aclosing(got.records()) as records:
                async for board, record in records:
                    self.seen[board].append((record["boot"], record["seq"]))
                    self.records.append(record)

        task = asyncio.ensure_future(take())
        try:
            yield got
        finally:
            task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(end, asyncio.CancelledError), end

    def has_all(self, count: int) -> bool:
        return all(len(seen) >= count for seen in self.seen.values())

    def judge(self, count: int) -> None:
        for seen in self.seen.values():
            assert [seq for _, seq in seen] == list(range(1, count + 1))


def _way(port: int) -> Uplink:
    return Uplink(host="127.0.0.1", port=port, is_tls=False, every_s=0.05, **WHO)


@pytest.fixture(params=BROKERS)
def reached(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """A broker's port."""
    with broker(request.param, tmp_path) as port:
        yield port


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_lost_repeated_or_reordered_arrives_once_and_in_order(
    tmp_path: Path, reached: int, seed: int
) -> None:
    async def scenario() -> None:
        board = Board(tmp_path / "board")
        desk = Desk(tmp_path, board)
        board.report(200)
        chances = {"lose": 0.2, "repeat": 0.2, "reorder": 0.2}
        async with between(reached, seed, **chances) as near, between(reached, seed + 10, **chances) as far:
            async with board.up(near.port), desk.listening(far.port):
                for _ in range(10):
                    board.report(20)
                    await asyncio.sleep(0.02)
                await until(lambda: desk.has_all(400), 60)
                await until(lambda: board.recorder.acknowledged_seq() == 400)
            _did_harm(near, far)
        desk.judge(400)
        board.recorder.close()

    asyncio.run(scenario())


def _did_harm(*men: Between) -> None:
    assert min(sum(man.lost for man in men), sum(man.repeated for man in men)) > 0
    assert sum(man.reordered for man in men) > 0


def test_a_broker_with_ten_places_loses_messages_and_no_record(tmp_path: Path) -> None:
    """It says yes to every message and drops what its queue does not hold: QoS 1 promises nothing."""
    import aiomqtt

    dropped: list[int] = []

    async def scenario(port: int) -> None:
        boards = [Board(tmp_path / f"board{number}") for number in range(6)]
        desk = Desk(tmp_path, *boards)
        for board in boards:
            board.report(240)
        async with contextlib.AsyncExitStack() as stack:
            watcher = await stack.enter_async_context(aiomqtt.Client("127.0.0.1", port))
            await watcher.subscribe("$SYS/broker/publish/messages/dropped")
            man = await stack.enter_async_context(between(port, 1))
            listening = await stack.enter_async_context(desk.listening(man.port))
            await until(lambda: listening.is_connected)
            man.flows.clear()  # the studio is connected, and stands still
            for board in boards:
                await stack.enter_async_context(board.up(port))
            async for message in watcher.messages:
                dropped.append(int(message.payload))
                if dropped[-1]:
                    break
            man.flows.set()
            await until(lambda: desk.has_all(240), 60)
        desk.judge(240)
        for board in boards:
            board.recorder.close()

    more = ["max_queued_messages 10", "max_inflight_messages 5", "sys_interval 1"]
    with mosquitto(tmp_path, more=more) as port:
        asyncio.run(asyncio.wait_for(scenario(port), 90 * PATIENCE))
    assert dropped[-1] > 0


@pytest.mark.parametrize("name", BROKERS)
def test_a_broker_that_restarts_and_a_studio_that_stays_away(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        board = Board(tmp_path / "board")
        desk = Desk(tmp_path, board)
        board.report(400)  # more than may be under way at once
        with contextlib.ExitStack() as brokers:
            port = brokers.enter_context(broker(name, tmp_path))
            async with board.up(port):
                await asyncio.sleep(
                    1.0
                )  # nobody listens: what is sent is sent again, and nothing is forgotten
                assert board.recorder.acknowledged_seq() == 0
                async with desk.listening(port):
                    await until(lambda: len(desk.seen[board.identity.fingerprint]) > 50)
                    brokers.close()
                    board.report(100)
                    await until(lambda: "uplink.failed" in board.events)
                    brokers.enter_context(broker(name, tmp_path, port=port))
                    await until(lambda: desk.has_all(500), 60)
                    assert "uplink.works" in board.events
                board.report(60)
                await asyncio.sleep(0.5)
                async with desk.listening(port):  # the studio was closed, and asks for what it has not
                    await until(lambda: desk.has_all(560), 60)
        desk.judge(560)
        board.recorder.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("chances", [{}, {"lose": 0.2, "repeat": 0.1, "reorder": 0.2}], ids=["calm", "lossy"])
def test_a_desk_that_was_closed_for_hours_has_what_another_had_long_ago(
    tmp_path: Path, reached: int, chances: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_CHECK_EVERY", 20)

    async def scenario() -> None:
        board = Board(tmp_path / "board")
        one, two = Desk(tmp_path, board, name="one"), Desk(tmp_path, board, name="two")

        async def all_have_all(*desks: Desk) -> None:
            """With what a board always reports; so a loss at the end is noticed."""
            count = board.recorder.last_seq
            for _ in range(60):
                places = board.recorder.positions()
                if min(places[desk.identity.fingerprint] for desk in desks) >= count:
                    return
                board.report(1)
                await asyncio.sleep(0.2)
            pytest.fail(f"{places} of {board.recorder.last_seq}")

        board.report(30)
        async with between(reached, 5, **chances) as far, board.up(reached):
            async with one.listening(far.port):
                async with two.listening(far.port):
                    await all_have_all(one, two)
                for _ in range(3):  # a day in which one desk is open
                    board.report(30)
                    board.time_s += 8 * 3600
                    await all_have_all(one)
                had = board.recorder.positions()[two.identity.fingerprint]  # its last word may have come late
                kept = board.recorder.history(0, 900)
                assert had < kept[0]["seq"] + 20, "what both have is gone"
                assert kept[0]["seq"] <= had + 1
                async with two.listening(far.port):
                    await all_have_all(one, two)
        assert len(two.records) > 120
        for desk in (one, two):
            desk.judge(len(desk.records))
        board.recorder.close()

    asyncio.run(scenario())


def test_nobody_else_can_report_acknowledge_or_repeat(tmp_path: Path, reached: int) -> None:
    import aiomqtt

    async def scenario() -> None:
        board = Board(tmp_path / "board")
        desk, stranger = Desk(tmp_path, board), Identity.load_or_create(tmp_path / "stranger", "stranger")
        me = board.identity.fingerprint
        board.report(30)
        async with aiomqtt.Client("127.0.0.1", reached, **WHO) as evil, board.up(reached):
            await evil.subscribe("es/#")
            # An acknowledgement of somebody who is not paired, for other boards, and of nonsense.
            yes = wire.Acknowledgement("boot-1", 30).to_dict()
            forged = wire.Sealer(stranger).seal(wire.ACK, me, yes)
            for payload in (
                forged, wire.Sealer(desk.identity).seal(wire.ACK, "0" * 64, yes), b"{}", b"\xff", b"[" * 9000,
                forged.replace(stranger.fingerprint.encode(), desk.identity.fingerprint.encode()),
            ):  # fmt: skip
                await evil.publish(wire.topic("home", me, wire.ACK), payload, qos=1)
            await asyncio.sleep(0.4)
            assert board.recorder.acknowledged_seq() == 0
            async with desk.listening(reached) as listening:
                await until(lambda: desk.has_all(30))
                batches = [bytes(m.payload) async for m in _first(evil, 2, wire.RECORDS)]
                lie = wire.Batch("boot-9", 9, 31, 30, [{"k": "evt", "boot": "boot-9", "seq": 31}]).to_dict()
                changed = batches[0].replace(b"It ticks", b"It lies!")
                for payload in (
                    wire.Sealer(stranger).seal(wire.RECORDS, me, lie),
                    changed,
                    *batches,
                    b"junk",
                ):
                    await evil.publish(wire.topic("home", me, wire.RECORDS), payload, qos=1)
                board.report(5)
                await until(lambda: desk.has_all(35))
                await until(lambda: listening.refused == 3)
        board.recorder.close()
        # An earlier life of the board that somebody kept is no news in a later one.
        later = Board(tmp_path / "board", "boot-2", 2)
        later.report(5)
        async with later.up(reached), desk.listening(reached) as listening:
            await until(lambda: desk.has_all(40))
            async with aiomqtt.Client("127.0.0.1", reached, **WHO) as evil:
                for payload in batches:
                    await evil.publish(wire.topic("home", me, wire.RECORDS), payload, qos=1)
            later.report(1)
            await until(lambda: desk.has_all(41))
        desk.judge(41)
        assert not any("lies" in json.dumps(record) for record in desk.records)
        later.recorder.close()

    asyncio.run(scenario())


async def _first(client: Any, count: int, kind: str) -> AsyncIterator[Any]:
    async for message in client.messages:
        if str(message.topic).endswith(kind):
            yield message
            count -= 1
        if not count:
            return


def test_sealed_messages_hold_for_one_board_one_topic_and_one_sender(tmp_path: Path) -> None:
    one, two = (Identity.load_or_create(tmp_path / name, name) for name in ("one", "two"))
    message = wire.Sealer(one).seal(wire.RECORDS, one.fingerprint, {"v": 1})
    known: Callable[[str], str | None] = {one.fingerprint: one.cert_pem, two.fingerprint: two.cert_pem}.get
    assert wire.unseal(message, wire.RECORDS, one.fingerprint, known) == (one.fingerprint, {"v": 1})
    for kind, board in ((wire.ACK, one.fingerprint), (wire.RECORDS, two.fingerprint)):
        with pytest.raises(TrustError):
            wire.unseal(message, kind, board, known)
    with pytest.raises(TrustError):
        wire.unseal(message, wire.RECORDS, one.fingerprint, lambda _: None)
    for place in range(len(message)):
        damaged = message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]
        with contextlib.suppress(EdgeStudioError):
            assert wire.unseal(damaged, wire.RECORDS, one.fingerprint, known)[1] == {"v": 1}
    for body in ({}, {"v": 2}, {"v": 1, "boot": "b", "boots": 1, "first": 1, "after": 0, "records": [1]}):
        with pytest.raises(InputError):
            wire.Batch.from_dict(body)
