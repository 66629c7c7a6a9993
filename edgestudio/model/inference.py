"""Follows shapes, and the small numbers that they are made of, through a model's graphs, by the rules of a dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from edgestudio.model.dimensions import bound_shape
from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Dimension, Graph, Model, Node, Tensor

Shape = tuple[Dimension, ...] | None
Values = tuple[Any, ...] | None
"""Elements of a small whole-number tensor, single ones None where unknown."""
MAX_RANK = 32
_MAX_VALUES = 64


class Results(NamedTuple):
    """What an operator gives: the shape of each output, and what is known of their elements."""

    shapes: Sequence[Shape]
    values: Sequence[Values] = ()


class Dialect(Protocol):
    """How the operators of a format behave."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        """The results of an operator without subgraphs."""

    def arguments(self, node: Node) -> int:
        """The first input that is handed to the node's subgraphs."""

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        """The node's results from what it is given and from those of its subgraphs."""

    def sees_around(self) -> bool:
        """True where a subgraph reads tensors of the graph around it by their names."""


Handed = Callable[[Node, int, Sequence[Shape], Sequence[Values]], tuple[list[Shape], list[Values]]]
"""What a node gives to its body of this number, from the shapes and numbers that it reads."""


def infer(
    model: Model,
    dialect: Dialect,
    dimensions: Mapping[str, int] | None = None,
    handed: Handed | None = None,
) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    `handed` is for formats in which a node hands its inputs on in an order of its own.

    With `dimensions` open sizes of inputs are set, by their name or as "input:axis"; an open first one becomes 1.
    Numbers that were worked out are kept as the values of their tensors.
    """
    if not model.graphs:
        return model
    walker = _Walker(model, dialect, handed)
    main = model.main
    given = [main.tensors[index] for index in main.inputs]
    walker.walk(
        0,
        [tensor.shape if dimensions is None else bound_shape(tensor, dimensions) for tensor in given],
        is_bound=dimensions is not None,
    )
    graphs = tuple(
        _completed(graph, shapes, values)
        for graph, shapes, values in zip(model.graphs, walker.shapes, walker.values, strict=True)
    )
    return replace(model, graphs=graphs)


def _completed(graph: Graph, shapes: list[Shape], values: dict[int, Values]) -> Graph:
    tensors = tuple(
        _known(tensor, shape, values.get(at))
        for at, (tensor, shape) in enumerate(zip(graph.tensors, shapes, strict=True))
    )
    return replace(graph, tensors=tensors)


def _known(tensor: Tensor, shape: Shape, values: Values) -> Tensor:
    if (
        values is None
        or type(values) is not tuple
        or not all(isinstance(item, (int, bool)) for item in values)
    ):
        values = tensor.values
    if shape is None or shape == tensor.shape:
        return tensor if values == tensor.values else replace(tensor, values=values)
    size = tensor.size_bytes if tensor.kind == "constant" else size_bytes(tensor.dtype, shape)
    return replace(tensor, shape=shape, size_bytes=size, values=values)


class _Walker:
    """One walk; every graph is worked out once."""

    def __init__(self, model: Model, dialect: Dialect, handed: Handed | None) -> None:
        self.model = model
        self.dialect = dialect
        self.handed = handed
        self.shapes: list[list[Shape]] = [
            [tensor.shape for tensor in graph.tensors] for graph in model.graphs
        ]
        self.values: list[dict[int, Values]] = [{} for _ in model.graphs]
        self._done: set[int] = set()
        self._names: dict[int, dict[str, int]] = {}

    def walk(
        self,
        index: int,
        inputs: Sequence[Shape],
        values: Sequence[Values] = (),
        around: int | None = None,
        *,
        is_bound: bool = False,
    ) -> list[Shape]:
        """Work out one graph for these inputs, once; its outputs' shapes."""
        graph, shapes = self.model.graphs[index], self.shapes[index]
        if index in self._done:
            return [shapes[output] for output in graph.outputs]
        self._done.add(index)
        known = self.values[index]
        if around is not None and self.dialect.sees_around():
            self._look_around(index, around)
        for tensor, given in zip(graph.inputs, inputs, strict=False):
            shapes[tensor] = given if is_bound and given is not None else refined(shapes[tensor], given)
        known.update((at, item) for at, item in zip(graph.inputs, values, strict=False) if item is not None)
        known.update((at, each.values) for at, each in enumerate(graph.tensors) if each.values is not None)
        for node in graph.nodes:
            ins = [shapes[at] if at >= 0 else None for at in node.inputs]
            numbers = [known.get(at) for at in node.inputs]
            found = (
                self._called(index, node, ins, numbers) if node.subgraphs else self._own(node, ins, numbers)
            )
            self._keep(index, node, found)
        return [shapes[output] for output in graph.outputs]

    def _keep(self, index: int, node: Node, found: Results) -> None:
        tensors, shapes, known = self.model.graphs[index].tensors, self.shapes[index], self.values[index]
        for tensor, shape in zip(node.outputs, found.shapes, strict=False):
            if tensor >= 0 and tensors[tensor].kind != "constant":
                is_sane = shape is not None and len(shape) <= MAX_RANK
                shapes[tensor] = refined(shapes[tensor], shape if is_sane else None)
        for tensor, numbers in zip(node.outputs, found.values, strict=False):
            if numbers is not None and tensor >= 0 and len(numbers) <= _MAX_VALUES:
                known[tensor] = numbers

    def _own(self, node: Node, ins: list[Shape], numbers: list[Values]) -> Results:
        return self.dialect.results(node, ins, numbers)

    def _called(self, index: int, node: Node, ins: list[Shape], numbers: list[Values]) -> Results:
        if self.handed is not None:
            results = [
                self.walk(body, *self.handed(node, at, ins, numbers), index)
                for at, body in enumerate(node.subgraphs)
            ]
            return Results(self.dialect.joined(node, ins, numbers, results))
        first = self.dialect.arguments(node)
        given = ins[first:]
        # A loop's body sees other numbers each time; only what is the same for every call is handed on.
        handed = numbers[first:] if len(node.subgraphs) == 1 and not _is_while(node) else []
        if len(handed) == 0 and len(node.subgraphs) > 1:
            handed = [item if _is_kept(item) else None for item in numbers[first:]]
        bodies = self._ordered(node)
        results = [self.walk(body, given, handed, index) for body in bodies]
        kept: list[Values] = []
        if _is_while(node):
            body = bodies[-1]
            after = [self.values[body].get(output) for output in self.model.graphs[body].outputs]
            kept = [item if _is_kept(item) else None for item in after]
        return Results(self.dialect.joined(node, ins, numbers, results), kept)

    def _ordered(self, node: Node) -> tuple[int, ...]:
        """The node's subgraphs, of a loop the body last: what its test gives is one truth value."""
        if not _is_while(node):
            return node.subgraphs
        return tuple(sorted(node.subgraphs, key=lambda body: not self._is_test(self.model.graphs[body])))

    def _is_test(self, graph: Graph) -> bool:
        return len(graph.outputs) == 1 and graph.tensors[graph.outputs[0]].dtype in ("bool", "")

    def _look_around(self, index: int, around: int) -> None:
        """Give what a subgraph reads from the graph around it the shape and numbers that it has there."""
        outer = self._names.get(around)
        if outer is None:
            tensors = self.model.graphs[around].tensors
            outer = self._names[around] = {tensor.name: at for at, tensor in enumerate(tensors)}
        for at, tensor in enumerate(self.model.graphs[index].tensors):
            source = outer.get(tensor.name)
            if source is not None:
                self.shapes[index][at] = refined(self.shapes[index][at], self.shapes[around][source])
                if source in self.values[around]:
                    self.values[index][at] = self.values[around][source]


def _is_while(node: Node) -> bool:
    return "While" in node.op.title()


def _is_kept(values: Values) -> bool:
    """True for a list of tensors: a loop fills it, and its length stays as it is."""
    return values is not None and type(values) is not tuple


def refined(old: Shape, new: Shape) -> Shape:
    """What the file says, completed by what follows; a number takes the place of a name."""
    if old is None or new is None:
        return new if old is None else old
    if len(old) != len(new):
        return old
    return tuple(
        after if before is None or (isinstance(before, str) and isinstance(after, int)) else before
        for before, after in zip(old, new, strict=True)
    )
