"""Receives items that come by themselves, over HTTP on the board and from MQTT; decodes none of them."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from edgestudio.runtime.board_policy import FILE_NAME, BoardPolicy
from edgestudio.runtime.exchange.broker import KeptConnection, connected
from edgestudio.runtime.pipeline.live import HttpSource, MqttSource
from edgestudio.runtime.pipeline.payload import kind_of_type
from edgestudio.runtime.pipeline.policies import Priority
from edgestudio.runtime.uplink import is_loopback
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError, RecipeError

Take = Callable[[bytes, str, Priority, float], Awaitable[dict[str, Any]]]
"""take(data, payload kind, priority, deadline_s) -> the answer; EdgeStudioError when there is none."""
Offer = Callable[[bytes, str, Priority], Awaitable[None]]
"""offer(data, payload kind, priority): nobody waits for the answer."""
Report = Callable[..., object]
PATH = "/infer"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
BODY_S = 20.0


class HttpIntake:
    """A small HTTP server for other programs on the board. `port` is the one it really listens on."""

    def __init__(self, source: HttpSource, token: str, policy: BoardPolicy, take: Take) -> None:
        self._source = source
        self._token = token.encode()
        self._policy = policy
        self._take = take
        self._runner: Any = None
        self.port = 0

    async def start(self) -> None:
        """Listen; RecipeError when the board does not allow the address, DeviceError when it is taken."""
        from aiohttp import web

        host = self._source.host
        if not is_loopback(host) and host not in self._policy.may_listen_on:
            raise RecipeError(
                f"the board does not allow a source to listen on {host}",
                hint=f"Its owner can add the address to may_listen_on in {FILE_NAME}.",
                code="not-allowed",
            )
        app = web.Application(client_max_size=self._source.max_bytes)
        app.router.add_post(PATH, self._answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, host, self._source.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise DeviceError(
                f"the source cannot listen on {host}:{self._source.port}: {error.strerror}", code="port-taken"
            ) from error
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: Any) -> Any:
        from aiohttp import web

        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), b"Bearer " + self._token):
            return _problem(401, InputError("A token is needed.", code="no-token"))
        try:
            data = await asyncio.wait_for(request.read(), BODY_S)
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, InputError("The body is too large.", code="too-big"))
        except asyncio.TimeoutError:
            return _problem(408, InputError("The body came too slowly.", code="body-too-slow"))
        try:
            answer = await self._take(
                data,
                kind_of_type(request.content_type),
                self._source.priority,
                self._source.deadline_ms / 1e3,
            )
        except InputError as error:
            return _problem(422, error)
        except EdgeStudioError as error:
            return _problem(422 if error.code in _SENDERS_FAULT else 503, error)
        return web.json_response(answer)


_SENDERS_FAULT = frozenset({"bad-item", "bad-image", "bad-sound", "bad-json", "bad-array", "invalid-input"})


class MqttIntake:
    """Subscribes to a topic and stays subscribed; reconnects with growing pauses."""

    def __init__(self, source: MqttSource, policy: BoardPolicy, offer: Offer, report: Report) -> None:
        self._source = source
        self._offer = offer
        self._report = report
        self._kept = KeptConnection(
            lambda: connected(source.broker, policy), source.topic, self._receive, self._tell,
            qos=source.qos, pauses_s=(FIRST_PAUSE_S, LONGEST_PAUSE_S),
        )  # fmt: skip
        self.refused = 0
        """Messages that were too large."""

    @property
    def is_connected(self) -> asyncio.Event:
        """Set while items can come."""
        return self._kept.is_connected

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._kept.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._kept.stop()

    def _tell(self, error: EdgeStudioError | None) -> None:
        if error is None:
            self._report("source.works", "The MQTT source is connected again.", level="info")
            return
        text = f"The MQTT source has no items: {error.in_full}"
        self._report("source.failed", text, level="warning", code=error.code)

    async def _receive(self, client: Any) -> None:
        async for message in client.messages:
            await self._received(bytes(message.payload or b""))

    async def _received(self, data: bytes) -> None:
        if len(data) > self._source.max_bytes:
            self.refused += 1
            return
        with contextlib.suppress(EdgeStudioError):
            await self._offer(data, self._source.payload, self._source.priority)


def _problem(status: int, error: EdgeStudioError) -> Any:
    from aiohttp import web

    return web.json_response(error.as_dict(), status=status)
