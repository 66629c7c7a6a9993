"""`edgestudio history`: what a board reported, across restarts, as a table or as CSV."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from edgestudio.cli.console import Console, facts
from edgestudio.cli.numbers import duration
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import InputError

_DAY_S = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [--for S] [--csv FILE]."""
    parser.add_argument("device", metavar="DEVICE", help="a name or an id prefix of a board that is known")
    parser.add_argument("--for", dest="seconds", type=duration, default=_DAY_S, metavar="S",
                        help="the last so many seconds (default: a day)")  # fmt: skip
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each telemetry window")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Say from when to when there are records, and write them where asked."""
    await studio.boards.load()
    board = studio.boards.find(options.device)
    history = studio.monitor.history()
    span = history.span(board.id) if history else None
    if span is None:
        raise InputError(
            f"Nothing that {board.name} reported is kept here.",
            hint="The window keeps it while it is open, and so does `edgestudio watch`.",
            code="no-telemetry",
        )
    rows = await studio.monitor.export(board.id, options.csv, options.seconds) if options.csv else None
    said = {"board": board.id, "name": board.name, "from": span[0], "to": span[1], "csv": str(options.csv)
            if options.csv else None, "rows": rows}  # fmt: skip
    form = "%Y-%m-%d %H:%M:%S"
    pairs: list[tuple[str, object]] = [
        ("board", board.name),
        ("from", time.strftime(form, time.localtime(span[0]))),
        ("to", time.strftime(form, time.localtime(span[1]))),
    ]
    if rows is not None:
        pairs.append(("written", f"{rows} rows to {options.csv}"))
    console.result(said, facts(pairs))
    return 0
