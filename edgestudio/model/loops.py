"""Says how often the body of a loop runs, where a counter and its limit are in the file."""

from __future__ import annotations

from edgestudio.model.graph import Graph, Model, Node

WHILE_LOOPS = {"While", "StatelessWhile", "WHILE"}
_LESS = {"Less", "LESS"}
_AND = {"LogicalAnd", "LOGICAL_AND"}
_SAME = {"Identity"}
_MAX_TRIPS = 1 << 31


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
