"""`edgestudio push`: install a model on boards, step by step, with a health gate."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio
from edgestudio.studio.bus import RowEvent
from edgestudio.studio.rows import DeploymentRow
from edgestudio.wire.release import ACCELERATORS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --to DEVICE... [--pipeline FILE] [--golden DATA] [--on ACCELERATOR...] [--gpu GPU...]."""
    parser.add_argument("model", metavar="MODEL", help="a model file, or a hash prefix of one in the library")
    parser.add_argument(
        "--to",
        required=True,
        nargs="+",
        action="extend",
        metavar="DEVICE",
        help="names, id prefixes, host:port",
    )
    parser.add_argument(
        "--pipeline", type=Path, metavar="FILE", help="how raw data becomes the model's input"
    )
    parser.add_argument("--name", help="what it is called there; by default as the model it was made from")
    parser.add_argument("--golden", type=Path, metavar="DATA", help="data for the dry run on the board")
    parser.add_argument(
        "--on",
        nargs="+",
        default=(),
        choices=ACCELERATORS,
        metavar="ACCELERATOR",
        help="where it may run, best first, with cpu among them where that will do; by default the board chooses "
        f"({', '.join(ACCELERATORS)})",
    )
    parser.add_argument(
        "--gpu",
        nargs="+",
        default=(),
        metavar="GPU",
        help="the GPUs that it is for, by name or compute capability; needed for engines that were built already",
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Push, printing each state as it comes; the last line of each board is its result."""
    await studio.models.meant(options.model)  # before anything is looked for on the network
    boards = [await studio.boards.locate(name) for name in options.to]
    source = await studio.models.locate(options.model)
    unsubscribe = studio.bus.subscribe(states(console))
    try:
        rows = await studio.deployer.push(
            source.sha256,
            [board.id for board in boards],
            pipeline=options.pipeline,
            golden=options.golden,
            slot=options.name,
            accelerators=options.on,
            gpu=options.gpu,
        )
    finally:
        unsubscribe()
    return finish(rows, console)


def states(console: Console) -> Callable[[RowEvent], None]:
    """A listener that prints a line for every step of a deployment that begins or ends."""
    seen: set[tuple[str, str, str]] = set()

    def on_event(event: RowEvent) -> None:
        row = event.row
        if not isinstance(row, DeploymentRow):
            return
        for step in row.steps:
            key = (row.id, step.name, step.state)
            if step.state in ("waiting", "skipped") or key in seen:
                continue
            seen.add(key)
            line = {"board": row.board, "state": f"{step.name}: {step.state}", "detail": step.detail or None}
            detail = f"  {step.detail}" if step.detail else ""
            console.record(line, f"{row.title}: {step.name} {step.state}{detail}")

    return on_event


def finish(rows: list[DeploymentRow], console: Console) -> int:
    """Print the results; 0 when all were committed, 3 otherwise."""
    for row in rows:
        console.record(outcome(row), _sentence(row))
    return 0 if all(row.state == "committed" for row in rows) else 3


def outcome(row: DeploymentRow) -> dict[str, Any]:
    """A deployment's result as it is printed under `--json`."""
    return {
        "board": row.board,
        "state": row.state,
        "release": row.title,
        "active": row.active or None,
        "previous": row.previous or None,
        "reason": row.reason or None,
        "hint": row.hint or None,
    }


def _sentence(row: DeploymentRow) -> str:
    said = f"{row.title}: {row.state}"
    if row.active:
        said += f"; active {row.active}"
    if row.previous:
        said += f", previous {row.previous}"
    if row.reason:
        said += f"\n  {row.reason}"
    if row.hint:
        said += f"\n  {row.hint}"
    return said
