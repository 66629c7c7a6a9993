"""Who may do what: the allow-list, roles, live connections by studio, and repeated requests."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from edgestudio.agent.net import problems
from edgestudio.agent.net.connection import abort
from edgestudio.agent.net.problems import ProtocolError
from edgestudio.agent.trust.peers import Peer, PeerStore
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError, TrustError
from edgestudio.wire.tls import peer_fingerprint

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PEER = web.RequestKey("peer", Peer)

MAX_KEPT_REPLIES = 256
MAX_KEPT_BYTES = 64 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass
class _Kept:
    until: float
    status: int
    body: bytes
    content_type: str


class Access:
    """The gate in front of every route; forgets a studio's connections the moment it is unpaired."""

    def __init__(self, peers: PeerStore) -> None:
        self._peers = peers
        self._open: dict[str, set[asyncio.Transport]] = {}
        self._replies: OrderedDict[tuple[str, str, str, str], _Kept] = OrderedDict()
        self._under_way: dict[tuple[str, str, str, str], asyncio.Event] = {}
        self._spared: asyncio.BaseTransport | None = None
        peers.listen(self._changed)

    def needs(self, role: api.Role, handler: Handler) -> Handler:
        """`handler` for paired studios with at least `role`; others get 401 or 403."""

        async def gate(request: web.Request) -> web.StreamResponse:
            request[PEER] = peer = self._peer(request)
            if not api.may(peer.role, role):
                raise TrustError(
                    f"This needs the role {role}, and this studio is {peer.role} here.",
                    hint="The board's owner can change the role.",
                    code="role",
                )
            if request.method == "POST" and api.REQUEST_ID_HEADER in request.headers:
                return await self._once(request, peer, handler)
            return await handler(request)

        return gate

    @contextmanager
    def sparing(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a studio is removed, leave this one connection to its answer: a studio may unpair itself."""
        self._spared = transport
        try:
            yield
        finally:
            self._spared = None

    def _peer(self, request: web.Request) -> Peer:
        transport = request.transport
        fingerprint = peer_fingerprint(transport)
        if fingerprint is None or transport is None:
            raise ProtocolError(
                "This needs a paired studio, and no certificate was shown.",
                hint="Pair first.",
                code="who-are-you",
            )
        peer = self._peers.get(fingerprint)
        if peer is None:
            raise TrustError(
                "This studio is not paired with this board.", hint="Pair again.", code="not-paired"
            )
        connections = self._open.setdefault(fingerprint, set())
        connections.difference_update([t for t in connections if t.is_closing()])
        connections.add(transport)
        return peer

    def _changed(self, peer: Peer, is_trusted: bool) -> None:  # noqa: FBT001 - the listener's signature
        if not is_trusted:
            for transport in self._open.pop(peer.fingerprint, set()):
                if transport is not self._spared:
                    abort(transport)
            for key in [k for k in self._replies if k[0] == peer.fingerprint]:
                del self._replies[key]

    async def _once(self, request: web.Request, peer: Peer, handler: Handler) -> web.StreamResponse:
        given = request.headers[api.REQUEST_ID_HEADER]
        if _REQUEST_ID.fullmatch(given) is None:
            raise ProtocolError(
                f"{api.REQUEST_ID_HEADER} must be 8 to 64 plain characters.", code="bad-field"
            )
        key = (peer.fingerprint, request.method, request.path, given)
        while key in self._under_way:  # the same request, sent again because its first answer was lost
            await self._under_way[key].wait()
        kept = self._replies.get(key)
        if kept is not None and kept.until > time.monotonic():
            return web.Response(body=kept.body, status=kept.status, content_type=kept.content_type)
        self._under_way[key] = asyncio.Event()
        try:
            reply = await _answered(request, handler)
            self._keep(key, reply)
        finally:
            self._under_way.pop(key).set()
        return reply

    def _keep(self, key: tuple[str, str, str, str], reply: web.StreamResponse) -> None:
        if (
            isinstance(reply, web.Response)
            and isinstance(reply.body, bytes)
            and len(reply.body) <= MAX_KEPT_BYTES
        ):
            until = time.monotonic() + api.REPLY_KEPT_S
            self._replies[key] = _Kept(until, reply.status, reply.body, reply.content_type)
            while len(self._replies) > MAX_KEPT_REPLIES:
                self._replies.popitem(last=False)


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EdgeStudioError as e:
        return problems.response(e)
