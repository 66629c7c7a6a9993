"""`edgestudio pause`: stop a model's own source on a board."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [MODEL]."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="the model's name there, when it runs several"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Pause; requests are still answered, and a restart changes nothing about it."""
    board = await studio.boards.locate(options.device)
    answer = await studio.upkeep.pause(board.id, options.model)
    console.result(answer, f"{board.name}: {answer.get('model')} is paused; requests are still answered.")
    return 0
