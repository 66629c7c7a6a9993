"""Works out the shapes that a TensorFlow graph leaves out, through the functions that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgestudio.model.dtypes import size_bytes
from edgestudio.model.formats.tensorflow_numbers import values_of
from edgestudio.model.formats.tensorflow_rules import Call, Shape, Values, shape_of
from edgestudio.model.graph import Graph, Model, Node

_MAX_VALUES = 64
_MAX_RANK = 32
_STATE_IN_RESULT = {"While", "StatelessWhile", "_While"}
_ALL_OUTPUTS = {"Split", "Switch", "Unpack"}
_FIRST_ARGUMENT = {"If": 1, "StatelessIf": 1, "_If": 1, "Case": 1, "StatelessCase": 1}


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    With `dimensions` open sizes of inputs are set, as "input:axis", and an open first one becomes 1 (one sample).
    """
    if not model.graphs:
        return model
    walker = _Walker(model, dimensions)
    main = model.main
    walker.walk(
        0, [walker.bound(main.tensors[index].name, main.tensors[index].shape) for index in main.inputs]
    )
    graphs = tuple(
        _with_shapes(graph, shapes) for graph, shapes in zip(model.graphs, walker.shapes, strict=True)
    )
    return replace(model, graphs=graphs)


def _with_shapes(graph: Graph, shapes: list[Shape]) -> Graph:
    tensors = tuple(
        tensor
        if shape == tensor.shape or shape is None
        else replace(
            tensor,
            shape=shape,
            size_bytes=tensor.size_bytes if tensor.kind == "constant" else size_bytes(tensor.dtype, shape),
        )
        for tensor, shape in zip(graph.tensors, shapes, strict=True)
    )
    return replace(graph, tensors=tensors)


class _Walker:
    """Follows shapes and the small numbers that they are made of, graph by graph."""

    def __init__(self, model: Model, dimensions: Mapping[str, int] | None) -> None:
        self.model = model
        self.dimensions = dimensions
        self.shapes: list[list[Shape]] = [
            [tensor.shape for tensor in graph.tensors] for graph in model.graphs
        ]
        self._done: set[int] = set()

    def bound(self, name: str, shape: Shape) -> Shape:
        """An input's shape with the chosen sizes."""
        if self.dimensions is None or shape is None:
            return shape
        chosen = self.dimensions
        return tuple(
            chosen.get(f"{name}:{axis}", 1 if axis == 0 and len(shape) > 1 else None)
            if size is None
            else size
            for axis, size in enumerate(shape)
        )

    def walk(self, index: int, inputs: list[Shape]) -> list[Shape]:
        """Work out one graph for these inputs, once; its outputs' shapes."""
        graph, shapes = self.model.graphs[index], self.shapes[index]
        if index in self._done:
            return [shapes[output] for output in graph.outputs]
        self._done.add(index)
        for tensor, given in zip(graph.inputs, inputs, strict=False):
            shapes[tensor] = _refined(shapes[tensor], given)
        values: dict[int, Values] = {
            at: tensor.values for at, tensor in enumerate(graph.tensors) if tensor.values is not None
        }
        for node in graph.nodes:
            ins = [shapes[at] if at >= 0 else None for at in node.inputs]
            found = self._called(node, ins) if node.subgraphs else self._own(node, ins, values)
            for tensor, shape in zip(node.outputs, found, strict=False):
                if tensor >= 0 and graph.tensors[tensor].kind != "constant":
                    shapes[tensor] = _refined(shapes[tensor], shape)
        return [shapes[output] for output in graph.outputs]

    def _own(self, node: Node, ins: list[Shape], values: dict[int, Values]) -> list[Shape]:
        call = Call(node.op, node.attributes, ins, [values.get(at) for at in node.inputs])
        shape = shape_of(call)
        if shape is not None and len(shape) > _MAX_RANK:
            shape = None
        numbers = values_of(call)
        if numbers is not None and node.outputs and len(numbers) <= _MAX_VALUES:
            values[node.outputs[0]] = numbers
            if shape is None and node.op != "StridedSlice":
                shape = () if node.op == "Prod" else None
        return [shape] * (len(node.outputs) if node.op in _ALL_OUTPUTS else 1)

    def _called(self, node: Node, ins: list[Shape]) -> list[Shape]:
        given = ins[_FIRST_ARGUMENT.get(node.op, 0) :]
        if node.op in _STATE_IN_RESULT:
            # Sizes that a body changes from step to step are not known; those it keeps are.
            results = [self.walk(body, given) for body in node.subgraphs]
            last = results[-1] if results else []
            return [a if a == b else None for a, b in zip(given, last, strict=False)]
        results = [self.walk(body, given) for body in node.subgraphs]
        first = results[0] if results else []
        return [shape if all(shape in other for other in results) else None for shape in first]


def _refined(old: Shape, new: Shape) -> Shape:
    """What the file says, completed by what follows."""
    if old is None or new is None:
        return new if old is None else old
    if len(old) != len(new):
        return old
    return tuple(b if a is None else a for a, b in zip(old, new, strict=True))
