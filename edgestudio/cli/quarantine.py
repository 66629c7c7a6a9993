"""`edgestudio quarantine`: releases that failed on a board, and another chance for one of them."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [--release MANIFEST]."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    parser.add_argument(
        "--release", metavar="MANIFEST", help="let the release with this digest be offered again"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """List what is refused, or take one out."""
    board = await studio.boards.locate(options.device)
    if options.release is not None:
        answer = await studio.upkeep.let_go(board.id, options.release)
        text = (
            f"{answer.get('model')}: it may be offered again. It was refused because {answer.get('reason')}"
        )
        console.result(answer, text)
        return 0
    kept = await studio.upkeep.quarantined(board.id)
    rows = [
        (entry["model"], str(entry.get("version") or ""), str(entry["manifest"])[:16], str(entry["reason"]))
        for entry in kept
    ]
    empty = f"{board.name} keeps nothing in quarantine."
    console.result(
        {"quarantined": kept}, table(("model", "version", "manifest", "reason"), rows) if rows else empty
    )
    return 0
