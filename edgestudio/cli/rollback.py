"""`edgestudio rollback`: put a board back to what it ran before."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.cli.pause import add_arguments
from edgestudio.cli.push import outcome
from edgestudio.studio.app import Studio

__all__ = ["add_arguments", "run"]


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Roll back and print what runs now."""
    board = await studio.boards.locate(options.device)
    row = await studio.deployer.rollback(board.id, options.model)
    text = f"{board.name}: {row.state}; active {row.active or 'unknown'}"
    console.result(outcome(row), f"{text}\n  {row.reason}" if row.reason else text)
    return 0 if row.state in ("committed", "rolled-back") else 3
