"""Collects tensors and nodes while a format is read, and closes them into a `Graph` in execution order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Dimension, Graph, Node, Quantization, Tensor, TensorKind

_BACK_EDGES = {"NextIteration", "RefNextIteration"}
"""What TensorFlow 1 hands back to the start of a loop is read a round later: it does not order the nodes."""
MAX_DEPTH = 32
"""How deep subgraphs and types may be nested; honest files stay in single digits."""


class GraphBuilder:
    """One graph in the making. Tensors are found by any hashable key, usually their name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.keys: dict[Hashable, int] = {}
        self.names: list[str] = []
        self.dtypes: list[str] = []
        self.shapes: list[tuple[Dimension, ...] | None] = []
        self.kinds: list[TensorKind] = []
        self.sizes: list[int | None] = []
        self.quantizations: dict[int, Quantization] = {}
        self.values: dict[int, tuple[Any, ...]] = {}
        self.warnings: list[str] = []

    def find(self, key: Hashable, name: str | None = None) -> int:
        """Index of the tensor with this key, made when it is new."""
        index = self.keys.get(key)
        if index is None:
            index = self.keys[key] = self.add(str(key) if name is None else name)
        return index

    def add(
        self,
        name: str,
        dtype: str = "",
        shape: Sequence[Dimension] | None = None,
        kind: TensorKind = "activation",
        size: int | None = None,
    ) -> int:
        """Append a tensor and return its index."""
        self.names.append(name)
        self.dtypes.append(dtype)
        self.shapes.append(None if shape is None else tuple(shape))
        self.kinds.append(kind)
        self.sizes.append(size)
        return len(self.names) - 1

    def describe(
        self,
        index: int,
        dtype: str = "",
        shape: Sequence[Dimension] | None = None,
        kind: TensorKind | None = None,
        size: int | None = None,
    ) -> None:
        """Add what is known about a tensor; what is not given stays as it was."""
        if dtype:
            self.dtypes[index] = dtype
        if shape is not None:
            self.shapes[index] = tuple(shape)
        if kind is not None:
            self.kinds[index] = kind
        if size is not None:
            self.sizes[index] = size

    def finish(self, inputs: Iterable[int], outputs: Iterable[int]) -> Graph:
        """The graph; nodes are sorted when the file's order is not one they can run in."""
        nodes = self._sorted()
        names = Counter(node.name for node in nodes if node.name)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            shown = ", ".join(twice[:3]) + (" …" if len(twice) > 3 else "")
            self.warnings.append(f"{len(twice)} node names are used more than once: {shown}")
        rows = zip(self.names, self.dtypes, self.shapes, self.kinds, self.sizes, strict=True)
        tensors = tuple(
            Tensor(
                name,
                dtype,
                shape,
                kind,
                size_bytes(dtype, shape) if size is None else size,
                self.quantizations.get(index),
                self.values.get(index),
            )
            for index, (name, dtype, shape, kind, size) in enumerate(rows)
        )
        return Graph(self.name, tuple(nodes), tensors, tuple(inputs), tuple(outputs))

    def _sorted(self) -> list[Node]:
        writer: dict[int, int] = {}
        for index, node in enumerate(self.nodes):
            if node.op in _BACK_EDGES:
                continue
            for tensor in node.outputs:
                if tensor >= 0 and writer.setdefault(tensor, index) != index:
                    self.warnings.append(f"tensor {self.names[tensor]} is written by more than one node")
        late = any(
            writer.get(tensor, -1) >= index for index, node in enumerate(self.nodes) for tensor in node.inputs
        )
        if not late:
            return self.nodes
        order = _topological(self.nodes, writer)
        if len(order) < len(self.nodes):
            self.warnings.append(f"{len(self.nodes) - len(order)} nodes wait for each other in a circle")
            placed = set(order)
            order += [index for index in range(len(self.nodes)) if index not in placed]
        else:
            self.warnings.append("the nodes were not in an order they can run in; they are shown sorted")
        return [self.nodes[index] for index in order]


def _topological(nodes: Sequence[Node], writer: dict[int, int]) -> list[int]:
    """Node indices, producers first and otherwise in file order; nodes in a cycle are left out."""
    readers: list[list[int]] = [[] for _ in nodes]
    waits = [0] * len(nodes)
    for index, node in enumerate(nodes):
        for source in {writer[tensor] for tensor in node.inputs if tensor in writer}:
            readers[source].append(index)
            waits[index] += 1
    ready = deque(index for index, count in enumerate(waits) if count == 0)
    order = []
    while ready:
        index = ready.popleft()
        order.append(index)
        for reader in readers[index]:
            waits[reader] -= 1
            if waits[reader] == 0:
                ready.append(reader)
    return order


def with_tensors(graph: Graph, changes: dict[int, dict[str, Any]]) -> Graph:
    """A copy of the graph whose tensors at these indices have other fields."""
    tensors = list(graph.tensors)
    for index, fields in changes.items():
        tensors[index] = replace(tensors[index], **fields)
    return replace(graph, tensors=tuple(tensors))
