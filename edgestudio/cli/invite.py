"""`edgestudio invite`: open a board for another studio."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio
from edgestudio.wire import api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [--role ROLE]."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    parser.add_argument("--role", choices=api.ROLES, default="operator", help="what the other studio may do")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Print the code that the other studio pairs with."""
    board = await studio.boards.locate(options.device)
    said = await studio.trust.invite(board.id, options.role)
    console.result(said, f"{board.name} takes another studio as {options.role}: {said.get('code')}")
    return 0
