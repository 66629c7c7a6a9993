"""Judges a model's operators, types, opset and shapes by the table of one runtime, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.query import Query, parse
from edgestudio.model.target.table import RuntimeTable, Status

ORDER: list[Status] = ["supported", "partial", "unknown", "unsupported"]
_NAMED = 1000
"""So many nodes of a row are named."""


_SEARCHED = 20
Place = tuple[int, int]
"""A graph of the model and a node in it."""


def finding(status: Status, reason: str, remedy: str, nodes: Sequence[int] = ()) -> dict[str, Any]:
    """One thing that was found; `nodes` of the main graph are what it is about."""
    row: dict[str, Any] = {"status": status, "reason": reason, "remedy": remedy}
    return {**row, "nodes": list(nodes[:_NAMED])} if nodes else row


def operators(model: Model, table: RuntimeTable) -> list[dict[str, Any]]:
    """A row for each operator, and one more for those of its nodes that a limit of the runtime concerns."""
    counts: dict[str, int] = {}
    halves: set[str] = set()
    places: dict[str, list[Place]] = {}
    limited: dict[tuple[int, str], list[Place]] = {}
    limits = [(parse(limit.when), limit) for limit in table.limits]
    checked = table.table_for in (None, model.format)
    for number, graph in enumerate(model.graphs):
        for index, node in enumerate(graph.nodes):
            if node.domain and node.subgraphs:
                continue  # a function of the model's own: its body is checked
            name = _name(node)
            at = _limit_of(limits, graph, node) if checked else -1
            if at >= 0:
                limited.setdefault((at, name), []).append((number, index))
                continue
            counts[name] = counts.get(name, 0) + 1
            places.setdefault(name, []).append((number, index))
            if any(graph.tensors[tensor].dtype == "float16" for tensor in node.inputs if tensor >= 0):
                halves.add(name)
    known = set(table.operators)
    rows = [
        {"op": name, "count": count, **_judge(name, table, known, is_half=name in halves, is_checked=checked)}
        for name, count in counts.items()
    ]
    for row in rows:
        row |= _placed(places[row["op"]])
    for (at, name), hits in limited.items():
        limit = limits[at][1]
        judged = finding(limit.status, limit.reason, limit.remedy)
        rows.append({"op": name, "count": len(hits), **judged, **_placed(hits)})
    return sorted(rows, key=lambda row: (-ORDER.index(row["status"]), -row["count"], row["op"]))


def _placed(places: Sequence[Place]) -> dict[str, Any]:
    """`nodes` of the main graph, and the first `places` of any graph, which are searched for the smallest part."""
    nodes = [index for number, index in places if number == 0]
    return {"nodes": nodes[:_NAMED], "places": [list(place) for place in places[:_SEARCHED]]}


def _limit_of(limits: Sequence[tuple[Query, Any]], graph: Graph, node: Node) -> int:
    """The first limit that concerns a node, -1 for none."""
    return next((at for at, (query, _) in enumerate(limits) if query.fits(graph, node)), -1)


def _name(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", "custom") else node.op


def _judge(
    name: str, table: RuntimeTable, known: set[str], *, is_half: bool, is_checked: bool
) -> dict[str, Any]:
    if name in table.unsupported:
        return finding("unsupported", *table.unsupported[name])
    if not is_checked:
        return finding("supported", "", "")
    if name not in known:
        remedy = table.remedies.get(name, table.default_remedy)
        return finding(
            table.otherwise, table.otherwise_reason, remedy if table.otherwise != "supported" else ""
        )
    if is_half and name in table.without_float16:
        return finding(
            "partial",
            "There is no kernel in half precision: it runs in FP32 with casts around it.",
            "Keep FP16 for storage, or use FP32 or INT8 here.",
        )
    if name in table.notes:
        return finding("supported", table.notes[name], "")
    return finding("supported", "", "")


def findings(model: Model, table: RuntimeTable) -> list[dict[str, Any]]:
    """What is wrong with the model as a whole: its opset, element types, open sizes, and quantisation."""
    found = []
    opset = model.opsets.get("")
    if table.opset is not None and opset is not None and model.format == "onnx":
        oldest, newest = table.opset
        if opset > newest:
            reason = f"Opset {opset} is newer than the newest known to be supported ({newest})."
            found.append(finding("unknown", reason, f"Convert the model to opset {newest}."))
        elif opset < oldest:
            reason = f"Opset {opset} is older than the oldest supported ({oldest})."
            found.append(finding("partial", reason, f"Convert the model to opset {max(oldest, 13)}."))
    tensors = [tensor for graph in model.graphs for tensor in graph.tensors]
    dtypes = sorted({tensor.dtype for tensor in tensors} & set(table.dtypes))
    found += [
        finding(
            "unsupported",
            f"Tensors are {name}. {table.dtypes[name]}",
            "Convert them.",
            _using(model.main, lambda tensor, name=name: tensor.dtype == name),  # type: ignore[misc]
        )
        for name in dtypes
    ]
    main = model.main
    open_inputs = {index for index in main.inputs if _is_open(main.tensors[index])}
    if table.static_shapes and open_inputs:
        readers = [at for at, node in enumerate(main.nodes) if open_inputs & set(node.inputs)]
        reason = f"Input sizes are open. {table.static_shapes}"
        found.append(finding("unsupported", reason, "Set every dimension.", readers))
    return found + _quantization(main, tensors, table)


def _is_open(tensor: Tensor) -> bool:
    return tensor.shape is None or any(not isinstance(size, int) for size in tensor.shape[1:])


def _using(graph: Graph, concerns: Callable[[Tensor], bool]) -> list[int]:
    """The nodes that read or write such a tensor."""
    return [
        index
        for index, node in enumerate(graph.nodes)
        if any(concerns(graph.tensors[t]) for t in (*node.inputs, *node.outputs) if t >= 0)
    ]


def _quantization(main: Graph, tensors: list[Tensor], table: RuntimeTable) -> list[dict[str, Any]]:
    found = []
    small = [
        t
        for t in tensors
        if t.kind == "constant" and t.quantization is not None and t.dtype in ("int8", "uint8")
    ]
    is_float = any(t.kind != "constant" and t.dtype == "float32" for t in tensors)
    integer_activations = any(t.kind != "constant" and t.quantization is not None for t in tensors)
    if table.full_int8 and not (integer_activations and (small or not is_float)):
        floats = _using(main, lambda t: t.dtype == "float32")
        found.append(finding("unsupported", table.full_int8, "Use the recipe INT8 static.", floats))
    if table.hybrid and small and is_float and not integer_activations:
        mixed = [
            at
            for at in _using(main, lambda t: t.kind == "constant" and t.quantization is not None)
            if any(main.tensors[t].dtype == "float32" for t in main.nodes[at].outputs if t >= 0)
        ]
        found.append(finding("unsupported", table.hybrid, "Use the recipe INT8 static.", mixed))
    shifted = _using(
        main, lambda t: t.kind != "constant" and t.quantization is not None and any(t.quantization.zero_point)
    )
    if table.zero_points and shifted:
        found.append(
            finding("unsupported", table.zero_points, "Quantise again with symmetric activations.", shifted)
        )
    return found
