"""Tells which operators of a TensorFlow function are never run, since nothing that it returns depends on them."""

from __future__ import annotations

from edgestudio.model.graph import Graph

_EFFECTS = (
    "Assign", "Resource", "Scatter", "Print", "Write", "Save", "LookupTable", "Mutable", "Queue", "PyFunc",
    "EagerPyFunc", "StatefulPartitionedCall", "Send", "_Send",
)  # fmt: skip


def never_run(graph: Graph) -> set[int]:
    """Indices of nodes that TensorFlow leaves out when it runs the function.

    Keras, for one, calls the cell of a recurrent layer once beside the loop, only to learn what shape it returns.
    Nodes that act on something outside are run, and all that they read.
    """
    writers = graph.producers()
    waiting = [writers[tensor] for tensor in graph.outputs if tensor in writers]
    waiting += [at for at, node in enumerate(graph.nodes) if not node.outputs or node.op.startswith(_EFFECTS)]
    run: set[int] = set()
    while waiting:
        at = waiting.pop()
        if at not in run:
            run.add(at)
            waiting += [writers[tensor] for tensor in graph.nodes[at].inputs if tensor in writers]
    return set(range(len(graph.nodes))) - run
