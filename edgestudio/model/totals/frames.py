"""Says which operators of a TensorFlow graph lie in a loop that was lowered into it, and how often that runs.

Such a loop is a frame: values come in by Enter, go round by NextIteration and out by Exit; LoopCond decides.
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/ops/control_flow_ops.cc
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgestudio.model.graph import Graph, Node

_ENTER = {"Enter", "RefEnter"}
_EXIT = {"Exit", "RefExit"}
_SAME = {"Identity", "LoopCond"}
_MAX_TRIPS = 1 << 31


def frame_trips(graph: Graph) -> Mapping[int, int | None]:
    """For each node inside of a frame how often it runs, None where that is not known; nodes outside are left out.

    The graph's tensors have the values that inference found.
    """
    if not any(node.op in _ENTER for node in graph.nodes):
        return {}
    places = _places(graph)
    writers = {tensor: node for node in graph.nodes for tensor in node.outputs if tensor >= 0}
    counts: dict[str, int | None] = {}
    for at, node in enumerate(graph.nodes):
        if node.op == "LoopCond" and places.get(at):
            counts[places[at][-1]] = _rounds(graph, writers, node)
    found: dict[int, int | None] = {}
    for at, frames in places.items():
        trips: int | None = 1
        for frame in frames:
            count = counts.get(frame)
            trips = None if count is None or trips is None else trips * count
        found[at] = trips
    return found


def _places(graph: Graph) -> dict[int, tuple[str, ...]]:
    """The frames around each node, outermost first; nodes outside of all are left out."""
    of_tensor: dict[int, tuple[str, ...]] = {}
    found: dict[int, tuple[str, ...]] = {}
    for at, node in enumerate(graph.nodes):
        around = max((of_tensor.get(tensor, ()) for tensor in node.inputs), key=len, default=())
        if node.op in _ENTER:
            around = (*around, str(node.attributes.get("frame_name")))
        after = around[:-1] if node.op in _EXIT else around
        of_tensor.update(dict.fromkeys(node.outputs, after))
        if around:
            found[at] = around
    return found


def _rounds(graph: Graph, writers: Mapping[int, Node], node: Node) -> int | None:
    """How often a loop goes round: the smallest of its limits, each counted up to by one."""
    counts: list[int] = []
    waiting: list[int] = list(node.inputs)
    while waiting:
        test = writers.get(waiting.pop())
        if test is None:
            continue
        if test.op in _SAME or test.op == "LogicalAnd":
            waiting += test.inputs
        elif test.op == "Less" and len(test.inputs) == 2:
            start, limit = (_first(graph, writers, tensor) for tensor in test.inputs)
            if start is not None and limit is not None and 0 < limit - start < _MAX_TRIPS:
                counts.append(limit - start)
    return min(counts, default=None)


def _first(graph: Graph, writers: Mapping[int, Node], tensor: int) -> int | None:
    """The number that a value of the loop has in the first round."""
    for _ in range(8):
        values = graph.tensors[tensor].values if tensor >= 0 else None
        if values is not None:
            return values[0] if len(values) == 1 and type(values[0]) is int else None
        writer = writers.get(tensor)
        if writer is None or writer.op not in {*_SAME, *_ENTER, "Merge", "RefMerge"} or not writer.inputs:
            return None
        tensor = _way_in(writer.inputs, writers)
    return None


def _way_in(inputs: Sequence[int], writers: Mapping[int, Node]) -> int:
    """Of what a Merge joins, the side that does not come from the round before."""
    outside = [
        t for t in inputs if t not in writers or writers[t].op not in ("NextIteration", "RefNextIteration")
    ]
    return outside[0] if outside else inputs[0]
