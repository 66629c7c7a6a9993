"""The small whole numbers that TensorFlow graphs compute shapes with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edgestudio.model.formats.tensorflow_rules import Call, Values, sliced_ranges


def values_of(call: Call) -> Values:
    """Elements of the first output as far as they follow from known shapes and numbers."""
    rule = _VALUE_RULES.get(call.op)
    try:
        return None if rule is None else rule(call)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None


def _strided_values(call: Call) -> Values:
    ranges = sliced_ranges(call, call.shape(0))
    numbers = call.numbers(0)
    if len(ranges) != 1:
        return None
    what, part, _ = ranges[0]
    return (numbers[part],) if what == "drop" and isinstance(part, int) else tuple(numbers[part])


def _arithmetic(rule: Callable[[Any, Any], Any]) -> Callable[[Call], Values]:
    def values(call: Call) -> Values:
        left, right = call.numbers(0), call.numbers(1)
        count = max(len(left), len(right))
        left, right = left * (count if len(left) == 1 else 1), right * (count if len(right) == 1 else 1)
        return tuple(None if a is None or b is None else rule(a, b) for a, b in zip(left, right, strict=True))

    return values


def _product_values(call: Call) -> Values:
    numbers = call.numbers(0)
    return (None if None in numbers else math.prod(numbers),)


def _shape_values(call: Call) -> Values:
    return tuple(size if isinstance(size, int) else None for size in call.shape(0))


def _gather_values(call: Call) -> Values:
    numbers = call.numbers(0)
    return tuple(numbers[int(index)] for index in call.numbers(1))


def _joined_values(call: Call) -> Values:
    return tuple(
        item for slot in range(len(call.values) - (call.op == "ConcatV2")) for item in call.numbers(slot)
    )


_VALUE_RULES: dict[str, Callable[[Call], Values]] = {
    "Shape": _shape_values, "Rank": lambda call: (len(call.shape(0)),), "StridedSlice": _strided_values,
    "Pack": _joined_values, "ConcatV2": _joined_values, "GatherV2": _gather_values, "Gather": _gather_values,
    **dict.fromkeys(("Cast", "Identity", "Reshape", "Squeeze", "ExpandDims"), lambda call: tuple(call.numbers(0))),
    "Max": lambda call: (max(call.numbers(0)),), "Min": lambda call: (min(call.numbers(0)),),
    "Prod": _product_values, "Mul": _arithmetic(lambda a, b: a * b), "Add": _arithmetic(lambda a, b: a + b),
    "AddV2": _arithmetic(lambda a, b: a + b), "Sub": _arithmetic(lambda a, b: a - b),
    "FloorDiv": _arithmetic(lambda a, b: a // b), "Maximum": _arithmetic(max), "Minimum": _arithmetic(min),
}  # fmt: skip
