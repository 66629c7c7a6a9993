"""Who has a place at the door: strangers and greedy studios keep nobody out, and what one may ask for is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from edgestudio.agent.net import stream
from edgestudio.agent.net.budget import Budget, Room
from edgestudio.agent.net.places import MAX_OF_STUDIOS, MAX_PER_STUDIO, MAX_STRANGERS, Place, Places
from edgestudio.wire import api, tls
from edgestudio.wire.identity import Identity
from tests.agent.net.test_server import run, scene
from tests.patience import PATIENCE, until


@dataclass
class Door:
    """Places with a record of who had to go."""

    paired: set[str] = field(default_factory=lambda: {"a", "b", "c"})
    gone: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = Places(lambda studio: studio in self.paired)

    def knock(self, host: str, name: str, studio: str | None = None) -> Place:
        place = Place(host, lambda: self.gone.append(name), lambda: name not in self.gone)
        self.places.enter(place)
        if studio is not None:
            self.places.prove(place, studio)
        return place


def test_of_strangers_the_oldest_of_the_greediest_address_goes() -> None:
    door = Door()
    door.knock("9.9.9.9", "honest")
    for number in range(MAX_STRANGERS + 5):
        door.knock("6.6.6.6", f"evil{number}")
    assert door.gone == [f"evil{number}" for number in range(6)]


def test_strangers_push_no_studio_out_and_studios_no_other() -> None:
    door = Door()
    for number in range(MAX_PER_STUDIO + 4):
        door.knock("1.1.1.1", f"a{number}", "a")
    assert door.gone == ["a0", "a1", "a2", "a3"]
    for number in range(MAX_OF_STUDIOS):
        door.knock(f"2.2.2.{number}", f"s{number}")
    assert not any(name.startswith("a") for name in door.gone[4:])
    for number in range(MAX_PER_STUDIO):
        door.knock("2.2.2.2", f"b{number}", "b")
    door.gone.clear()
    door.knock("3.3.3.3", "c0", "c")  # all places of studios are taken
    assert door.gone in (["a4"], ["b0"])


def test_an_unpaired_studio_is_a_stranger_again() -> None:
    door = Door()
    place = door.knock("1.1.1.1", "a0", "a")
    door.paired.clear()
    for number in range(MAX_STRANGERS):
        door.knock(f"6.6.6.{number}", f"x{number}")
    assert place.studio == "a"
    assert door.gone == ["a0"]


def test_a_budget_fills_at_its_rate() -> None:
    now = [0.0]
    budget = Budget(2.0, 3.0, lambda: now[0])
    assert [budget.spend("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert budget.spend("b") == 0
    now[0] = 0.5
    assert [budget.spend("a"), budget.spend("a")] == [0, 0.5]


def test_what_one_holds_waits_for_itself_alone() -> None:
    async def scenario() -> None:
        room, order = Room(10), []

        async def hold(key: str, size: int, name: str, until_set: asyncio.Event) -> None:
            async with room.held(key, size):
                order.append(name)
                await until_set.wait()

        done, now = asyncio.Event(), asyncio.Event()
        now.set()
        tasks = [asyncio.ensure_future(hold("a", 99, "huge", done))]
        await asyncio.sleep(0)
        tasks += [
            asyncio.ensure_future(hold("a", 1, "behind", now)),
            asyncio.ensure_future(hold("b", 9, "other", now)),
        ]
        await until(lambda: len(order) == 2, 5)
        assert order == ["huge", "other"]
        done.set()
        await asyncio.gather(*tasks)
        assert order[-1] == "behind"

    asyncio.run(scenario())


@contextlib.contextmanager
def connections(port: int, count: int, context: ssl.SSLContext | None) -> Iterator[list[socket.socket]]:
    """Connections from several addresses of the loopback; without `context` they never say a word."""
    held: list[socket.socket] = []
    try:
        for number in range(count):
            made = socket.create_connection(
                ("127.0.0.1", port), 5 * PATIENCE, (f"127.0.0.{2 + number % 4}", 0)
            )
            held.append(context.wrap_socket(made) if context else made)
        yield held
    finally:
        for connection in held:
            connection.close()


@contextlib.asynccontextmanager
async def held(port: int, count: int, context: ssl.SSLContext | None) -> AsyncIterator[list[socket.socket]]:
    """`connections`, made beside the loop that answers them."""
    made = connections(port, count, context)
    try:
        yield await asyncio.to_thread(made.__enter__)
    finally:
        made.__exit__(None, None, None)


@pytest.mark.parametrize("speak", [False, True])
def test_strangers_from_many_addresses_keep_no_studio_out(tmp_path: Path, speak: bool) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            context = tls.client_context(None, s.board.identity.cert_pem) if speak else None
            async with held(s.port, 60, context):
                for _ in range(5):
                    async with s.client(s.desk) as client, client.get(api.INFO) as answer:
                        assert answer.status == 200

    run(scenario())


def test_a_studio_with_all_its_connections_and_streams_keeps_no_other_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s, contextlib.AsyncExitStack() as stack:
            greedy = Identity.load_or_create(tmp_path / "greedy", "greedy")
            s.board.peers.add("greedy", "viewer", greedy.cert_pem)
            context = tls.client_context(greedy, s.board.identity.cert_pem)
            await stack.enter_async_context(held(s.port, MAX_OF_STUDIOS + 8, context))
            client = await stack.enter_async_context(s.client(greedy))
            for _ in range(stream.MAX_STREAMS):
                await stack.enter_async_context(client.ws_connect(api.STREAM))
            with pytest.raises(aiohttp.WSServerHandshakeError) as e:
                await client.ws_connect(api.STREAM)
            assert e.value.status == 429
            honest = await stack.enter_async_context(s.client(s.desk))
            socket_ = await stack.enter_async_context(honest.ws_connect(api.STREAM))
            assert (await socket_.receive_json(timeout=10 * PATIENCE))["k"] == "hello"

    run(scenario())


def test_a_flood_of_messages_is_heard_at_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MESSAGES_PER_S", 50.0)
    monkeypatch.setattr(stream, "MESSAGES_BURST", 5.0)

    async def scenario() -> None:
        async with scene(tmp_path) as s, s.client(s.desk) as client, client.ws_connect(api.STREAM) as socket_:
            for number in range(30):
                await socket_.ping(b"x")
                await socket_.send_json({"k": "ack", "boot": "boot-1", "upto": number})
            s.board.record("win")
            kinds = {(await socket_.receive_json(timeout=10 * PATIENCE))["k"] for _ in range(2)}
            assert kinds == {"hello", "win"}
            assert len(s.board.acknowledged) <= 1  # one a second, the newest of those that came meanwhile
            await until(lambda: s.board.acknowledged[-1:] == [(s.desk.fingerprint, "boot-1", 29)], 20)
            assert len(s.board.acknowledged) <= 4

    run(scenario())


TRICKS = [
    b"GET http://xn--a/v1/hello HTTP/1.1\r\nHost: b\r\n\r\n",  # a URL that the parser takes and nobody can decode
    b"GET http://[::1/v1/hello HTTP/1.1\r\nHost: b\r\n\r\n",
    b"GET /v1/hello HTTP/1.1\r\n\r\n",
    b"POST /v1/pair/start HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_what_cannot_be_read_is_answered_without_versions_or_dropped(
    tmp_path: Path, trick: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            context = tls.client_context(None, s.board.identity.cert_pem)
            async with held(s.port, 2, context) as (one, other):
                one.settimeout(10 * PATIENCE)
                one.sendall(trick)
                answer = await asyncio.to_thread(_all_of, one)  # until the board hangs up
                assert answer == b"" or answer.startswith(b"HTTP/1.0 400 ")
                assert b"aiohttp" not in answer
                assert b"Python" not in answer
                assert answer == b"" or b"application/problem+json" in answer
                other.sendall(b"POST /v1/pair/start HTTP/1.1\r\nHost: b\r\nContent-Length: 9\r\n\r\n{")
            async with s.client(s.desk) as client, client.get(api.INFO) as said:
                assert said.status == 200

        gc.collect()  # a task that failed unheard speaks when it goes

    gc.collect()  # what other tests left behind
    caplog.clear()
    run(scenario())
    assert caplog.records == []


def _all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


HUGE = b"1" + b"0" * 400
BODIES = [
    (api.CLOCK, b'{"time":' + HUGE + b"}", 400),
    (api.INFER, b'{"model":"m","feeds":{},"deadline_ms":' + HUGE + b"}", 400),
    (api.INFER, b'{"model":"m","feeds":{"x":{"dtype":"int8","shape":[0,2147483647,2147483647,9],"data":""}}}', 400),
    (api.INFER, b'{"model":"m","x":[' + b"[]," * 300_000 + b"1]}", 413),
    (api.CLOCK, b'{"time":1,"x":"\\ud800"}', 400),
    (api.CLOCK, b'{"time":1,"\\udc00":1}', 400),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status"), BODIES)
def test_documents_that_no_honest_studio_sends(tmp_path: Path, path: str, body: bytes, status: int) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s, s.client(s.desk) as client:
            async with client.post(path, data=body) as answer:
                assert answer.status == status, await answer.text()

    run(scenario())


def test_a_whole_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s, s.client(s.desk) as client:
            async with client.post(api.CLOCK, data=b'{"time":1e9,"x":"\\ud83d\\ude00"}') as answer:
                assert answer.status == 200

    run(scenario())


def test_half_a_character_in_a_record_ends_no_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s, s.client(s.desk) as client, client.ws_connect(api.STREAM) as socket_:
            await socket_.receive_json(timeout=10 * PATIENCE)
            s.board.record("win", m="\ud800")
            s.board.record("win", m="next")
            assert (await socket_.receive_json(timeout=10 * PATIENCE))["m"] == "?"
            assert (await socket_.receive_json(timeout=10 * PATIENCE))["m"] == "next"

    run(scenario())


def test_an_inference_must_announce_its_size(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s, s.client(s.desk) as client:
            async with client.post(api.INFER, data=_pieces()) as answer:
                assert answer.status == 411

    run(scenario())


async def _pieces() -> AsyncIterator[bytes]:
    yield b"{}"
