"""Says how often the body of a loop runs, where a counter and its limit are in the file."""

from __future__ import annotations

from collections.abc import Sequence

from edgestudio.model.graph import Graph, Model, Node

WHILE_LOOPS = {"While", "StatelessWhile", "WHILE", "while_loop"}
_LOOPS = {"TimeDistributed", "Loop", "Scan", "TensorIterator", "prim::Loop", "STABLEHLO_WHILE", "loop"}
_LESS = {"Less", "LESS", "less"}
_AND = {"LogicalAnd", "LOGICAL_AND", "logical_and"}
_SAME = {"Identity", "identity"}
_MAX_TRIPS = 1 << 31


def trips_of(model: Model, graph: Graph, node: Node, shapes: Sequence[tuple[int, ...] | None]) -> int | None:
    """How often the bodies of a node run, None where the file does not say; once for what is no loop.

    `shapes` are those of the graph's tensors in numbers.
    """
    if node.op in WHILE_LOOPS:
        return while_trips(model, graph, node) if len(node.subgraphs) == 2 else None
    if node.op not in _LOOPS:
        return 1
    trips: object = None
    if node.op == "TimeDistributed":
        trips = _along(node.inputs[0], 1, shapes) if node.inputs else None
    elif node.op == "Loop" and node.inputs and node.inputs[0] >= 0:
        values = graph.tensors[node.inputs[0]].values
        trips = values[0] if values and len(values) == 1 else None
    elif node.op == "loop" and len(node.subgraphs) == 1:  # of Core ML, without a condition
        trips = node.attributes.get("maxLoopIterations")
    elif node.op == "Scan" and node.attributes.get("num_scan_inputs"):
        axes = node.attributes.get("scan_input_axes")
        trips = _along(node.inputs[-1], axes[-1] if isinstance(axes, list) and axes else 0, shapes)
    elif node.op == "TensorIterator":
        slot, axis = node.attributes.get("steps_slot"), node.attributes.get("steps_axis")
        if isinstance(slot, int) and 0 <= slot < len(node.inputs):
            trips = _along(node.inputs[slot], axis, shapes)
    return trips if isinstance(trips, int) and 0 < trips < _MAX_TRIPS else None


def _along(tensor: int, axis: object, shapes: Sequence[tuple[int, ...] | None]) -> int | None:
    """The size of a tensor along an axis."""
    shape = shapes[tensor] if tensor >= 0 else None
    if shape is None or not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return None
    return shape[axis]


def while_trips(model: Model, graph: Graph, node: Node) -> int | None:
    """How often a loop with a condition and a body runs, None where that is not known.

    Its condition compares a value of the loop, which counts up by one, with a constant or with a value of the loop
    that is known from the start. Of several such conditions the one that fails first counts.
    """
    bodies = [model.graphs[at] for at in node.subgraphs if at < len(model.graphs)]
    condition = next((each for each in bodies if _outcome(each) is not None), None)
    if condition is None:
        return None
    counts = []
    for less in _comparisons(condition):
        start = _before(graph, node, condition, less.inputs[0])
        limit = _before(graph, node, condition, less.inputs[1])
        if start is not None and limit is not None and 0 < limit - start < _MAX_TRIPS:
            counts.append(limit - start)
    return min(counts, default=None)


def _outcome(graph: Graph) -> Node | None:
    """The node that decides: a condition gives a single truth value."""
    if len(graph.outputs) != 1:
        return None
    writers = graph.producers()
    at = graph.outputs[0]
    while at in writers:
        node = graph.nodes[writers[at]]
        if node.op not in _SAME or not node.inputs:
            return node if node.op in _LESS | _AND else None
        at = node.inputs[0]
    return None


def _comparisons(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op in _LESS and len(node.inputs) == 2]


def _before(graph: Graph, node: Node, condition: Graph, tensor: int) -> int | None:
    """The number that a tensor of the condition has before the first round."""
    values = condition.tensors[tensor].values if tensor >= 0 else None
    if values is None and tensor in condition.inputs:
        position = condition.inputs.index(tensor)
        source = node.inputs[position] if position < len(node.inputs) else -1
        values = graph.tensors[source].values if source >= 0 else None
    return values[0] if values and len(values) == 1 and type(values[0]) is int else None
