"""`edgestudio evaluate`: accuracy on labelled data."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[MODEL] --data DATA [--pipeline FILE] [--device NAME]."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a model file; with --device, a model that runs there"
    )
    parser.add_argument("--device", metavar="DEVICE", help="evaluate what runs on this board, on the board")
    parser.add_argument("--data", type=Path, required=True, help="labelled data")
    parser.add_argument(
        "--pipeline", type=Path, metavar="FILE", help="how raw data becomes the model's input"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Evaluate, in a worker or on a board, and print."""
    if options.device:
        board = await studio.boards.locate(options.device)
        result = await studio.boards.evaluate(board.id, options.data, model=options.model)
    elif options.model:
        result = await studio.optimizer.evaluate(
            Path(options.model), data=options.data, pipeline=options.pipeline
        )
    else:
        raise UsageError("Say which MODEL to evaluate, or which --device.")
    per_class = result.get("per_class") or {}
    entries = per_class.items() if isinstance(per_class, dict) else enumerate(per_class)
    rows = [(name, _share(value)) for name, value in entries]
    listing = table(("class", "right"), rows) if rows else ""
    warnings = "".join(f"\nwarning: {warning}" for warning in result.get("warnings") or ())
    text = f"{listing}\n\ntop-1 {_share(result.get('top1'))} of {result.get('n')}{warnings}"
    console.result(result, text.strip())
    return 0


def _share(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("recall", value.get("top1", value.get("accuracy")))
    return f"{value:.2%}" if isinstance(value, int | float) else "unknown"
