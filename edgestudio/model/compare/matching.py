"""Finds which operators of two graphs are the same: by lineage, names, weights, results and order."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from edgestudio.model.dtypes import elements
from edgestudio.model.graph import Dimension, Graph, Node
from edgestudio.model.operator_words import WEIGHTED, is_value, meaning

_ALIGN_LIMIT = 4000
"""Up to this many unmatched operators a side are aligned optimally; longer rests in passing order."""

_WITH_CONSTANTS = {"add", "sub", "mul", "div"}
Shape = tuple[Dimension, ...] | None
Signature = tuple[Any, ...] | None


def match(
    a: Graph,
    b: Graph,
    names: Mapping[str, str] | None = None,
    left_out: tuple[AbstractSet[int], AbstractSet[int]] = (frozenset(), frozenset()),
) -> list[tuple[int, int]]:
    """Pairs of operators that are the same: by lineage, name, what they write, weights and results, by order.

    `names` are those of `a` to those of `b` where a recipe is known to have changed them; they come first.
    `left_out` are operators of each side that are not matched.
    """
    skipped_a = {i for i, node in enumerate(a.nodes) if is_value(node)} | left_out[0]
    skipped_b = {j for j, node in enumerate(b.nodes) if is_value(node)} | left_out[1]
    found = _by_lineage(a, b, names or {})
    for key in (_by_name, _by_output):
        taken_a, taken_b = skipped_a | set(found), skipped_b | set(found.values())
        if key is _by_name and names:  # a name that means something else now is no name to go by
            taken_a |= {i for i, node in enumerate(a.nodes) if node.name in names}
            given = set(names.values())
            taken_b |= {j for j, node in enumerate(b.nodes) if node.name in given}
        left, right = _unique(a, key, taken_a), _unique(b, key, taken_b)
        found.update({left[name]: right[name] for name in left if name in right})
    for signature in (_with_weights, _by_weights, _by_result):
        _pair_by_rank(a, b, signature, found, (skipped_a, skipped_b))
    taken = skipped_b | set(found.values())
    rest_a = [i for i in range(len(a.nodes)) if i not in found and i not in skipped_a]
    rest_b = [j for j in range(len(b.nodes)) if j not in taken]
    words_a, words_b = [meaning(a.nodes[i]) for i in rest_a], [meaning(b.nodes[j]) for j in rest_b]
    for i, j in _aligned(words_a, words_b):
        found[rest_a[i]] = rest_b[j]
    return sorted(found.items())


def _by_lineage(a: Graph, b: Graph, names: Mapping[str, str]) -> dict[int, int]:
    if not names:
        return {}
    left, right = _unique(a, _plain, set()), _unique(b, _plain, set())
    return {left[old]: right[new] for old, new in names.items() if old in left and new in right}


def _plain(graph: Graph, node: Node) -> str:
    return node.name


def _pair_by_rank(
    a: Graph,
    b: Graph,
    signature: Callable[[Graph, Node], Signature],
    found: dict[int, int],
    skipped: tuple[set[int], set[int]],
) -> None:
    """Pair the operators of a signature in their order, where both graphs have as many of it."""
    left = _by_signature(a, signature, set(found) | skipped[0])
    right = _by_signature(b, signature, set(found.values()) | skipped[1])
    for key, places in left.items():
        others = right.get(key, [])
        if len(places) == len(others):
            found.update(zip(places, others, strict=True))


def _by_signature(
    graph: Graph, signature: Callable[[Graph, Node], Signature], taken: set[int]
) -> dict[Signature, list[int]]:
    places: dict[Signature, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        key = signature(graph, node) if index not in taken else None
        if key is not None:
            places.setdefault(key, []).append(index)
    return places


def _with_weights(graph: Graph, node: Node) -> Signature:
    """Operator, size of the weights and size of the result; formats order the dimensions differently."""
    weights, result = _by_weights(graph, node), _sizes(graph, node.outputs[:1])
    return None if weights is None or result is None else (*weights, result)


def _by_weights(graph: Graph, node: Node) -> Signature:
    """Operator and how many numbers its weight has: formats put them in different shapes."""
    said = meaning(node)
    if said not in WEIGHTED:
        return None
    held = [each for each in node.inputs[1:4] if each >= 0 and graph.tensors[each].dtype[:5] != "int32"]
    shape = graph.tensors[held[0]].shape if held else None
    count = None if shape is None else elements(shape)
    return (said, count) if count is not None and count > 1 else None


def _by_result(graph: Graph, node: Node) -> Signature:
    result = _sizes(graph, node.outputs[:1])
    said = meaning(node)
    if not result or said in WEIGHTED:
        return None
    constants = (
        [_sizes(graph, [each]) for each in node.inputs if each >= 0] if said in _WITH_CONSTANTS else ()
    )
    held = [
        size
        for size, each in zip(constants, (each for each in node.inputs if each >= 0), strict=False)
        if size and graph.tensors[each].kind == "constant"
    ]
    return (said, result, *sorted(held))


def _sizes(graph: Graph, tensors: Sequence[int]) -> tuple[int, ...] | None:
    """The sizes of the first tensor in ascending order, those of 1 and the open ones left out."""
    shape = graph.tensors[tensors[0]].shape if tensors and tensors[0] >= 0 else None
    return None if shape is None else tuple(sorted(n for n in shape if isinstance(n, int) and n > 1))


def _by_name(graph: Graph, node: Node) -> str:
    return f"{node.name}\0{meaning(node)}" if node.name else ""


def _by_output(graph: Graph, node: Node) -> str:
    output = next((tensor for tensor in node.outputs if tensor >= 0), -1)
    name = graph.tensors[output].name if output >= 0 else ""
    return f"{name}\0{meaning(node)}" if name else ""


def _unique(graph: Graph, key: Any, skipped: set[int]) -> dict[str, int]:
    names = [key(graph, node) if index not in skipped else "" for index, node in enumerate(graph.nodes)]
    counts = Counter(names)
    return {name: index for index, name in enumerate(names) if name and counts[name] == 1}


def _aligned(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    if len(a) > _ALIGN_LIMIT or len(b) > _ALIGN_LIMIT:
        places: dict[str, list[int]] = {}
        for j, name in enumerate(b):
            places.setdefault(name, []).append(j)
        taken: Counter[str] = Counter()
        pairs = []
        for i, name in enumerate(a):
            at = taken[name]
            if at < len(places.get(name, ())):
                pairs.append((i, places[name][at]))
                taken[name] += 1
        return pairs
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [(i + k, j + k) for i, j, size in matcher.get_matching_blocks() for k in range(size)]
