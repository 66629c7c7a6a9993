"""`edgestudio check`: whether a model will run on a board."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --target PROFILE."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file or folder")
    parser.add_argument("--target", required=True, metavar="PROFILE", help="a board profile, such as pi5")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Check in a worker and print."""
    result = await studio.models.check(options.model, options.target)
    rows = [
        (entry.get("op"), entry.get("count"), entry.get("status"), entry.get("reason"), entry.get("remedy"))
        for entry in result.get("operators") or []
    ]
    listing = table(("operator", "count", "status", "reason", "remedy"), rows)
    console.result(result, f"{listing}\n\nverdict: {result.get('verdict')}")
    return 0
