"""`edgestudio capture`: keep inputs of a model on a board, list them, fetch them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console, in_bytes, table
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [MODEL] [--on | --off | --fetch DIR | --clear] [--every N] [--below C] [--limit MB]."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="the model's name there, when it runs several"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--on", action="store_true", help="keep inputs with their outputs from now on")
    what.add_argument("--off", action="store_true", help="keep no more; what is kept stays")
    what.add_argument("--fetch", metavar="DIR", help="copy all captures into this folder")
    what.add_argument("--clear", action="store_true", help="remove all captures from the board")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="with --on: every Nth answer")
    parser.add_argument(
        "--below", type=float, metavar="CONFIDENCE", help="with --on: only answers less sure than this"
    )
    parser.add_argument(
        "--limit", type=float, metavar="MB", help="with --on: space on the board, at most 256 (default 64)"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Switch, fetch, clear or list."""
    _check(options)
    board = await studio.boards.locate(options.device)
    captures = studio.captures
    if options.fetch:
        files = await captures.fetch(board.id, Path(options.fetch))
        text = f"{len(files)} captures from {board.name} in {options.fetch}"
        console.result({"files": [str(file) for file in files]}, text)
        return 0
    if options.clear:
        removed = await captures.clear(board.id)
        console.result({"removed": removed}, f"{board.name}: {removed} captures removed")
        return 0
    if options.on or options.off:
        limit = None if options.limit is None else int(options.limit * 2**20)
        view = await captures.switch(
            board.id, options.model, is_on=options.on, every=options.every, confidence_below=options.below,
            max_bytes=limit,
        )  # fmt: skip
    else:
        view = await captures.view(board.id)
    console.result(view, _text(view))
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.every < 1:
        raise UsageError("--every takes a whole number, one or more.")
    if options.below is not None and not 0 <= options.below <= 1:
        raise UsageError("--below takes a confidence from 0 to 1.")
    if options.limit is not None and not 0 < options.limit <= 256:
        raise UsageError("--limit takes up to 256 MB.")
    if not options.on and (options.every != 1 or options.below is not None or options.limit is not None):
        raise UsageError("--every, --below and --limit go with --on.")


def _text(view: Mapping[str, Any]) -> str:
    on = ", ".join(f"{name} (1 in {rule['every']})" for name, rule in view["models"].items())
    head = (
        f"capturing: {on or 'nothing'}; {in_bytes(view['size_bytes'])} of {in_bytes(view['max_bytes'])} used"
    )
    rows = [
        (c["id"], time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(c["time_s"])), c["model"],
         c["version"] or c["release"], c["label"], _percent(c["confidence"]), in_bytes(c["size_bytes"]))
        for c in view["captures"]
    ]  # fmt: skip
    return (
        f"{head}\n{table(('id', 'time', 'model', 'version', 'label', 'sure', 'size'), rows)}"
        if rows
        else head
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
