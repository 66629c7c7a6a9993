"""`edgestudio unpair`: undo a pairing."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Unpair; a board that cannot be reached is forgotten here, and that is said."""
    board = await studio.boards.locate(options.device)
    told = await studio.boards.unpair(board.id)
    result = {"id": board.id, "fingerprint": board.id, "told": told}
    text = f"{board.name} and this desk no longer trust each other."
    if not told:
        text = f"{board.name} is forgotten here; it could not be reached and still trusts this desk."
    console.result(result, text)
    return 0
