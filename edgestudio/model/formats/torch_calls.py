"""What is known of a PyTorch operator's arguments: shapes of tensors, numbers, shapes of the tensors in a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from edgestudio.model.graph import Dimension

Shape = tuple[Dimension, ...] | None


class Argument(NamedTuple):
    """A tensor or number that is worked out while the model runs: what is known of its shape and elements."""

    shape: Shape
    values: tuple[Any, ...] | None = None
    items: tuple[Shape, ...] | None = None
    """Of a list of tensors, the shape of each."""


class Call(NamedTuple):
    """An operator's arguments by position: `Argument` for what is computed, plain values for what the code says."""

    arguments: Sequence[Any]
    keywords: dict[str, Any]
    outputs: int

    def shape(self, at: int = 0) -> tuple[Dimension, ...]:
        """Shape of a tensor; raises LookupError when unknown."""
        found = self.arguments[at]
        if not isinstance(found, Argument) or found.shape is None:
            raise LookupError(at)
        return found.shape

    def items(self, at: int = 0) -> list[tuple[Dimension, ...]]:
        """Shapes of a list of tensors; raises LookupError when one is unknown."""
        found = self.arguments[at]
        listed = found.items if isinstance(found, Argument) else None
        if not listed or any(shape is None for shape in listed):
            raise LookupError(at)
        return [shape for shape in listed if shape is not None]

    def number(self, at: int, default: int | None = None) -> int:
        """A whole number; raises LookupError when it is not known."""
        found = self.arguments[at] if at < len(self.arguments) else None
        if isinstance(found, Argument):
            found = found.values[0] if found.values and len(found.values) == 1 else LookupError
        found = default if found is None else found
        if not isinstance(found, int):
            raise LookupError(at)
        return int(found)

    def numbers(self, at: int) -> list[int | None]:
        """A list of whole numbers, single ones None where unknown; raises LookupError when none are known."""
        found = self.arguments[at]
        if isinstance(found, Argument):
            found = found.values
        if isinstance(found, int):
            return [found]
        if not isinstance(found, (list, tuple)):
            raise LookupError(at)
        return [item if isinstance(item, int) else None for item in found]

    def spread(self, at: int, count: int, default: int) -> list[int]:
        """A number for each of `count` dimensions, from one for all or a list."""
        given = (
            self.numbers(at)
            if at < len(self.arguments) and self.arguments[at] not in (None, [])
            else [default]
        )
        if len(given) == 1:
            given *= count
        if len(given) != count or None in given:
            raise LookupError(at)
        return [item for item in given if item is not None]
