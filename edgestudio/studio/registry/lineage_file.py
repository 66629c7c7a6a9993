"""What a model was made by, as a file beside it in a registry: facts are too small a place for thousands of names.

It holds the recipe's steps, with the operators that each step renamed, so that whoever fetches the model can compare
it with its parent operator by operator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LINEAGE_FILE = "edgestudio-lineage.json"
_MOST_BYTES = 16 << 20
_LONGEST_NAME = 4096


def write_lineage(parent: str | None, steps: Sequence[Mapping[str, Any]], folder: Path) -> Path | None:
    """Write what is worth a file; None where no step renamed anything."""
    if parent is None or not any(step.get("names") for step in steps):
        return None
    kept = [{key: step.get(key) for key in ("pass", "options", "names")} for step in steps]
    text = json.dumps({"schema_version": 1, "parent": parent, "steps": kept}, ensure_ascii=False)
    if len(text.encode()) > _MOST_BYTES:
        return None
    path = folder / LINEAGE_FILE
    path.write_text(text, encoding="utf-8")
    return path


def read_lineage(path: Path, parent: str | None) -> tuple[Mapping[str, Any], ...]:
    """The steps that lead from `parent` to the model; () where the file is about something else or is damaged."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ()
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(document, dict) or document.get("parent") != parent or parent is None:
        return ()
    steps = document.get("steps")
    if not isinstance(steps, list):
        return ()
    found = []
    for step in steps:
        if not isinstance(step, dict):
            return ()
        names, options = step.get("names"), step.get("options")
        kept: dict[str, Any] = {"pass": str(step.get("pass") or "")[:200]}
        if isinstance(options, dict):
            kept["options"] = options
        if isinstance(names, dict):
            kept["names"] = {
                old: new
                for old, new in names.items()
                if isinstance(new, str) and len(old) <= _LONGEST_NAME and len(new) <= _LONGEST_NAME
            }
        found.append(kept)
    return tuple(found)
