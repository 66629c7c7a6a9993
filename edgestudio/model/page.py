"""Writes a graph as one HTML page that draws, searches and explains it with nothing else, and loads nothing."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

from edgestudio.assets import resource
from edgestudio.model.boxes import BoxKind, shape_text
from edgestudio.model.families import GROUP, TERMINAL, Family, family_of
from edgestudio.model.graph import Graph, Node
from edgestudio.model.layout import Layout

_LONGEST_VALUE = 200


def write_page(graph: Graph, layout: Layout, path: Path, title: str) -> None:
    """Write the page of `graph` as `layout` draws it; raises OSError when `path` cannot be written."""
    template = resource("page", "graph.html").read_text("utf-8")
    # "</" would end the script element, and "<!--" open a comment, from inside a name of the model.
    data = json.dumps(_data(graph, layout), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    head, middle, tail = template.replace("@TITLE@", escape(title or "Model graph")).partition("@DATA@")
    path.write_text(head + data + tail if middle else head, "utf-8")


def _data(graph: Graph, layout: Layout) -> dict[str, Any]:
    boxes = layout.boxes
    families: list[Family] = []
    number: dict[Family, int] = {}
    of_box = []
    for kind, label in zip(boxes.kind.tolist(), boxes.label.tolist(), strict=True):
        if kind == BoxKind.OPERATOR:
            family = family_of(boxes.labels[label])
        else:
            family = GROUP if kind == BoxKind.GROUP else TERMINAL
        if family not in number:
            number[family] = len(families)
            families.append(family)
        of_box.append(number[family])
    return {
        "x": layout.x.round(1).tolist(),
        "y": layout.y.round(1).tolist(),
        "w": boxes.width.round(1).tolist(),
        "h": boxes.height.tolist(),
        "b": boxes.label.tolist(),
        "d": boxes.detail.tolist(),
        "f": of_box,
        "s": boxes.source.tolist(),
        "t": boxes.target.tolist(),
        "l": [None if math.isnan(x) else round(x, 1) for x in layout.lane.tolist()],
        "labels": boxes.labels,
        "details": boxes.details,
        "families": [{"title": f.title, "light": f.light, "dark": f.dark} for f in families],
        "nodes": [
            _node(graph, graph.nodes[ref]) if kind == BoxKind.OPERATOR else None
            for kind, ref in zip(boxes.kind.tolist(), boxes.ref.tolist(), strict=True)
        ],
    }


def _node(graph: Graph, node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "attributes": [[key, str(value)[:_LONGEST_VALUE]] for key, value in sorted(node.attributes.items())],
        "inputs": [_tensor(graph, t) for t in node.inputs if t >= 0],
        "outputs": [_tensor(graph, t) for t in node.outputs if t >= 0],
    }


def _tensor(graph: Graph, index: int) -> list[str]:
    tensor = graph.tensors[index]
    return [tensor.name, f"{tensor.dtype} {shape_text(tensor.shape)}".strip()]
