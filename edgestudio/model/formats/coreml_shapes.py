"""Works out the shapes that a Core ML model leaves open, in its programs, networks and pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgestudio.model.formats import coreml_network_shapes, coreml_program_shapes
from edgestudio.model.graph import Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer
from edgestudio.model.shapes.results import agreed, kept_by_loop

_PROGRAM = "mlProgram"


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    With `dimensions` open sizes of inputs are set, as "input:axis", and an open first one becomes 1 (one sample).
    """
    return infer(model, _CoreMl(model), dimensions)


class _CoreMl:
    """Core ML's operators; programs and networks have some that are spelt alike and are not."""

    def __init__(self, model: Model) -> None:
        self._in_program: set[int] = set()
        self._mark(model, 0, is_program=model.metadata.get("type") == _PROGRAM, seen=set())

    def _mark(self, model: Model, index: int, *, is_program: bool, seen: set[int]) -> None:
        if index in seen or index >= len(model.graphs):
            return
        seen.add(index)
        for node in model.graphs[index].nodes:
            if is_program:
                self._in_program.add(id(node))
            for body in node.subgraphs:
                self._mark(model, body, is_program=is_program or node.op == _PROGRAM, seen=seen)

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        if id(node) in self._in_program:
            return coreml_program_shapes.results(node, shapes, values)
        return coreml_network_shapes.results(node, shapes, values)

    def arguments(self, node: Node) -> int:
        return len(node.inputs) if node.op == "cond" else 0

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        if node.op == "loop":
            return list(results[-1]) if results else []
        return kept_by_loop(shapes, results) if node.op == "while_loop" else agreed(results)

    def sees_around(self) -> bool:
        return True
