"""Reads request bodies of strangers: of the announced kind and size, at a minimum rate, never decompressed."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from edgestudio.agent.net.problems import ProtocolError
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.fields import parse_json

MAX_JSON_PARTS = 200_000
"""Values in a document: each costs some sixty bytes of memory or more, however short it is written."""

_CHECK_EVERY_S = 5.0


async def read_json(request: web.Request, *, limit: int = api.MAX_JSON_BYTES) -> Any:
    """The body as JSON, {} where there is none; raises ProtocolError or InputError."""
    data = await read_body(request, limit=limit) or b"{}"
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_JSON_PARTS:
        raise ProtocolError(f"The body has more than {MAX_JSON_PARTS} values.", code="too-big")
    return parse_json(data)


async def read_body(request: web.Request, *, limit: int, exactly: int | None = None) -> bytes:
    """The body, at most `limit` bytes, or `exactly` so many; raises ProtocolError."""
    refuse_encoding(request)
    announced = request.content_length
    if exactly is not None:
        if announced is None:
            raise ProtocolError("The body must announce its length.", code="no-length")
        if announced != exactly:
            raise ProtocolError(
                f"The body announces {announced} bytes, and must have {exactly}.", code="wrong-size"
            )
    if announced is not None and announced > limit:
        raise ProtocolError(f"The body is over its limit of {limit} bytes.", code="too-big")
    watch = _RateWatch(request)
    parts: list[bytes] = []
    size = 0
    try:
        while part := await request.content.readany():
            size += len(part)
            watch.received = size
            if size > limit:
                raise ProtocolError(f"The body is over its limit of {limit} bytes.", code="too-big")
            parts.append(part)
    finally:
        watch.cancel()
    if exactly is not None and size != exactly:
        raise ProtocolError(f"The body has {size} bytes, and must have {exactly}.", code="wrong-size")
    return b"".join(parts)


def refuse_encoding(request: web.Request) -> None:
    """Raise ProtocolError for a compressed body: nothing here is decompressed, so nothing can explode."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProtocolError("Bodies are taken as they are, without Content-Encoding.", code="encoded-body")


class _RateWatch:
    """Fails the body's reader once the sender is slower than allowed; one timer per body, not per piece."""

    def __init__(self, request: web.Request) -> None:
        self.received = 0
        self._content = request.content
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._timer = self._loop.call_later(_CHECK_EVERY_S, self._check)

    def cancel(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        elapsed_s = self._loop.time() - self._started
        if elapsed_s >= api.BODY_GRACE_S and self.received < api.MIN_BODY_BYTES_PER_S * elapsed_s:
            slow: EdgeStudioError = ProtocolError(
                f"The body came slower than {api.MIN_BODY_BYTES_PER_S // 1024} KiB/s.", code="body-too-slow"
            )
            self._content.set_exception(slow)
        else:
            self._timer = self._loop.call_later(_CHECK_EVERY_S, self._check)
