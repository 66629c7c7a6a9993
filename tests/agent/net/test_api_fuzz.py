"""Every route of a real board under made-up requests: no server error, no growth, nothing changes without the role."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgestudio.agent.net.server import AgentServer
from edgestudio.agent.supervisor import Supervisor
from edgestudio.wire import api, tls
from edgestudio.wire.identity import Identity
from tests.agent import releases
from tests.patience import PATIENCE, until

EXAMPLES = 400
MEMORY_GROWTH_BYTES = 48 << 20

# Which role each call needs; None: anyone. Kept by hand, so that a slip in the agent's own table is noticed.
CALLS: list[tuple[str, str, api.Role | None]] = [
    ("GET", api.HELLO, None), ("POST", api.PAIR_START, None), ("POST", api.PAIR_CONFIRM, None),
    ("GET", api.INFO, "viewer"), ("GET", api.STATE, "viewer"), ("GET", api.HISTORY, "viewer"),
    ("GET", api.INSTALL, "viewer"), ("GET", api.PEERS, "viewer"), ("GET", api.STREAM, "viewer"),
    ("DELETE", api.PEER, "viewer"), ("POST", api.INFER, "operator"), ("POST", api.BENCH, "operator"),
    ("POST", api.SLOT_PAUSE, "operator"), ("POST", api.SLOT_RESUME, "operator"),
    ("GET", api.TUF, "publisher"), ("PUT", api.TUF_ROLE, "publisher"), ("POST", api.CLOCK, "publisher"),
    ("POST", api.INSTALLS, "publisher"), ("POST", api.INSTALL_FINISH, "publisher"),
    ("POST", api.INSTALL_ABORT, "publisher"), ("GET", api.BLOB, "publisher"),
    ("PUT", api.BLOB_CHUNK, "publisher"), ("POST", api.SLOT_ROLLBACK, "publisher"),
    ("POST", api.PAIRING, "owner"), ("PUT", api.PEER, "owner"),
]  # fmt: skip
NEEDED = {(method, path): role for method, path, role in CALLS}
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"]

WORDS = ["", "digits", "m", "..", "%2e%2e", "a" * 3000, "0", "-1", "nul", "\u202e", "é", "0" * 64, "f" * 64]
FIELDS = [
    "k", "model", "feeds", "deadline_ms", "profile", "soak_minutes", "role", "time", "target", "release", "boot",
    "idempotency_key", "certificate", "name", "x", "y", "share", "proof", "upto", "streams", "after", "limit",
]  # fmt: skip
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([*WORDS, *api.ROLES, "digits-1.json", "float32", "aGFsbG8="]), st.text(max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([*FIELDS, "dtype", "shape", "data"]), inner, max_size=5),
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
    st.sampled_from([
        b"", b"{", b"[" * 50_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"9" * 6_000, b'{"a":1,"a":2}',
        b'{"model":"digits","feeds":{"image":{"dtype":"float32","shape":[99999999,9999999],"data":""}}}',
        b'{"model":"digits","feeds":{"image":{"dtype":"O","shape":[1],"data":"AAAA"}}}',
        b"\xff\xfe{\x00", b" " * 300_000, b'{"time":1e400}', b'{"role":"owner"}', b'{"k":NaN}', b"null",
    ]),
)  # fmt: skip
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["", "text/xml", "application/json; charset=utf-16", "multipart/form-data"]),
        "Content-Encoding": st.sampled_from(["gzip", "br", "identity", "x"]),
        api.REQUEST_ID_HEADER: st.sampled_from(["x", "same-request-id", "!!", "a" * 65]),
        "Range": st.just("bytes=0-1"),
        "Expect": st.sampled_from(["100-continue", "200-ok"]),
        "Upgrade": st.sampled_from(["websocket", "h2c"]),
    },
)  # fmt: skip
QUERIES = st.dictionaries(st.sampled_from(["after", "limit", "x"]), st.sampled_from(WORDS), max_size=2)
ROLES = st.sampled_from([None, *api.ROLES])
PLACES = st.fixed_dictionaries({
    "role": st.sampled_from(["root", "timestamp", "release", "9.root", *WORDS]), "id": st.sampled_from(WORDS),
    "digest": st.sampled_from(WORDS), "index": st.sampled_from(["0", "999999999", "9" * 30, "²", *WORDS]),
    "model": st.sampled_from(["digits", *WORDS]), "fingerprint": st.sampled_from(["self", "boss", *WORDS]),
})  # fmt: skip


class Scene:
    """A board that serves a model, and a client for each role; `clients[None]` shows no certificate."""

    def __init__(self, board: Supervisor, port: int, desks: dict[api.Role, Identity]) -> None:
        self.board, self.port, self.desks = board, port, desks
        self.clients = {role: self._client(desks[role] if role else None) for role in (None, *api.ROLES)}

    def _client(self, identity: Identity | None) -> aiohttp.ClientSession:
        context = tls.client_context(identity, self.board.identity.cert_pem)
        connector = aiohttp.TCPConnector(ssl=context, limit=1)
        return aiohttp.ClientSession(f"https://127.0.0.1:{self.port}", connector=connector)

    def trust_all(self) -> None:
        """Pair whoever unpaired itself again, with its own role."""
        for role, desk in self.desks.items():
            known = self.board.peers.get(desk.fingerprint)
            if known is None or known.role != role:
                self.board.peers.add(f"the {role}", role, desk.cert_pem)

    def kept(self) -> tuple[Any, ...]:
        """All that a request might change: installs, models, trust, peers, the pairing window, pauses."""
        board = self.board
        peers = [(p.fingerprint, p.role) for p in board.peers.all()]
        versions = [board.trust.versions(desk.fingerprint) for desk in self.desks.values()]
        state = dataclasses.asdict(board.store.state)
        paused = board.models.bay("digits").is_paused
        return peers, versions, state, paused, board.pairing.is_open, sorted(board.store.blobs.digests())


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    board = releases.supervisor(folder / "board")
    desks = {role: Identity.load_or_create(folder / role, role) for role in api.ROLES}
    await board.start()
    server = AgentServer(board, announce=False)
    made: Scene | None = None
    try:
        await server.start()
        assert (await releases.push(board, releases.make_release(folder / "r")))["state"] == "COMMITTED"
        # Owners first: a board keeps at least one.
        for role in reversed(api.ROLES):
            board.peers.add(f"the {role}", role, desks[role].cert_pem)
        # A minute after its start a board notes by itself that it goes well: here before anything is compared.
        if board._settled is not None:
            board._settled.cancel()
        board._guard.settle()
        made = Scene(board, server.port, desks)
        yield made
    finally:
        for client in made.clients.values() if made else ():
            await client.close()
        await server.stop()
        await board.stop()


def filled(path: str, places: dict[str, str], scene: Scene, role: api.Role | None) -> str:
    given = dict(places)
    own = scene.desks[role].fingerprint if role else "0" * 64
    given["fingerprint"] = {"self": own, "boss": scene.desks["owner"].fingerprint}.get(
        given["fingerprint"], given["fingerprint"]
    )
    return path.format(**{key: value.replace("/", "") or "-" for key, value in given.items()})


async def ask(scene: Scene, role: api.Role | None, method: str, path: str, **request: Any) -> int:
    """The status, 0 where the board closed the connection (its right with nonsense)."""
    try:
        async with scene.clients[role].request(
            method, path, timeout=aiohttp.ClientTimeout(total=30 * PATIENCE), allow_redirects=False, **request
        ) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError):
        return 0


def test_no_request_makes_a_server_error_or_changes_what_its_role_may_not(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    process = psutil.Process()
    rss: list[int] = []
    statuses: set[int] = set()
    try:
        stack = contextlib.AsyncExitStack()
        made = loop.run_until_complete(stack.enter_async_context(scene(tmp_path)))

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(
            st.sampled_from(CALLS),
            st.none() | st.sampled_from(METHODS),
            ROLES,
            PLACES,
            QUERIES,
            HEADERS,
            BODIES,
        )
        def one(
            call: tuple[str, str, api.Role | None], other: str | None, role: api.Role | None,
            places: dict[str, str], query: dict[str, str], headers: dict[str, str], body: bytes,
        ) -> None:  # fmt: skip
            loop.run_until_complete(judge(call, other, role, places, query, headers, body))

        async def judge(
            call: tuple[str, str, api.Role | None], other: str | None, role: api.Role | None,
            places: dict[str, str], query: dict[str, str], headers: dict[str, str], body: bytes,
        ) -> None:  # fmt: skip
            method, path, _ = call
            if path == api.BENCH:
                body = b'{"model":"absent"}' if body[:1] in b'{"' else body  # a real one takes seconds
            before = made.kept()
            used = other or method
            needed = NEEDED.get((used, path))
            target = filled(path, places, made, role)
            status = await ask(made, role, used, target, params=query, headers=headers, data=body)
            statuses.add(status)
            rss.append(process.memory_info().rss)
            assert status < 500, (used, target, role, headers, body[:200], status)
            may = role is not None and needed is not None and api.may(role, needed)
            if role is None and needed is not None:
                assert status == 0 or 400 <= status < 500, (used, target, status)
            if not may:
                assert made.kept() == before, (used, target, role, body[:200])
            made.trust_all()
            if made.board.pairing.is_open:
                made.board.pairing.close("the test goes on")

        try:
            one()
            loop.run_until_complete(still_well(made))
        finally:
            loop.run_until_complete(stack.aclose())
    finally:
        loop.close()
    assert {200, 400, 401, 403, 404, 405} <= statuses
    middle = len(rss) // 2
    assert max(rss[middle:]) - max(rss[:middle]) < MEMORY_GROWTH_BYTES


async def still_well(made: Scene) -> None:
    made.trust_all()
    assert await ask(made, None, "GET", api.HELLO) == 200
    assert await ask(made, "viewer", "GET", api.STATE) == 200
    assert made.board.state()["models"]["digits"]["serving"] is True
    assert made.board.state()["phase"] == "IDLE"
    # Bodies that never came are given up, and nothing of them stays.
    await until(lambda: len(answering()) <= len(made.clients), 30)


def answering() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if "RequestHandler" in str(task.get_coro())]


FRAMES = [
    b"\x81\x05hello", b"\x82\x03\x00\x01\x02", b"\xff\xff\xff\xff", b"\x81\xfe\xff\xff", b"\x81\xff" + b"\xff" * 8,
    b"\x89\x7d" + b"x" * 125, b"\x81\x80\x00\x00\x00\x00", b"\x01\x80\x00\x00\x00\x00\x01\x80\x00\x00\x00\x00",
    b"\x88\x80\x00\x00\x00\x00", b"\xc1\x80\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n",
]  # fmt: skip
TEXTS = [
    "", "{", "[]", "null", '{"k":"sub"}', '{"k":"sub","streams":[1]}', '{"k":"sub","streams":{"a":1}}', '{"k":"ack"}',
    '{"k":"ack","boot":"x","upto":-1}', '{"k":"ack","boot":"x","upto":1e99}', '{"k":"sub","streams":["win"]}' * 2,
    "[" * 20_000, '{"k":"' + "x" * 60_000 + '"}', '{"k":"\\ud800"}', '{"k":{"k":{"k":1}}}',
]  # fmt: skip
CUT = [
    b"POST /v1/installs HTTP/1.1\r\nHost: b\r\nContent-Length: 100\r\n\r\n{",
    b"POST /v1/infer HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"POST /v1/infer HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"PUT /v1/tuf/root HTTP/1.1\r\nHost: b\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\nabcdefghi",
    b"PUT /v1/tuf/root HTTP/1.1\r\nHost: b\r\nContent-Length: -1\r\n\r\n",
    b"GET /v1/state HTTP/9.9\r\n\r\n", b"GET  /v1/state\r\n\r\n", b"\x00" * 2000, b"\r\n" * 2000,
    b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: b\r\n\r\n", b"GET /v1/hello HTTP/1.1\r\nX: " + b"a" * 20_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]  # fmt: skip


def test_garbage_on_sockets_leaves_the_board_as_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as made:
            before = made.kept()
            for role in ("viewer", "owner"):
                for piece in CUT:
                    reader, writer = await raw(made, role)
                    writer.write(piece)
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                        writer.write_eof() if writer.can_write_eof() else writer.transport.abort()
                    answer = b""
                    with contextlib.suppress(ConnectionError, asyncio.TimeoutError, ssl.SSLError):
                        answer = await asyncio.wait_for(reader.read(200), 1.0)
                    assert not answer.startswith(b"HTTP/1.1 5"), (piece[:60], answer)
                    writer.transport.abort()
                for text in TEXTS:
                    async with made.clients[role].ws_connect(api.STREAM) as socket:
                        assert (await socket.receive_json(timeout=10 * PATIENCE))["k"] == "hello"
                        await socket.send_str(text)
                        await socket.send_bytes(os.urandom(40))
                for frame in FRAMES:
                    async with made.clients[role].ws_connect(api.STREAM) as socket:
                        transport = socket._conn.transport  # type: ignore[union-attr]
                        transport.write(frame)
                        with contextlib.suppress(asyncio.TimeoutError, TypeError, ValueError):
                            while (await socket.receive(timeout=0.1)).type is aiohttp.WSMsgType.TEXT:
                                pass
                        with contextlib.suppress(AttributeError):  # Python 3.11.2, where it was closed twice
                            transport.abort()
            assert made.kept()[:5] == before[:5]
            await still_well(made)

    asyncio.run(scenario())


async def raw(made: Scene, role: api.Role) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = tls.client_context(made.desks[role], made.board.identity.cert_pem)
    return await asyncio.open_connection("127.0.0.1", made.port, ssl=context)
