"""Accepts connections for the server: each gets a place and a deadline for its handshake."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable

from edgestudio.agent.net.connection import abort
from edgestudio.agent.net.places import Place, Places
from edgestudio.wire import tls
from edgestudio.wire.errors import DeviceError

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 8.0
_BACKLOG = 64


class Listener:
    """Owns the listening socket; who has to go when there are too many is said by `Places`."""

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        places: Places,
        *,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self._factory = factory
        self._context = context
        self._places = places
        self._handshake_timeout_s = handshake_timeout_s
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}

    @property
    def port(self) -> int:
        """The port that is listened on, 0 before `open`."""
        return self._sockets[0].getsockname()[1] if self._sockets else 0

    async def open(self, host: str, port: int) -> None:
        """Listen; raises DeviceError (`port-in-use`, `no-address`)."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, _, _, _, address = found[0]
            self._sockets = [_listening(family, address)]
        except OSError as e:
            raise _cannot_listen(host, port, e) from e
        self._accepting = [asyncio.ensure_future(self._accept(s)) for s in self._sockets]

    async def close(self) -> None:
        """Stop listening and give up handshakes; connections that are up are the server's to close."""
        tasks = [*self._accepting, *self._handshakes]
        handshakes = dict(self._handshakes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task, accepted in handshakes.items():
            if task.cancelled():  # before its first step it could close nothing itself
                accepted.close()
        for listening in self._sockets:
            listening.close()
        self._sockets, self._accepting = [], []

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as e:
                if e.errno not in (
                    errno.EMFILE,
                    errno.ENFILE,
                    errno.ENOBUFS,
                    errno.ENOMEM,
                    errno.ECONNABORTED,
                ):
                    raise
                await asyncio.sleep(0.2)  # out of descriptors or memory: others will close
                continue
            task = asyncio.ensure_future(self._serve(accepted, str(address[0])))
            self._handshakes[task] = accepted
            task.add_done_callback(self._handshakes.pop)

    async def _serve(self, accepted: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        handshake = asyncio.current_task()
        assert handshake is not None
        place = Place(host, handshake.cancel, lambda: accepted.fileno() != -1)
        self._places.enter(place)
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(
                self._factory, accepted, ssl=self._context, ssl_handshake_timeout=self._handshake_timeout_s
            )
        except (OSError, asyncio.TimeoutError) as e:  # includes ssl.SSLError: a stranger's certificate
            log.debug("a handshake failed: %s", e)
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
        else:
            place.close = lambda: abort(transport)
            self._places.prove(place, tls.peer_fingerprint(transport))


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _cannot_listen(host: str, port: int, failure: OSError) -> DeviceError:
    if failure.errno == errno.EADDRINUSE:
        return DeviceError(
            f"Port {port} is in use by another program.",
            hint="Choose another one with --port, or stop the other program; an agent may be running already.",
            code="port-in-use",
        )
    if failure.errno == errno.EACCES:
        return DeviceError(
            f"Listening on port {port} is not allowed.", hint="Choose a port above 1023.", code="port-denied"
        )
    return DeviceError(
        f"Listening on {host or 'all addresses'} failed: {failure.strerror or failure}.",
        hint="Is the network interface up? `edgestudio doctor` shows those that are.",
        code="no-address",
    )
