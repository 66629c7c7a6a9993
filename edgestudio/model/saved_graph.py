"""Inspects a graph that another reader has saved: totals and layout from graph.json, without the model's own file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.model import graph as graphs
from edgestudio.model.allocation import uncollected
from edgestudio.model.copying import content_sha256
from edgestudio.model.inspection import summarise
from edgestudio.model.picture.layout import lay_out
from edgestudio.model.totals.analysis import analyse
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Progress


def inspect_graph_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Inspect `params["graph"]`, which was read from `params["path"]`; entry point of the job `inspect-graph`.

    Gives what the job `inspect` gives; multiply-accumulates and memory are null where the operators of the format
    are not known. Raises ModelError for a graph that does not hold together.
    """
    progress.phase("read", 0.1)
    try:
        model = graphs.load(Path(str(params["graph"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError("What was read does not hold together as a graph.", code="bad-graph") from error
    layout_path: Path | None = None
    if params.get("layout") and model.graphs:
        progress.phase("lay out", 0.3)
        layout_path = out_dir / "layout.npz"
        lay_out(model.main).save(layout_path)
    progress.phase("add up", 0.6)
    with uncollected():
        analysis = analyse(model, None, {})
    graph_path = out_dir / "graph.json"
    graphs.save(analysis.model, graph_path)
    summary = summarise(analysis)
    if not summary["macs"]:  # nobody knows what these operators compute: unknown, not nothing
        summary.update(macs=None, peak_activation_bytes=None, peak_activation_node=None)
    return {
        "summary": {**summary, "read_by": params.get("read_by")},
        "graph": str(graph_path),
        "layout": None if layout_path is None else str(layout_path),
        "sha256": content_sha256(Path(str(params["path"]))),
        "companions": list(model.companions),
    }
