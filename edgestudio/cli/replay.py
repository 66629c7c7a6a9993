"""`edgestudio replay`: do inferences that a board captured again, and say where they differ."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CAPTURE... [--model FILE] [--pipeline FILE]."""
    parser.add_argument("captures", nargs="+", metavar="CAPTURE", help=".capture files, or folders of them")
    parser.add_argument(
        "--model", metavar="FILE", help="the model; left out: the one of the library that was captured"
    )
    parser.add_argument("--pipeline", metavar="FILE", help="this pipeline instead of the captured one")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Replay and print; ends with 3 when anything differs."""
    report = await studio.captures.replay(
        [Path(path) for path in options.captures],
        model=Path(options.model) if options.model else None,
        pipeline=Path(options.pipeline) if options.pipeline else None,
    )
    console.result(report, _text(report))
    return 0 if report["equal"] else 3


def _text(report: Mapping[str, Any]) -> str:
    captures = report["captures"]
    rows = [(c["id"], c["model"], c["version"] or c["release"], _verdict(c), _detail(c)) for c in captures]
    same = sum(1 for c in captures if c["equal"])
    head = f"{same} of {len(captures)} captured inferences are bit-equal here"
    return f"{head}\n{table(('id', 'model', 'version', 'result', 'detail'), rows)}"


def _verdict(capture: Mapping[str, Any]) -> str:
    return "bit-equal" if capture["equal"] else f"{capture['first_difference']} differs first"


def _detail(capture: Mapping[str, Any]) -> str:
    stage = next((s for s in capture["stages"] if s["stage"] == capture["first_difference"]), None)
    if stage is None:
        return ""
    worst = max((t.get("max_abs", 0.0) for t in stage.get("tensors", {}).values()), default=0.0)
    parts = [
        stage.get("reason", ""),
        f"by up to {worst:.3g}" if worst else "",
        ", ".join(stage.get("differs", {})),
    ]
    other = ", ".join(capture["environment"]["differs"])
    return "; ".join([part for part in parts if part] + ([f"other here: {other}"] if other else []))
