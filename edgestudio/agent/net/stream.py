"""The record stream: what a board reports goes to a studio as it happens, and a slow studio gets the newest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any

from aiohttp import WSMsgType, web

from edgestudio.agent.net.access import PEER
from edgestudio.agent.net.budget import Budget
from edgestudio.agent.supervisor import Supervisor
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError, InputError
from edgestudio.wire.fields import Fields, parse_json
from edgestudio.wire.records import KIND_GAP

MAX_WAITING = 256
"""Records that wait for a slow reader; older ones are dropped and reported as a gap."""

MAX_STREAMS = 4
"""Of one studio: its window's, and a few commands'."""

MAX_MESSAGE_BYTES = 8 * 1024
MESSAGES_PER_S, MESSAGES_BURST = 10.0, 50.0
"""What one stream may send, pings included; the rest waits, on the sender's side in the end."""

ACKNOWLEDGED_EVERY_S = 1.0
"""Each costs the disk a write, and the newest says as much as all before it."""

SEND_TIMEOUT_S = 20.0
_STREAMS = frozenset({"win", "evt", "install", "dev", "log"})


class Streams:
    """Serves `GET /v1/stream`; every open stream is closed when the server stops."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._open: dict[web.WebSocketResponse, str] = {}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One studio's stream until it leaves."""
        desk = request[PEER].fingerprint
        if sum(1 for each in self._open.values() if each == desk) >= MAX_STREAMS:
            raise InputError(
                f"This board serves {MAX_STREAMS} streams of this studio already.", code="too-often"
            )
        socket = web.WebSocketResponse(
            heartbeat=api.HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False, autoping=False
        )
        if not socket.can_prepare(request).ok:
            raise InputError("This address speaks WebSocket only.", code="bad-request")
        self._open[socket] = desk
        try:
            await socket.prepare(request)
            await _Stream(self._supervisor, socket, desk).run()
        finally:
            del self._open[socket]
        return socket

    async def close(self) -> None:
        """Say goodbye to everyone."""
        closing = [s.close(code=1001, message=b"the agent stops") for s in self._open]
        await asyncio.gather(*closing, return_exceptions=True)


class _Stream:
    """One connection: a reader for `sub` and `ack`, a pump from the board, a writer to the studio."""

    def __init__(self, supervisor: Supervisor, socket: web.WebSocketResponse, desk: str) -> None:
        self._supervisor = supervisor
        self._desk = desk
        self._socket = socket
        self._wanted = _STREAMS
        self._waiting: deque[dict[str, Any]] = deque()
        self._ready = asyncio.Event()
        self._gap: tuple[int, int] | None = None
        self._budget = Budget(MESSAGES_PER_S, MESSAGES_BURST)
        self._acknowledged = -ACKNOWLEDGED_EVERY_S
        self._has = ("", 0)
        self._telling: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        records = self._supervisor.subscribe()  # before hello, so that nothing falls between
        board = self._supervisor
        hello = {"k": "hello", "boot": board.boot_id, "first": board.first_seq, "api": [api.API_VERSION]}
        await self._send({"v": 1, **hello})
        tasks = [asyncio.ensure_future(work) for work in (self._pump(records), self._write(), self._read())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._acknowledge()
            close = getattr(records, "aclose", None)
            if close is not None:
                await close()
            with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
                await asyncio.wait_for(self._socket.close(), 3.0)

    async def _pump(self, records: Any) -> None:
        async for record in records:
            if record.get("k") != KIND_GAP and record.get("k") not in self._wanted:
                continue
            self._waiting.append(record)
            while len(self._waiting) > MAX_WAITING:
                self._drop(self._waiting.popleft())
            self._ready.set()

    def _drop(self, record: dict[str, Any]) -> None:
        first, last = record.get("from", record.get("seq", 0)), record.get("to", record.get("seq", 0))
        self._gap = (self._gap[0] if self._gap else first, last)

    async def _write(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while record := self._next():
                await self._send(record)

    def _next(self) -> dict[str, Any] | None:
        if self._gap is not None:
            (first, last), self._gap = self._gap, None
            return {"v": 1, "k": KIND_GAP, "from": first, "to": last}
        return self._waiting.popleft() if self._waiting else None

    async def _read(self) -> None:
        async for message in self._socket:
            await self._budget.afford()
            if message.type == WSMsgType.PING:
                await asyncio.wait_for(self._socket.pong(message.data), SEND_TIMEOUT_S)
            if message.type != WSMsgType.TEXT:
                continue
            try:
                self._hear(Fields(parse_json(message.data.encode(), where="the message"), "message"))
            except EdgeStudioError as e:
                await self._send({"v": 1, "k": "error", "code": e.code, "title": e.sentence})

    def _hear(self, message: Fields) -> None:
        kind = message.text("k", limit=16)
        if kind == "sub":
            wanted = message.names("streams")
            self._wanted = frozenset(wanted) & _STREAMS if wanted else _STREAMS
        elif kind == "ack":
            self._has = (message.text("boot", limit=64), message.integer("upto"))
            if self._telling is None:
                wait_s = max(0.0, self._acknowledged + ACKNOWLEDGED_EVERY_S - time.monotonic())
                self._telling = asyncio.get_running_loop().call_later(wait_s, self._acknowledge)

    def _acknowledge(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling, self._acknowledged = None, time.monotonic()
            self._supervisor.acknowledge(self._desk, *self._has)

    async def _send(self, record: dict[str, Any]) -> None:
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        # Half a character, such as a model's label may have, would end every stream that carries it.
        text = text.encode("utf-8", "replace").decode()
        await asyncio.wait_for(self._socket.send_str(text), SEND_TIMEOUT_S)
