"""The whole numbers that PyTorch's code computes shapes with: sizes, their sums and products, tests of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from edgestudio.model.formats.torch_calls import Argument
from edgestudio.model.graph import Dimension
from edgestudio.model.inference import Values
from edgestudio.model.sizes import product

_TWO_SIDES = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mult": lambda a, b: a * b, "FloorDiv": lambda a, b: a // b,
    "Mod": lambda a, b: a % b, "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b, "floor_divide": lambda a, b: a // b, "remainder": lambda a, b: a % b,
    "__floordiv__": lambda a, b: a // b,
}  # fmt: skip
_MOST = 1 << 63
"""PyTorch's numbers have 64 bits; without a bound, code that squares a number again and again never ends."""
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
_PASSED_ON = {
    "int",
    "Int",
    "IntImplicit",
    "NumToTensor",
    "ScalarImplicit",
    "scalar_tensor",
    "detach",
    "tensor",
}


def number_of(item: Any) -> int | None:
    """A whole number that is written or worked out, None where it is not known."""
    if isinstance(item, Argument):
        item = item.values[0] if item.values is not None and len(item.values) == 1 else None
    return item if isinstance(item, int) else None


def numbers_of(word: str, arguments: Sequence[Any]) -> Values:
    """The whole numbers that an operator on sizes gives, None when it is no such operator."""
    first = arguments[0] if arguments else None
    shape = first.shape if isinstance(first, Argument) else None
    if word in ("size", "shape", "dim", "ndim", "numel"):
        return None if shape is None else _sizes(word, shape, arguments)
    if word == "len" and isinstance(first, (list, tuple)):
        return (len(first),)
    if word in _TESTS and len(arguments) == 2:
        return _compared(word, *(_whole(item) for item in arguments))
    if word in _TWO_SIDES and len(arguments) > 1:
        return _calculated(word, arguments)
    if word == "ListConstruct" and arguments:
        return _collected(arguments)
    if isinstance(first, Argument) and first.values is not None:
        if word == "len":
            return (len(first.values),)
        if word == "list":
            return first.values
        if word in ("__getitem__", "slice"):
            return _picked(word, first.values, arguments)
    return _alone(word, number_of(first), arguments)


def _sizes(word: str, shape: tuple[Dimension, ...], arguments: Sequence[Any]) -> Values:
    sizes = tuple(size if isinstance(size, int) else None for size in shape)
    if word in ("dim", "ndim"):
        return (len(shape),)
    if word == "numel":
        return (product(shape),)
    if len(arguments) == 1 or word == "shape":
        return sizes
    axis = number_of(arguments[1])
    return (sizes[axis],) if axis is not None and -len(shape) <= axis < len(shape) else None


def _alone(word: str, number: int | None, arguments: Sequence[Any]) -> Values:
    """What follows from a single number."""
    if word == "__contains__" and len(arguments) == 2 and isinstance(arguments[0], list):
        wanted = number_of(arguments[1])
        return None if wanted is None else (wanted in arguments[0],)
    if number is None:
        return None
    return (not number,) if word == "__not__" else (number,) if word in _PASSED_ON else None


def _collected(arguments: Sequence[Any]) -> Values:
    """A list of numbers, single ones None where unknown; None for a list of tensors."""
    numbers = [number_of(item) for item in arguments]
    if not any(number is not None for number in numbers):
        return None
    return None if any(isinstance(item, Argument) and item.shape for item in arguments) else tuple(numbers)


def _whole(item: Any) -> list[Any] | None:
    """All elements of a number or a list of numbers, None while one is unknown."""
    values = (
        item.values if isinstance(item, Argument) else item if isinstance(item, (list, tuple)) else (item,)
    )
    is_known = values is not None and all(isinstance(value, int) for value in values)
    return list(values) if is_known and values is not None else None


def _compared(word: str, left: list[Any] | None, right: list[Any] | None) -> Values:
    if left is None or right is None or (len(left) != len(right) and word not in ("eq", "ne")):
        return None
    return (_TESTS[word](left, right),)


def _calculated(word: str, arguments: Sequence[Any]) -> Values:
    left, right = number_of(arguments[0]), number_of(arguments[1])
    if (
        left is None
        or right is None
        or any(isinstance(item, Argument) and item.shape for item in arguments[:2])
    ):
        return None
    try:
        number = int(_TWO_SIDES[word](left, right))
    except ArithmeticError:
        return None
    return (number,) if abs(number) < _MOST else None


def _picked(word: str, values: tuple[Any, ...], arguments: Sequence[Any]) -> Values:
    at = number_of(arguments[1]) if len(arguments) > 1 else None
    if word == "__getitem__" and at is not None and -len(values) <= at < len(values):
        return (values[at],)
    if word == "slice":
        start, end = (number_of(arguments[slot]) if len(arguments) > slot else None for slot in (1, 2))
        return values[start:end]
    return None
