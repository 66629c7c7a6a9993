"""Works out the shapes that a TensorFlow graph leaves out, through the functions that it calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgestudio.model.formats.tensorflow_numbers import values_of
from edgestudio.model.formats.tensorflow_rules import Call, shape_of
from edgestudio.model.graph import Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer

_STATE_IN_RESULT = {"While", "StatelessWhile", "_While"}
_ALL_OUTPUTS = {"Split", "Switch", "Unpack"}
_FIRST_ARGUMENT = {"If": 1, "StatelessIf": 1, "_If": 1, "Case": 1, "StatelessCase": 1}


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    With `dimensions` open sizes of inputs are set, as "input:axis", and an open first one becomes 1 (one sample).
    """
    return infer(model, _TensorFlow(), dimensions)


class _TensorFlow:
    """TensorFlow's operators."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        call = Call(node.op, node.attributes, shapes, values)
        shape, numbers = shape_of(call), values_of(call)
        if numbers is not None and shape is None and node.op == "Prod":
            shape = ()
        count = len(node.outputs) if node.op in _ALL_OUTPUTS else 1
        return Results([shape] * count, [numbers])

    def arguments(self, node: Node) -> int:
        return _FIRST_ARGUMENT.get(node.op, 0)

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        if node.op in _STATE_IN_RESULT:
            # Sizes that a body changes from step to step are not known; those it keeps are.
            last = results[-1] if results else []
            return [a if a == b else None for a, b in zip(shapes, last, strict=False)]
        first = results[0] if results else []
        return [shape if all(shape in other for other in results) else None for shape in first]

    def sees_around(self) -> bool:
        return False
