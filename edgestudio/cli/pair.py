"""`edgestudio pair`: trust a board, by the code that it shows."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE --code CODE."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    parser.add_argument("--code", required=True, help="what the board shows, such as 42-COPPER-LANTERN-TIGER")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Pair and print who it is."""
    board = await studio.boards.locate(options.device)
    row = await studio.boards.pair(board.id, options.code)
    result = {"id": row.id, "fingerprint": row.id, "name": row.name}
    console.result(result, f"Paired with {row.name} ({row.id}).")
    return 0
