"""`edgestudio provision`: pair a board that nobody will sit in front of, from a file made here."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio
from edgestudio.studio.boards.provisioning import provision
from edgestudio.wire import api


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
    fingerprint = await provision(
        studio.paths, options.file, options.name, host=options.host, port=options.port
    )
    console.result(
        {"file": str(options.file), "fingerprint": fingerprint, "name": options.name},
        f"Carry {options.file} to the board like a key: edgestudio-agent provision FILE, "
        "or the installer's --provision FILE. Then remove it.",
    )
    return 0
