"""The routes through which a studio that the board does not know yet becomes one that it does."""

from __future__ import annotations

from aiohttp import web

from edgestudio.agent.net.bodies import read_json
from edgestudio.agent.trust.pairing import PairingWindow
from edgestudio.wire import api, tls
from edgestudio.wire.errors import TrustError

MAX_PAIRING_BYTES = 16 * 1024


class PairingRoutes:
    """`/v1/pair/start` and `/v1/pair/confirm`; `trust` is the server's TLS context that learns the new studio."""

    def __init__(self, window: PairingWindow) -> None:
        self._window = window

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.post(api.PAIR_START, self._start), web.post(api.PAIR_CONFIRM, self._confirm)]

    async def _start(self, request: web.Request) -> web.Response:
        _as_stranger(request)
        return web.json_response(await self._window.start(await read_json(request, limit=MAX_PAIRING_BYTES)))

    async def _confirm(self, request: web.Request) -> web.Response:
        _as_stranger(request)
        _, answer = await self._window.confirm(await read_json(request, limit=MAX_PAIRING_BYTES))
        return web.json_response(answer)


def _as_stranger(request: web.Request) -> None:
    if tls.peer_fingerprint(request.transport) is not None:
        raise TrustError("This studio is paired already.", code="already-paired")
