"""Puts nodes into the graphs of TorchScript's code, and notes what follows of their results: shapes, ranks, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgestudio.model.building import GraphBuilder
from edgestudio.model.formats.torch_calls import Argument
from edgestudio.model.formats.torch_parts import Budget, Grown, Ref, Variables, plain
from edgestudio.model.formats.torch_shapes import Listed, read_by, results_of, short_name
from edgestudio.model.formats.torch_values import Placed
from edgestudio.model.graph import Graph, Node, Tensor, TensorKind

_MAYBE_NONE = {"prim::If", "prim::Loop", "prim::TupleUnpack", "aten::__getitem__"}
"""What may hand on None, which code asks values for; all else gives a value."""


@dataclass(slots=True)
class Place:
    """Where nodes are added: a graph, and the variables that the code sees.

    `level` counts the branches and loops around that data decides; `is_library` is code of PyTorch's own.
    """

    builder: GraphBuilder
    scope: str
    variables: Variables = field(default_factory=lambda: Variables([{}], [{}]))
    returned: Any = None
    depth: int = 0
    level: int = 0
    is_library: bool = False


class NodeWriter:
    """The graphs so far; `graphs[0]` is the main one."""

    def __init__(self, weights: Mapping[Placed, Tensor] | None = None) -> None:
        """`weights` are the module's tensors by where they lie: one that is held twice has one name."""
        self.graphs: list[Graph] = []
        self.used_weights: set[str] = set()
        self._weights = weights or {}
        self._budget = Budget()
        self._known: dict[str, Argument] = {}

    def _fresh(self, name: str) -> str:
        return f"{name}.{self._budget.operator()}"

    def _node(
        self,
        place: Place,
        op: str,
        arguments: list[Any],
        attributes: dict[str, Any],
        count: int = 1,
        subgraphs: tuple[int, ...] = (),
    ) -> tuple[Ref, ...]:
        name = self._fresh(op.rpartition("::")[2])
        arguments = [self._listed(place, item) for item in arguments]
        inputs = []
        for position, argument in enumerate(arguments):
            index = self._index(place, argument)
            if index >= 0:
                inputs.append(index)
            else:
                attributes.setdefault(f"argument {position}", plain(argument))
        outs = tuple(
            Ref(name if count == 1 else f"{name}:{slot}", may_be_none=op in _MAYBE_NONE)
            for slot in range(count)
        )
        indices = tuple(place.builder.find(out.key) for out in outs)
        shown = f"{place.scope}/{name}" if place.scope else name
        node = Node(shown, op, tuple(inputs), indices, attributes, "", place.scope, subgraphs)
        place.builder.nodes.append(node)
        if not subgraphs:
            self._note(node, arguments, outs)
        return outs

    def _listed(self, place: Place, value: Any) -> Any:
        """A list that grew by computed values as the node that makes it."""
        if isinstance(value, Grown) and any(isinstance(item, (Ref, Tensor)) for item in value):
            return self._node(place, "prim::ListConstruct", list(value), {})[0]
        return value

    def _note(self, node: Node, arguments: list[Any], outs: tuple[Ref, ...]) -> None:
        """Note what follows from what is known: most of it the ranks that code asks for."""
        word = short_name(node.op)
        first = arguments[0] if arguments else None
        if isinstance(first, Ref) and first.key not in self._known and len(arguments) > 1:
            weight = arguments[1].shape if isinstance(arguments[1], Tensor) else None
            shape = read_by(word, weight, node.attributes)
            if shape is not None:
                self._known[first.key] = Argument(shape)
        found = results_of(word, [self._told(item) for item in arguments], node.attributes, len(outs))
        for at, out in enumerate(outs):
            shape = found.shapes[at] if at < len(found.shapes) else None
            numbers = found.values[at] if at < len(found.values) else None
            if isinstance(numbers, Listed):
                self._known[out.key] = Argument(None, None, tuple(numbers))
            elif shape is not None or numbers is not None:
                self._known[out.key] = Argument(shape, numbers)

    def _told(self, value: Any) -> Any:
        """What is known of a value that is computed; others as they are."""
        if isinstance(value, Ref):
            return self._known.get(value.key, Argument(None))
        return Argument(value.shape, value.values) if isinstance(value, Tensor) else value

    def _index(self, place: Place, value: Any) -> int:
        """The tensor index of a value in the place's graph, -1 for what is no tensor."""
        builder = place.builder
        if isinstance(value, Ref):
            return builder.find(value.key)
        if isinstance(value, Tensor):
            index = builder.find(("weight", value.name), value.name)
            if builder.kinds[index] != "constant":
                kind: TensorKind = "activation" if value.name in self.used_weights else "constant"
                builder.describe(index, value.dtype, value.shape, kind, value.size_bytes)
                if value.quantization is not None:
                    builder.quantizations[index] = value.quantization
                if value.values is not None:
                    builder.values[index] = value.values
                self.used_weights.add(value.name)
            return index
        return -1

    def _close(self, place: Place, results: list[Any]) -> int:
        outputs = [index for item in results for index in [self._index(place, item)] if index >= 0]
        index = len(self.graphs)
        self.graphs.append(place.builder.finish([], outputs))
        return index
