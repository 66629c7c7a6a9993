"""A board that nobody will sit in front of: paired by a file that is made here and carried to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgestudio.devices.known import KnownBoards
from edgestudio.devices.provisioning import provision_file
from edgestudio.devices.publisher import Publisher
from edgestudio.studio.boards.directory import studio_name
from edgestudio.studio.paths import Paths
from edgestudio.wire import api
from edgestudio.wire.identity import Identity


async def provision(
    paths: Paths, file: Path, name: str, *, host: str = "", port: int = api.DEFAULT_PORT
) -> str:
    """Write the board's keys and its trust in this studio into `file`; its fingerprint.

    The board is known here from now on. `host` is its address where that is known, else `NAME.local`.
    """

    def write() -> str:
        board = provision_file(
            file.absolute(),
            Identity.load_or_create(paths.identity, studio_name()),
            studio_name(),
            Publisher(paths.publisher),
            board_name=name,
            host=host or f"{name}.local",
            port=port,
        )
        KnownBoards(paths.known_boards).add(board)
        return board.fingerprint

    return await asyncio.to_thread(write)
