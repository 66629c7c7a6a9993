"""Connections to an MQTT broker through aiomqtt, where that is installed; it is imported on use only."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgestudio.runtime.board_policy import BoardPolicy
from edgestudio.runtime.live import Broker
from edgestudio.wire.errors import DeviceError, EdgeStudioError, RecipeError

CONNECT_S = 10.0
MAX_WAITING = 64
"""Messages that may wait for us; more are dropped by the client."""


@asynccontextmanager
async def connected(broker: Broker, policy: BoardPolicy, timeout_s: float = CONNECT_S) -> AsyncIterator[Any]:
    """An aiomqtt client that is connected to `broker`.

    RecipeError when aiomqtt or a secret is missing; DeviceError (code `no-broker`) when the broker is not there,
    refuses us, or goes away inside the block.
    """
    aiomqtt = mqtt_library()
    password = policy.secret(broker.password) if broker.password else None
    context = ssl.create_default_context() if broker.is_tls else None
    client = aiomqtt.Client(
        broker.host, broker.port, username=broker.username, password=password, tls_context=context,
        timeout=timeout_s, max_queued_incoming_messages=MAX_WAITING,
    )  # fmt: skip
    try:
        async with client:
            yield client
    except (aiomqtt.MqttError, OSError, asyncio.TimeoutError) as error:
        raise DeviceError(
            f"the broker at {broker.host}:{broker.port} is not there or refuses: {_reason(error)}",
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
