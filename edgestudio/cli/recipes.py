"""`edgestudio recipes`: what can be done to a model here."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """List recipes and passes; nothing is loaded for it."""
    recipes, passes = studio.optimizer.recipes(), studio.optimizer.passes()
    shown = [
        table(
            ("recipe", "title", "needs data", "available"),
            [
                (entry["name"], entry["title"], _yes(entry["needs_data"]), entry["reason"] or "yes")
                for entry in recipes
            ],
        ),
        table(
            ("pass", "title", "options", "available"),
            [
                (entry["id"], entry["title"], " ".join(entry["options"]), entry["reason"] or "yes")
                for entry in passes
            ],
        ),
    ]
    console.result({"recipes": recipes, "passes": passes}, "\n\n".join(shown))
    return 0


def _yes(claim: object) -> str:
    return "yes" if claim else "no"
