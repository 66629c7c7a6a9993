"""The board's server: TLS 1.3, the routes, the limits, and the announcement once it truly listens."""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import web

from edgestudio.agent.net import problems
from edgestudio.agent.net.access import Access, Handler
from edgestudio.agent.net.connection import connections_of
from edgestudio.agent.net.listener import Listener
from edgestudio.agent.net.mdns import Announcement
from edgestudio.agent.net.pairing import PairingRoutes
from edgestudio.agent.net.places import Places
from edgestudio.agent.net.routes import BoardRoutes
from edgestudio.agent.net.stream import Streams
from edgestudio.agent.supervisor import Supervisor
from edgestudio.agent.trust.peers import Peer
from edgestudio.agent.trust.provision import provision
from edgestudio.wire import api, tls
from edgestudio.wire.errors import DeviceError, EdgeStudioError
from edgestudio.wire.identity import short_id

log = logging.getLogger(__name__)
# The HTTP library logs a trace for every nonsense that a stranger sends: the log would be his to fill. What goes
# wrong in the agent itself is logged by `problems.bug`.
_strangers_log = logging.getLogger("edgestudio.agent.net.http")
_strangers_log.setLevel(logging.CRITICAL)
# A warning for each answer to somebody who has hung up, thousands a second where he wants it.
logging.getLogger("asyncio").setLevel(logging.ERROR)

KEEPALIVE_S = 15.0
SHUTDOWN_S = 3.0
HOUSEKEEPING_S = 5.0
READ_BUFFER_BYTES = 512 * 1024


class AgentServer:
    """Serves one supervisor. `start` after the supervisor's, `stop` before it."""

    def __init__(self, supervisor: Supervisor, *, announce: bool = True) -> None:
        self._supervisor = supervisor
        self._context = tls.server_context(
            supervisor.identity, [p.certificate_pem for p in supervisor.peers.all()]
        )
        supervisor.peers.listen(self._peer_changed)
        self._streams = Streams(supervisor)
        self._runner = self._make_runner()
        self._listener: Listener | None = None
        self._announcement = Announcement(supervisor) if announce else None
        self._housekeeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, 0 while not started."""
        return self._listener.port if self._listener is not None else 0

    async def start(self) -> None:
        """Listen, then announce; raises DeviceError (`port-in-use`, …). Failing to announce is only logged."""
        provision(self._supervisor.settings.data_dir, self._supervisor.peers, self._supervisor.trust)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        made = connections_of(
            server, access_log=None, logger=_strangers_log, keepalive_timeout=KEEPALIVE_S,
            read_bufsize=READ_BUFFER_BYTES, auto_decompress=False,
        )  # fmt: skip
        peers = self._supervisor.peers
        places = Places(lambda fingerprint: peers.get(fingerprint) is not None)
        self._listener = Listener(made, self._context, places)
        try:
            await self._listener.open(self._supervisor.settings.host, self._supervisor.settings.port)
        except DeviceError:
            await self._runner.cleanup()
            raise
        if self._announcement is not None:
            await self._announcement.start(self.port)
        self._housekeeper = asyncio.ensure_future(self._keep_house())

    async def stop(self) -> None:
        """Withdraw the announcement, stop listening, end open requests within three seconds."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
        if self._announcement is not None:
            await self._announcement.stop()
        if self._listener is not None:
            await self._listener.close()
        await self._streams.close()
        await self._runner.cleanup()

    async def refresh_announcement(self) -> None:
        """Announce what has changed: pairing opened or closed, another model active."""
        if self._announcement is not None:
            await self._announcement.update()

    async def _keep_house(self) -> None:
        # The pairing window closes by itself, and time passes; nobody calls then.
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await self.refresh_announcement()
            await asyncio.to_thread(self._supervisor.clock.keep)

    def _make_runner(self) -> web.AppRunner:
        application = web.Application(middlewares=[_explain], client_max_size=api.MAX_OFFER_BYTES)
        application.on_response_prepare.append(_say_no_versions)
        application.add_routes([web.get(api.HELLO, self._hello)])
        application.add_routes(PairingRoutes(self._supervisor.pairing).routes())
        access = Access(self._supervisor.peers)
        application.add_routes(BoardRoutes(self._supervisor, access, self._streams).routes())
        return web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)

    async def _hello(self, request: web.Request) -> web.Response:
        supervisor = self._supervisor
        fingerprint = supervisor.identity.fingerprint
        return web.json_response(
            {
                "name": supervisor.settings.name,
                "simulated": supervisor.is_simulated,
                "boot": supervisor.boot_id,
                "time": time.time(),
                **supervisor.hello(),
                "api": [api.API_VERSION],
                "id": fingerprint,
                "short_id": short_id(fingerprint),
                "pairing": "open" if supervisor.pairing.is_open else "closed",
            }
        )

    def _peer_changed(self, peer: Peer, is_trusted: bool) -> None:  # noqa: FBT001 - the listener's signature
        if is_trusted:
            tls.trust(self._context, peer.certificate_pem)
        else:
            self._supervisor.trust.forget(peer.fingerprint)


async def _say_no_versions(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = problems.SERVER


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except EdgeStudioError as e:
        return problems.response(e)
    except web.HTTPException as e:
        return problems.response(problems.of_http(e.status), e.status)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as e:  # noqa: BLE001 - the last door: whatever is left is the agent's own mistake
        return problems.bug(e)
    return response
