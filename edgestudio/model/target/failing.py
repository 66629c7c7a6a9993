"""Cuts the smallest part that fails out of a model that fails a check, and keeps it if it fails the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgestudio.model.graph import Model
from edgestudio.model.totals.analysis import Analysis
from edgestudio.wire.errors import EdgeStudioError

Judge = Callable[[Path], Mapping[str, Any]]
_MOST = 20
"""So many parts are written; a model that fails in more ways is of another kind altogether."""
_TRIED = 3
"""Nodes that are tried for each reason before it is given up."""


def write_failing(
    path: Path, analysis: Analysis, result: Mapping[str, Any], judge: Judge, out_dir: Path
) -> list[Path]:
    """A model of one operator for each reason for which `result` says that it does not run.

    The operator may be in the body of a loop or branch, or in a function. ONNX and TFLite are written as such; of
    other formats the part is written as a graph without weights, which opens and is checked like a model. `judge`
    checks a file as the model itself was checked; a part that it does not refuse for the same reason is not kept.
    Large weights become inputs, so that little data travels.
    """
    model = analysis.model
    if not model.graphs:
        return []
    writer = _WRITERS.get(model.format, _graph)
    suffix = (path.suffix or f".{model.format}") if model.format in _WRITERS else ".json"
    written: list[Path] = []
    for row in [*result["operators"], *result["findings"]]:
        if row["status"] != "unsupported" or len(written) >= _MOST:
            continue
        places = [tuple(place) for place in row.get("places", ())] or [(0, at) for at in row.get("nodes", ())]
        for number, node in places[:_TRIED]:
            op = re.sub(r"\W+", "_", str(row.get("op") or model.graphs[number].nodes[node].op))
            target = _free(out_dir, f"failing_{op}", suffix)
            try:
                writer(path, model, (number, node), target)
                is_same = _fails_alike(judge(target), row)
            except (EdgeStudioError, ValueError, LookupError, TypeError, AttributeError):
                is_same = False
            if is_same:
                written.append(target)
                break
            target.unlink(missing_ok=True)
    return written


def _fails_alike(result: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    wanted = row.get("op"), row["reason"]
    found = [*result["operators"], *result["findings"]]
    return any(
        (each.get("op"), each["reason"]) == wanted and each["status"] == "unsupported" for each in found
    )


def _free(folder: Path, name: str, suffix: str) -> Path:
    path, number = folder / f"{name}{suffix}", 2
    while path.exists():
        path, number = folder / f"{name}_{number}{suffix}", number + 1
    return path


def _onnx(path: Path, model: Model, place: tuple[int, int], target: Path) -> None:
    from edgestudio.model.formats.onnx_extract import write_node

    write_node(path, model, place, target)


def _tflite(path: Path, model: Model, place: tuple[int, int], target: Path) -> None:
    from edgestudio.model.formats.tflite_extract import write_node

    write_node(path, model, place, target)


def _graph(path: Path, model: Model, place: tuple[int, int], target: Path) -> None:
    from edgestudio.model.formats.graph_part import write_node

    write_node(path, model, place, target)


_WRITERS: dict[str, Callable[[Path, Model, tuple[int, int], Path], None]] = {
    "onnx": _onnx,
    "tflite": _tflite,
}
