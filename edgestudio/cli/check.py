"""`edgestudio check`: whether a model will run on a board."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --target PROFILE [--export-failing PATH]."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file or folder")
    parser.add_argument(
        "--target", required=True, metavar="PROFILE", help="a board profile or runtime, such as pi5"
    )
    parser.add_argument(
        "--export-failing",
        type=Path,
        metavar="PATH",
        help="write the smallest parts that fail as models of their own, or as graphs without weights where the format "
        "is neither ONNX nor TFLite: a folder, or one file",
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Check in a worker and print."""
    result = await studio.models.check(options.model, options.target, failing=options.export_failing)
    rows = [
        (entry.get("op"), entry.get("count"), entry.get("status"), entry.get("reason"), entry.get("remedy"))
        for entry in [*(result.get("findings") or []), *(result.get("operators") or [])]
    ]
    listing = table(("operator", "count", "status", "reason", "remedy"), rows)
    kept = "".join(f"\nwritten: {file}" for file in result["failing"])
    runtimes = ", ".join(f"{name}: {verdict}" for name, verdict in (result.get("runtimes") or {}).items())
    verdict = (
        f"verdict: {result.get('verdict')} ({runtimes})" if runtimes else f"verdict: {result['verdict']}"
    )
    console.result(result, f"{listing}\n\n{verdict}{kept}")
    return 0
