"""`edgestudio diff`: the difference of two models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio

_NAMED = 5
"""So many weights without values are named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A B."""
    parser.add_argument("a", type=Path, metavar="A", help="a model")
    parser.add_argument("b", type=Path, metavar="B", help="the model to compare it with")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Compare in a worker and print."""
    result = await studio.models.diff(options.a, options.b)
    lines: list[str] = []
    for sign, key in (("+", "added"), ("-", "removed"), ("~", "changed")):
        lines.extend(f"{sign} {_entry(entry)}" for entry in result.get(key) or [])
    unread = list(result.get("unread") or ())
    if unread:
        lines.append(
            f"{len(unread)} weights have no values that can be read and were compared by type and shape alone: "
            + ", ".join(unread[:_NAMED])
            + (" …" if len(unread) > _NAMED else "")
        )
    if result.get("identical"):
        lines.append("The models are identical.")
    console.result(result, "\n".join(lines) or "No difference in structure; the files differ.")
    return 0


def _entry(entry: object) -> str:
    if isinstance(entry, Mapping) and "op" in entry:
        rest = {key: value for key, value in entry.items() if key not in ("op", "name", "index")}
        said = f"{entry['op']} {entry.get('name') or entry.get('index')}"
        return f"{said}: {_plain(rest)}" if rest else said
    return entry if isinstance(entry, str) else _plain(entry)


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
