"""What an operator gives by the one set of rules, and what is known after a branch or a loop."""

from __future__ import annotations

from collections.abc import Sequence

from edgestudio.model.inference import Results, Shape
from edgestudio.model.shapes.call import Call
from edgestudio.model.shapes.numbers import all_values
from edgestudio.model.shapes.rules import shapes_of


def results_of(call: Call) -> Results:
    """Shapes and small numbers of an operator's outputs."""
    shapes, numbers = shapes_of(call), all_values(call)
    if not shapes and call.op == "Prod" and numbers and numbers[0] is not None:
        shapes = [()]
    return Results(shapes, numbers)


def kept_by_loop(given: Sequence[Shape], results: Sequence[Sequence[Shape]]) -> list[Shape]:
    """Sizes that a body changes from step to step are not known; those it keeps are."""
    last = results[-1] if results else []
    return [before if before == after else None for before, after in zip(given, last, strict=False)]


def agreed(results: Sequence[Sequence[Shape]]) -> list[Shape]:
    """The shapes that all branches give."""
    first = results[0] if results else []
    return [
        shape if all(at < len(other) and other[at] == shape for other in results) else None
        for at, shape in enumerate(first)
    ]
