"""Compares models of which one holds no graph, a state dict or safetensors: weight by weight, by their names."""

from __future__ import annotations

from typing import Any

from edgestudio.model.compare.weight_distance import distance
from edgestudio.model.graph import Graph, Model, Tensor
from edgestudio.model.totals.constants import Loaders, Weights

_NO_GRAPH = Graph("", (), (), (), ())


def compare_weights(a: Model, b: Model, weights_a: Loaders, weights_b: Loaders) -> dict[str, Any]:
    """What `model.compare.diff.compare` tells, with a row for each weight; `index`, `a` and `b` are -1."""
    old, new = _listed(a), _listed(b)
    first, second = Weights(_NO_GRAPH, weights_a), Weights(_NO_GRAPH, weights_b)
    changed: list[dict[str, Any]] = []
    unread: list[str] = []
    for name in old.keys() & new.keys():
        found = _change(first, second, old[name], new[name])
        if found.pop("unread", False):
            unread.append(name)
        if found:
            changed.append(
                {"name": name, "op": "weight", "a": -1, "b": -1, "weights": [{"name": name, **found}]}
            )
    added, removed = (
        [{"name": name, "op": "weight", "index": -1} for name in sorted(one.keys() - two.keys())]
        for one, two in ((new, old), (old, new))
    )
    return {
        "added": added,
        "removed": removed,
        "changed": sorted(changed, key=lambda row: str(row["name"])),
        "unread": sorted(unread),
        "identical": not (added or removed or changed or unread) and not a.graphs and not b.graphs,
        "values": [],
        "pairs": [],
    }


def _listed(model: Model) -> dict[str, Tensor]:
    """The weights of a model by their names: those that are listed and the constants of its graphs."""
    constants = (tensor for graph in model.graphs for tensor in graph.tensors if tensor.kind == "constant")
    return {tensor.name: tensor for tensor in (*constants, *model.weights)}


def _change(a: Weights, b: Weights, old: Tensor, new: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if old.dtype != new.dtype:
        found["dtype"] = [old.dtype, new.dtype]
    if old.shape != new.shape:
        sizes = [None if each.shape is None else list(each.shape) for each in (old, new)]
        return {**found, "shape": sizes}
    first, second = a.real(old), b.real(new)
    if first is None or second is None or first.shape != second.shape:
        return {**found, "unread": True}
    apart = distance(first, second)
    return {**found, **apart} if apart["relative"] > 0 else found
