"""`edgestudio provision`: pair a board that nobody will sit in front of, from a file made here."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from edgestudio.cli.console import Console
from edgestudio.devices.known import KnownBoards
from edgestudio.devices.provisioning import provision_file
from edgestudio.devices.publisher import Publisher
from edgestudio.studio.app import Studio
from edgestudio.studio.board_directory import studio_name
from edgestudio.wire import api
from edgestudio.wire.identity import Identity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --name NAME [--host HOST] [--port PORT]."""
    parser.add_argument("file", metavar="FILE", type=Path, help="where to write it; it holds the board's key")
    parser.add_argument("--name", required=True, help="what the board is called here")
    parser.add_argument(
        "--host", default="", help="its address, where it is known; boards are found by id too"
    )
    parser.add_argument("--port", type=int, default=api.DEFAULT_PORT, help="its port (default: %(default)s)")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Write the file and know the board from now on."""

    def write() -> str:
        board = provision_file(
            options.file.absolute(),
            Identity.load_or_create(studio.paths.identity, studio_name()),
            studio_name(),
            Publisher(studio.paths.publisher),
            board_name=options.name,
            host=options.host or f"{options.name}.local",
            port=options.port,
        )
        KnownBoards(studio.paths.known_boards).add(board)
        return board.fingerprint

    fingerprint = await asyncio.to_thread(write)
    console.result(
        {"file": str(options.file), "fingerprint": fingerprint, "name": options.name},
        f"Carry {options.file} to the board like a key: edgestudio-agent provision FILE, "
        "or the installer's --provision FILE. Then remove it.",
    )
    return 0
