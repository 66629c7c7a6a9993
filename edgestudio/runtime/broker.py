"""Connections to an MQTT broker through aiomqtt, where that is installed; it is imported on use only."""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgestudio.runtime.board_policy import BoardPolicy
from edgestudio.runtime.live import Broker
from edgestudio.runtime.uplink import Uplink
from edgestudio.wire.errors import DeviceError, EdgeStudioError, RecipeError

CONNECT_S = 10.0
KEEPALIVE_S = 30
MAX_UNDER_WAY = 16
"""Messages that the broker may send before we have taken them."""

MAX_WAITING = 64
"""Messages that may wait for us; more are dropped by the client."""

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
        raise DeviceError(
            f"the broker at {host}:{port} is not there or refuses: {_reason(error)}",
            hint="Check its address, and that it runs.",
            code="no-broker",
        ) from error


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
