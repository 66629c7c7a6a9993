"""`edgestudio resume`: go on after a pause, or let a board serve again after safe mode."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.cli.pause import add_arguments
from edgestudio.studio.app import Studio

__all__ = ["add_arguments", "run"]


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Resume; where the board was in safe mode, say why it had been."""
    board = await studio.boards.locate(options.device)
    answer = await studio.upkeep.resume(board.id, options.model)
    text = f"{board.name}: {answer.get('model')} goes on."
    if answer["safe_mode"]:
        text = f"{board.name} leaves safe mode, in which it was because {answer['safe_mode']}."
    console.result(answer, text)
    return 0
