"""Works out how much memory activations need at once, from when each is written and last read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgestudio.model.graph import Graph

# Operators whose output is the input seen differently: every runtime keeps one buffer for both.
_VIEWS = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "Dropout",
    "reshape", "squeeze", "expand_dims", "identity", "flatten", "ExpandDims", "InputLayer",
}  # fmt: skip


class Peak(NamedTuple):
    """The most bytes alive at once, at which node (an index), and what every node needs while it runs."""

    size_bytes: int | None
    node: int | None
    alive_bytes: list[int]
    unknown: int
    """How many activations have no known size; they count nothing."""


def peak(graph: Graph, sizes: Sequence[int | None], inner: Sequence[int] = ()) -> Peak:
    """The peak of the graph's activations; `sizes` are bytes per tensor, `inner` what subgraphs of a node need.

    Inputs are alive from the start to their last reader, outputs from their writer to the end. What is computed from
    weights alone, such as a weight that is dequantised, is a weight in another form and no activation.
    """
    count = len(graph.nodes)
    if count == 0:
        return Peak(None, None, [], 0)
    start, end = _lifetimes(graph)
    change = [0] * (count + 1)
    unknown = 0
    for tensor, first in start.items():
        size = sizes[tensor]
        if size is None:
            unknown += 1
            continue
        change[first] += size
        change[end[tensor] + 1] -= size
    alive, level = [], 0
    for index in range(count):
        level += change[index]
        alive.append(level + (inner[index] if inner else 0))
    top = max(range(count), key=alive.__getitem__)
    return Peak(alive[top], top, alive, unknown)


def _is_random(operator: str) -> bool:
    return "random" in operator.casefold() or operator in ("Bernoulli", "Multinomial")


def _lifetimes(graph: Graph) -> tuple[dict[int, int], dict[int, int]]:
    """The first and the last node of each buffer, named by the tensor that owns it."""
    owner = list(range(len(graph.tensors)))
    start: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    weights = {at for at, tensor in enumerate(graph.tensors) if tensor.kind == "constant"}
    for index, node in enumerate(graph.nodes):
        read = [tensor for tensor in node.inputs if tensor >= 0]
        if read and not node.subgraphs and weights.issuperset(read) and not _is_random(node.op):
            weights.update(node.outputs)
            continue
        shared = node.inputs[0] if node.op in _VIEWS and node.inputs else -1
        for slot, tensor in enumerate(node.outputs):
            if tensor < 0:
                continue
            if shared >= 0 and slot == 0 and owner[shared] in start:
                owner[tensor] = owner[shared]
            start.setdefault(owner[tensor], index)
    end = dict(start)
    for index, node in enumerate(graph.nodes):
        for tensor in node.inputs:
            if tensor >= 0 and owner[tensor] in end:
                end[owner[tensor]] = max(end[owner[tensor]], index)
    for tensor in graph.outputs:
        if owner[tensor] in end:
            end[owner[tensor]] = len(graph.nodes) - 1
    return start, end
