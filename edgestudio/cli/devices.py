"""`edgestudio devices`: boards that are known, and those that announce themselves."""

from __future__ import annotations

import argparse
from typing import Any

from edgestudio.cli.console import Console, table
from edgestudio.cli.numbers import duration
from edgestudio.studio.app import Studio
from edgestudio.studio.rows import BoardRow

_WAIT_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[--wait S]."""
    parser.add_argument(
        "--wait", type=duration, default=_WAIT_S, metavar="S", help=f"seconds to look (default {_WAIT_S:g})"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Look for a while and list."""
    rows = await studio.boards.survey(options.wait)
    listing = table(
        ("name", "id", "address", "paired", "presence", "hardware", "runs"),
        [
            (
                f"{row.name}{' (simulated)' if row.is_simulated else ''}",
                row.id[:12],
                f"{row.address}:{row.port}",
                "yes" if row.is_paired else "no",
                row.presence,
                row.hardware,
                ", ".join(f"{active.model} {active.version}" for active in row.active) or "-",
            )
            for row in rows
        ],
    )
    text = listing if rows else "No boards seen. `edgestudio doctor` says what may be in the way."
    console.result({"devices": [describe(row) for row in rows]}, text)
    return 0


def describe(row: BoardRow) -> dict[str, Any]:
    """A board as it is printed under `--json`; `online` is null when nobody can know."""
    return {
        "id": row.id,
        "name": row.name,
        "address": f"{row.address}:{row.port}",
        "paired": row.is_paired,
        "online": {"online": True, "offline": False}.get(row.presence),
        "simulated": row.is_simulated,
        "hardware": row.hardware,
        "arch": row.arch,
        "runtimes": list(row.runtimes),
        "active": [
            {
                "model": active.model,
                "release": active.release,
                "version": active.version,
                "sha256": active.sha256,
                "healthy": active.healthy,
            }
            for active in row.active
        ],
        "pairing_open": row.pairing_open,
        "role": row.role or None,
        "problem": row.problem or None,
    }
