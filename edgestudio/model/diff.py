"""Compares two models, also of different formats: what was added, removed and changed, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.inspection import analysed
from edgestudio.model.library import content_sha256
from edgestudio.model.matching import is_value, match, word
from edgestudio.model.weight_distance import Loaders, Weights, refined, weight_changes
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Progress

_FOLDED = {"batchnormalization", "batch_norm", "fusedbatchnormv3", "relu", "identity"}
"""What converters fold into the operator before."""
_QUANTISING = {"quantize", "dequantize"}
_NOISE = {"version"}
"""Attributes that change with the converter and not with the computation."""


def diff_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Compare `params["a"]` with `params["b"]`; entry point of the job `diff`.

    `params["names"]` are operators' names in `a` to those in `b` as the recipes between them changed them.
    """
    a, b = Path(str(params["a"])), Path(str(params["b"]))
    progress.phase("read", 0.0)
    if content_sha256(a) == content_sha256(b):
        return {"added": [], "removed": [], "changed": [], "identical": True, "pairs": [], "totals": {}}
    first, second = analysed(a), analysed(b)
    progress.phase("compare", 0.5)
    names = {str(old): str(new) for old, new in (params.get("names") or {}).items()}
    result = compare(first.model, second.model, _weights(a), _weights(b), names)
    totals = {
        "macs": [first.macs, second.macs],
        "parameters": [first.parameters, second.parameters],
        "size_bytes": [first.model.size_bytes, second.model.size_bytes],
        "peak_activation_bytes": [first.peak_activation_bytes, second.peak_activation_bytes],
    }
    return {**result, "totals": totals}


def _weights(path: Path) -> Loaders:
    try:
        return weight_loaders(path)
    except ModelError:
        return {}


def compare(
    a: Model,
    b: Model,
    weights_a: Loaders | None = None,
    weights_b: Loaders | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What changed from `a` to `b` in the main graph.

    `pairs` are the matched operators as indices; weights are loaders by name as `weight_loaders` returns them.
    Rows of `removed` say in `into` which operator does the work now, where one is known; rows of a `role` only
    quantise what others compute.
    """
    same_format = a.format == b.format
    left, right = Weights(a.main, weights_a or {}), Weights(b.main, weights_b or {})
    pairs = match(a.main, b.main, names)
    if not same_format:
        pairs = refined(pairs, left, right)
    partner = dict(pairs)
    changed = []
    for i, j in pairs:
        row = _changes(a.main, b.main, i, j, same_format=same_format)
        weights = weight_changes(left, right, i, j, same_format=same_format, partner=partner)
        if weights:
            row["weights"] = weights
        if row:
            changed.append({"name": b.main.nodes[j].name, "op": b.main.nodes[j].op, "a": i, "b": j, **row})
    added, removed = _alone(b.main, set(partner.values())), _alone(a.main, set(partner))
    ends = a.main.producers(), b.main.consumers()
    for row in removed:
        into = _folded_into(a.main, b.main, row["index"], partner, ends)
        if into:
            row["into"] = into
    values = _value_changes(a, b, partner)
    return {
        "added": added,
        "removed": removed,
        "changed": changed,
        "identical": not (added or removed or changed or values),
        "values": values,
        "pairs": [list(pair) for pair in pairs],
    }


def _alone(graph: Graph, matched: set[int]) -> list[dict[str, Any]]:
    """A row for each operator that has no partner."""
    rows: list[dict[str, Any]] = []
    for index, node in enumerate(graph.nodes):
        if index not in matched and not is_value(node):
            role = {"role": "quantisation"} if word(node.op) in _QUANTISING else {}
            rows.append({"name": node.name, "op": node.op, "index": index, **role})
    return rows


def _folded_into(
    a: Graph, b: Graph, i: int, partner: Mapping[int, int], ends: tuple[dict[int, int], dict[int, list[int]]]
) -> str:
    """The operator of `b` that does the work of operator `i` of `a` along with its own, "" when it is not known."""
    node, (writer, readers) = a.nodes[i], ends
    if word(node.op) not in _FOLDED:
        return ""
    source = writer.get(node.inputs[0], -1) if node.inputs else -1
    while source >= 0 and source not in partner and word(a.nodes[source].op) in _FOLDED:
        inputs = a.nodes[source].inputs
        source = writer.get(inputs[0], -1) if inputs else -1
    if source not in partner:
        return ""
    other = b.nodes[partner[source]]
    fused = str(other.attributes.get("fused_activation_function", "NONE"))
    is_activation = word(node.op) == "relu"
    behind = [b.nodes[at] for tensor in other.outputs for at in readers.get(tensor, ())]
    clipping = next((each for each in behind if word(each.op) == "quantize"), None)
    if (
        is_activation and clipping is not None
    ):  # the range that it quantises to begins where the activation does
        return clipping.name or clipping.op
    return other.name or other.op if not is_activation or fused not in ("NONE", "0") else ""


def _changes(a: Graph, b: Graph, i: int, j: int, *, same_format: bool) -> dict[str, Any]:
    left, right = a.nodes[i], b.nodes[j]
    row: dict[str, Any] = {}
    if same_format:
        keys = sorted({*left.attributes, *right.attributes} - _NOISE)
        differing = {
            key: [left.attributes.get(key), right.attributes.get(key)]
            for key in keys
            if left.attributes.get(key) != right.attributes.get(key)
        }
        if differing:
            row["attributes"] = differing
        if left.op != right.op:
            row["operator"] = [left.op, right.op]
    old, new = _first_output(a, left), _first_output(b, right)
    if old is not None and new is not None:
        if old.dtype and new.dtype and old.dtype != new.dtype:
            row["dtype"] = [old.dtype, new.dtype]
        if not _same_shape(old, new, same_format=same_format):
            row["shape"] = [_listed(old), _listed(new)]
    return row


def _first_output(graph: Graph, node: Node) -> Tensor | None:
    index = next((tensor for tensor in node.outputs if tensor >= 0), -1)
    return graph.tensors[index] if index >= 0 else None


def _listed(tensor: Tensor) -> list[Any] | None:
    return None if tensor.shape is None else list(tensor.shape)


def _same_shape(old: Tensor, new: Tensor, *, same_format: bool) -> bool:
    """True when nothing is known to differ; across formats the order of dimensions does not count."""
    if old.shape is None or new.shape is None:
        return True
    if same_format:
        return old.shape == new.shape
    sizes = [
        sorted(size for size in shape if isinstance(size, int) and size > 1)
        for shape in (old.shape, new.shape)
    ]
    return sizes[0] == sizes[1]


def _value_changes(a: Model, b: Model, partner: Mapping[int, int]) -> list[dict[str, Any]]:
    """Inputs and outputs that differ in name, type or shape; between formats open sizes have no names."""
    found = []
    same_format = a.format == b.format
    for side in ("inputs", "outputs"):
        for position, (one, two) in enumerate(_beside(a.main, b.main, side, partner)):
            if one is not None and two is not None:
                is_same = (one.name, one.dtype) == (two.name, two.dtype)
                if is_same and _same_shape(one, two, same_format=same_format):
                    continue
            described = [
                None if t is None else {"name": t.name, "dtype": t.dtype, "shape": _listed(t)}
                for t in (one, two)
            ]
            found.append({"side": side[:-1], "position": position, "a": described[0], "b": described[1]})
    return found


def _beside(
    a: Graph, b: Graph, side: str, partner: Mapping[int, int]
) -> list[tuple[Tensor | None, Tensor | None]]:
    """Inputs or outputs in pairs: by name, by the operators that write them, then in their order."""
    left: list[int] = list(getattr(a, side))
    right: list[int] = list(getattr(b, side))
    names = {b.tensors[tensor].name: tensor for tensor in right}
    writers_a, writers_b = a.producers(), b.producers()
    written = {writers_b[tensor]: tensor for tensor in right if tensor in writers_b}
    pairs: dict[int, int] = {}
    for tensor in left:
        by_writer = written.get(partner.get(writers_a.get(tensor, -1), -1))
        other = names.get(a.tensors[tensor].name, by_writer)
        if other is not None and other not in pairs.values():
            pairs[tensor] = other
    rest = [tensor for tensor in right if tensor not in pairs.values()]
    for tensor in left:
        if tensor not in pairs and rest:
            pairs[tensor] = rest.pop(0)
    beside = [(a.tensors[t], b.tensors[pairs[t]] if t in pairs else None) for t in left]
    return [*beside, *((None, b.tensors[t]) for t in rest)]
