"""Writes a graph as one HTML page that draws, searches and explains it with nothing else, and loads nothing."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

from edgestudio.assets import resource
from edgestudio.model.graph import Graph, Node
from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.families import GROUP, TERMINAL, Family, family_of
from edgestudio.model.picture.layout import Layout
from edgestudio.model.query import parameters

_LONGEST_VALUE = 200
_MOST_NUMBERS = 256


def write_page(graph: Graph, layout: Layout, path: Path, title: str) -> None:
    """Write the page of `graph` as `layout` draws it; raises OSError when `path` cannot be written."""
    template = resource("page", "graph.html").read_text("utf-8")
    template = template.replace("@SEARCH@", resource("page", "search.js").read_text("utf-8"))
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
    """What the page tells of a node and searches by."""
    sizes = [graph.tensors[t].size_bytes for t in node.outputs if t >= 0]
    return {
        "op": node.op,
        "name": node.name,
        "scope": node.scope,
        "domain": node.domain,
        "macs": node.macs,
        "params": parameters(graph, node),
        "bytes": sum(size or 0 for size in sizes) if any(size is not None for size in sizes) else None,
        "attributes": [
            [key, str(value)[:_LONGEST_VALUE], _numbers(value)]
            for key, value in sorted(node.attributes.items())
        ],
        "inputs": [_tensor(graph, t) for t in node.inputs if t >= 0],
        "outputs": [_tensor(graph, t) for t in node.outputs if t >= 0],
    }


def _numbers(value: object) -> list[float]:
    """The numbers of an attribute that comparisons look at; a page's notation knows no others than finite ones."""
    values = value if isinstance(value, list | tuple) else [value]
    found = [each for each in values if isinstance(each, int | float) and math.isfinite(each)]
    return [int(each) if isinstance(each, bool) else each for each in found[:_MOST_NUMBERS]]


def _tensor(graph: Graph, index: int) -> list[Any]:
    tensor = graph.tensors[index]
    return [tensor.name, tensor.dtype, None if tensor.shape is None else list(tensor.shape)]
