"""Works out the shapes that a TensorFlow graph leaves out, through the functions that it calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgestudio.model.formats.tensorflow_graph import HAVE_PLACES
from edgestudio.model.graph import Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer
from edgestudio.model.shapes.call import Call
from edgestudio.model.shapes.results import agreed, kept_by_loop, results_of

_STATE_IN_RESULT = {"While", "StatelessWhile", "_While"}
_FIRST_ARGUMENT = {"If": 1, "StatelessIf": 1, "_If": 1, "Case": 1, "StatelessCase": 1}


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    With `dimensions` open sizes of inputs are set, as "input:axis", and an open first one becomes 1 (one sample).
    """
    return infer(model, _TensorFlow(), dimensions)


class _TensorFlow:
    """TensorFlow's operators."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        found = results_of(Call(node.op, node.attributes, shapes, values))
        # Only of these operators is it known which of their outputs is which.
        return found if node.op in HAVE_PLACES else Results(found.shapes[:1], found.values[:1])

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
            return kept_by_loop(shapes, results)
        return agreed(results)

    def sees_around(self) -> bool:
        return False
