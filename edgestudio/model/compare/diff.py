"""Compares two models, also of different formats: what was added, removed and changed, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.model.compare.comparison import Comparison, listed, same_shape
from edgestudio.model.compare.weight_lists import compare_weights
from edgestudio.model.copying import content_sha256
from edgestudio.model.graph import Graph, Model, Tensor
from edgestudio.model.inspection import analysed
from edgestudio.model.totals.constants import Loaders
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Progress


def diff_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Compare `params["a"]` with `params["b"]`; entry point of the job `diff`.

    `params["names"]` are operators' names in `a` to those in `b` as the recipes between them changed them.
    """
    a, b = Path(str(params["a"])), Path(str(params["b"]))
    progress.phase("read", 0.0)
    if content_sha256(a) == content_sha256(b):
        return {
            "added": [],
            "removed": [],
            "changed": [],
            "unread": [],
            "identical": True,
            "pairs": [],
            "totals": {},
        }
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
    """What changed from `a` to `b` in the main graph, or in the weights by their names where one has no graph.

    `pairs` are the matched operators as indices; weights are loaders by name as `weight_loaders` returns them.
    Rows of `removed` say in `into` which operator does the work now, rows of `added` in `from` which one did it
    before, where one is known; rows of a `role` only quantise what others compute. `unread` are weights whose values
    are not known, so that they were compared by type and shape alone.
    """
    if not (a.graphs and b.graphs):
        return compare_weights(a, b, weights_a or {}, weights_b or {})
    comparison = Comparison(a, b, weights_a or {}, weights_b or {}, names)
    changed = comparison.changed()
    added, removed = comparison.added(), comparison.removed()
    values = _value_changes(a, b, comparison.partner)
    return {
        "added": added,
        "removed": removed,
        "changed": changed,
        "unread": comparison.unread,
        "identical": not (added or removed or changed or values or comparison.unread),
        "values": values,
        "pairs": [list(pair) for pair in comparison.pairs],
    }


def _value_changes(a: Model, b: Model, partner: Mapping[int, int]) -> list[dict[str, Any]]:
    """Inputs and outputs that differ in name, type or shape; between formats open sizes have no names."""
    found = []
    same_format = a.format == b.format
    for side in ("inputs", "outputs"):
        for position, (one, two) in enumerate(_beside(a.main, b.main, side, partner)):
            if one is not None and two is not None:
                is_same = (one.name, one.dtype) == (two.name, two.dtype)
                if is_same and same_shape(one, two, same_format=same_format):
                    continue
            described = [
                None if t is None else {"name": t.name, "dtype": t.dtype, "shape": listed(t)}
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
