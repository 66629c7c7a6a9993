"""One operator as a shape rule sees it: attributes, and of the inputs the shapes and the small numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edgestudio.model.graph import Dimension

Sizes = tuple[Dimension, ...]
Shape = Sizes | None
Values = tuple[Any, ...] | None


class Rows(tuple[Any, ...]):
    """In the place of a list of tensors' elements: how many tensors it holds, and the shape of each."""

    __slots__ = ()


class Call(NamedTuple):
    """One operator: its attributes, and of its inputs the shapes and, where they are small and known, the values."""

    op: str
    attributes: Mapping[str, Any]
    shapes: Sequence[Shape]
    values: Sequence[Values]

    def shape(self, slot: int) -> Sizes:
        """Shape of an input; raises LookupError when unknown."""
        found = self.shapes[slot]
        if found is None:
            raise LookupError(slot)
        return found

    def numbers(self, slot: int) -> list[Any]:
        """Values of an input, single ones None where unknown; raises LookupError when none are known."""
        found = self.values[slot]
        if found is None:
            raise LookupError(slot)
        return list(found)

    def number(self, slot: int) -> Any:
        """The one value of an input; raises LookupError when it is not known."""
        found = self.numbers(slot)
        if len(found) != 1 or found[0] is None:
            raise LookupError(slot)
        return found[0]

    def sizes(self, name: str, count: int) -> list[int]:
        """An attribute with one number per dimension, ones where it is not given."""
        found = self.attributes.get(name)
        return (
            [int(item) for item in found] if isinstance(found, list) and len(found) == count else [1] * count
        )

    @property
    def is_channels_first(self) -> bool:
        """True where the channels stand before the spatial sizes."""
        return str(self.attributes.get("data_format", "")).startswith("NC")


Rule = Callable[[Call], "Shape | list[Shape]"]
"""Gives the shape of the first output, or a list with those of all."""


def axis_of(value: Any, rank: int) -> int:
    """The axis counted from the front; raises ValueError for one that does not exist."""
    axis = int(value)
    if not -rank <= axis < rank:
        raise ValueError("axis")
    return axis % rank


def total(sizes: Sequence[Dimension]) -> int | None:
    """The sum, None when a size is not known."""
    found = 0
    for size in sizes:
        if not isinstance(size, int):
            return None
        found += size
    return found
