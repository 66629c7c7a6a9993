"""Addresses of boards as people write them."""

from __future__ import annotations

import re

from edgestudio.wire import api
from edgestudio.wire.errors import InputError

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:/\[\]]+))(?::(?P<port>\d{1,5}))?")


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of "host", "host:port" or "[v6]:port"; raises InputError."""
    found = _HOST_PORT.fullmatch(text.strip())
    port = int(found["port"] or api.DEFAULT_PORT) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise InputError(
            f"{text!r} is not the address of a board.",
            hint=f"Write host or host:port, such as 192.168.1.20:{api.DEFAULT_PORT}.",
            code="bad-address",
        )
    return found["v6"] or found["host"], port
