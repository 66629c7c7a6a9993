"""Connections to an MQTT broker through aiomqtt, kept through its absences; imported on use only."""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from edgestudio.runtime.board_policy import BoardPolicy
from edgestudio.runtime.pipeline.live import Broker
from edgestudio.runtime.uplink import Uplink
from edgestudio.wire.errors import DeviceError, EdgeStudioError, RecipeError

CONNECT_S = 10.0
KEEPALIVE_S = 30
MAX_UNDER_WAY = 16
"""Messages that the broker may send before we have taken them."""

MAX_WAITING = 64
"""Messages that may wait for us; more are dropped by the client."""

_REFUSALS = frozenset({4, 5, 134, 135})
"""Bad username or password, and not authorized: up to MQTT 3.1.1, and in MQTT 5."""

_log = logging.getLogger(__name__)
_log.setLevel(
    logging.ERROR
)  # the library warns of each message that it drops; an uplink asks for those again


@asynccontextmanager
async def connected(broker: Broker, policy: BoardPolicy, timeout_s: float = CONNECT_S) -> AsyncIterator[Any]:
    """An aiomqtt client that is connected to `broker`.

    RecipeError when aiomqtt or a secret is missing; DeviceError (code `no-broker`) when the broker is not there,
    refuses us, or goes away inside the block.
    """
    library = mqtt_library()
    password = policy.secret(broker.password) if broker.password else None
    client = library.Client(
        broker.host, broker.port, username=broker.username, password=password, timeout=timeout_s,
        tls_context=ssl.create_default_context() if broker.is_tls else None,
        max_queued_incoming_messages=MAX_WAITING,
    )  # fmt: skip
    async with _explained(client, broker.host, broker.port) as entered:
        yield entered


@asynccontextmanager
async def linked(way: Uplink, identifier: str) -> AsyncIterator[Any]:
    """An aiomqtt client that speaks MQTT 5 with the broker of an uplink; raises as `connected` does."""
    library = mqtt_library()
    properties = importlib.import_module("paho.mqtt.properties")
    wishes = properties.Properties(importlib.import_module("paho.mqtt.packettypes").PacketTypes.CONNECT)
    wishes.ReceiveMaximum = MAX_UNDER_WAY
    client = library.Client(
        way.host, way.port, username=way.username, password=way.secret(), timeout=CONNECT_S,
        tls_context=way.tls_context(), identifier=identifier, protocol=library.ProtocolVersion.V5,
        max_queued_incoming_messages=MAX_WAITING, keepalive=KEEPALIVE_S, properties=wishes, logger=_log,
    )  # fmt: skip
    async with _explained(client, way.host, way.port) as entered:
        yield entered


@asynccontextmanager
async def _explained(client: Any, host: str, port: int) -> AsyncIterator[Any]:
    try:
        async with client:
            yield client
    except (mqtt_library().MqttError, OSError, asyncio.TimeoutError) as error:
        code = getattr(error, "rc", None)  # a number before MQTT 5, and an object that has one since
        is_answer = getattr(code, "value", code) in _REFUSALS
        raise DeviceError(
            f"the broker at {host}:{port} is not there or refuses: {_reason(error)}",
            hint="It lets nobody in without a name and password that it knows: check both."
            if is_answer
            else "Check its address, and that it runs.",
            code="no-broker",
        ) from error


class Attempts:
    """One try after another at something that a broker's absence ends, for ever, with growing pauses between.

    `async for attempt in attempts: async with attempt: …; attempts.works()`. `tell(error)` hears once that it does
    not work, `tell(None)` that it does again. A RecipeError leaves the loop: waiting would mend nothing.
    """

    def __init__(
        self, tell: Callable[[EdgeStudioError | None], None], first_pause_s: float, longest_pause_s: float
    ) -> None:
        self._tell = tell
        self._first_pause_s, self._longest_pause_s = first_pause_s, longest_pause_s
        self._pause_s = 0.0
        self._is_told = self._is_begun = False
        self.is_connected = asyncio.Event()

    def works(self) -> None:
        """This attempt is connected and can be used."""
        if self._is_told:
            self._tell(None)
        self._pause_s, self._is_told = 0.0, False
        self.is_connected.set()

    def __aiter__(self) -> Attempts:
        self._is_begun = False
        return self

    async def __anext__(self) -> AbstractAsyncContextManager[None]:
        if self._is_begun:
            self._pause_s = min(self._longest_pause_s, max(self._first_pause_s, 2 * self._pause_s))
            await asyncio.sleep(self._pause_s)
        self._is_begun = True
        return self._attempt()

    @asynccontextmanager
    async def _attempt(self) -> AsyncIterator[None]:
        try:
            yield
        except RecipeError:
            raise
        except EdgeStudioError as error:
            if not self._is_told:
                self._tell(error)
            self._is_told = True
        finally:
            self.is_connected.clear()


class KeptConnection:
    """A subscription that lasts from `start` to `stop`: `talk(client)` is begun anew whenever the broker is back.

    `connect()` gives a client as `connected` and `linked` do, `topic` and `qos` are what is subscribed to, and `tell`
    hears what becomes of it as in `Attempts`; a RecipeError ends it once it was told.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Any]],
        topic: str,
        talk: Callable[[Any], Awaitable[None]],
        tell: Callable[[EdgeStudioError | None], None],
        *,
        qos: int = 1,
        pauses_s: tuple[float, float],
    ) -> None:
        self._connect = connect
        self._topic, self._qos = topic, qos
        self._talk = talk
        self._tell = tell
        self._attempts = Attempts(tell, *pauses_s)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> asyncio.Event:
        """Set while the subscription stands."""
        return self._attempts.is_connected

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"broker {self._topic}")

    async def stop(self) -> None:
        """Disconnect."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # again where waiting for an answer that came just then has swallowed it
            await asyncio.wait([task], timeout=1.0)

    async def _run(self) -> None:
        try:
            async for attempt in self._attempts:
                async with attempt, self._connect() as client:
                    await client.subscribe(self._topic, qos=self._qos)
                    self._attempts.works()
                    await self._talk(client)
        except RecipeError as error:
            self._tell(error)


def mqtt_library() -> Any:
    """The module aiomqtt; RecipeError (code `no-mqtt`) says what to install."""
    try:
        return importlib.import_module("aiomqtt")
    except ImportError as error:
        raise RecipeError(
            "MQTT is not available: install aiomqtt",
            hint="On the board: pip install 'edgestudio[fleet]', in the agent's environment.",
            code="no-mqtt",
        ) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, EdgeStudioError):
        return error.message
    return (str(error) or type(error).__name__)[:200]
