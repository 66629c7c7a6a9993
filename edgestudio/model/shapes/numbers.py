"""The small whole numbers that graphs compute shapes with."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from edgestudio.model.shapes.arrangement import sliced_ranges
from edgestudio.model.shapes.call import Call, Rows, Values
from edgestudio.model.sizes import broadcast

_MAX_COUNT = 64


def values_of(call: Call) -> Values:
    """Elements of the first output as far as they follow from known shapes and numbers."""
    return next(iter(all_values(call)), None)


def all_values(call: Call) -> list[Values]:
    """Elements of the outputs as far as they follow from known shapes and numbers."""
    rule = _RULES.get(call.op)
    try:
        found = None if rule is None else rule(call)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return []
    return found if isinstance(found, list) else [found]


def _table(call: Call, slot: int = 0) -> Any:
    """The elements of an input in their places."""
    numbers = call.numbers(slot)
    found = np.empty(len(numbers), object)
    found[:] = numbers
    shape = call.shapes[slot]
    return found if shape is None else found.reshape(shape)


def _strided(call: Call) -> Values:
    parts: list[Any] = []
    for what, part, _ in sliced_ranges(call, call.shape(0)):
        bounds = (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        if "?" in bounds:
            return None
        parts.append(None if what == "new" else part)
    return tuple(np.ravel(_table(call)[tuple(parts)]).tolist())


def _slice(call: Call) -> Values:
    bounds = zip(call.numbers(1), call.numbers(2), strict=True)
    parts = tuple(slice(start, None if size == -1 else start + size) for start, size in bounds)
    return tuple(_table(call)[parts].ravel().tolist())


def _turned(call: Call) -> Values:
    return tuple(_table(call).transpose(call.numbers(1)).ravel().tolist())


def _reversed(call: Call) -> Values:
    return tuple(np.flip(_table(call), call.numbers(1)).ravel().tolist())


def _arithmetic(rule: Callable[[Any, Any], Any]) -> Callable[[Call], Values]:
    def values(call: Call) -> Values:
        left, right = call.numbers(0), call.numbers(1)
        count = max(len(left), len(right))
        left, right = left * (count if len(left) == 1 else 1), right * (count if len(right) == 1 else 1)
        return tuple(None if a is None or b is None else rule(a, b) for a, b in zip(left, right, strict=True))

    return values


def _divided(left: Any, right: Any) -> Any:
    """Whole numbers are divided towards zero, others as they are."""
    if isinstance(left, int) and isinstance(right, int):
        return int(left / right) if (left < 0) != (right < 0) else left // right
    return left / right


def _each(rule: Callable[[Any], Any]) -> Callable[[Call], Values]:
    return lambda call: tuple(None if item is None else rule(item) for item in call.numbers(0))


def _cast(call: Call) -> Values:
    target = str(call.attributes.get("DstT", ""))
    return _each(int if "int" in target else float if "float" in target else lambda item: item)(call)


def _reduced(rule: Callable[[list[Any]], Any]) -> Callable[[Call], Values]:
    def values(call: Call) -> Values:
        numbers = call.numbers(0)
        if len(call.shapes) > 1 and call.values[1] == ():
            return tuple(numbers)
        if len(call.shape(0)) > 1:
            raise LookupError("axes")
        return (None if None in numbers else rule(numbers),)

    return values


def _sizes(call: Call) -> Values:
    return tuple(size if isinstance(size, int) else None for size in call.shape(0))


def _gathered(call: Call) -> Values:
    numbers = call.numbers(0)
    return tuple(None if index is None else numbers[int(index)] for index in call.numbers(1))


def _joined(call: Call) -> Values:
    """Inputs side by side along an axis; of those that are not known only how many elements they have."""
    slots = list(range(call.op == "Concat", len(call.values) - (call.op == "ConcatV2")))
    tables = [_known_or_open(call, slot) for slot in slots]
    if call.op == "Pack":
        found = np.stack(tables, int(call.attributes.get("axis") or 0))
    else:
        axis = int(call.number(0 if call.op == "Concat" else -1))
        found = np.concatenate([np.atleast_1d(table) for table in tables], axis)
    numbers = np.ravel(found).tolist()
    return None if all(item is None for item in numbers) else tuple(numbers)


def _known_or_open(call: Call, slot: int) -> Any:
    if call.values[slot] is not None:
        return _table(call, slot)
    shape = call.shape(slot)
    if not all(isinstance(size, int) for size in shape) or math.prod(shape) > _MAX_COUNT:  # type: ignore[arg-type]
        raise LookupError(slot)
    return np.full(shape, None, object)


def _parts(call: Call) -> list[Values]:
    axis = int(call.attributes.get("axis") or 0)
    return [tuple(np.ravel(part).tolist()) for part in np.moveaxis(_table(call), axis, 0)]


def _cut(call: Call) -> list[Values]:
    """The parts along an axis, evenly or by the sizes of the second input."""
    is_even = call.op == "Split"
    table, axis = _table(call, int(is_even)), int(call.number(0 if is_even else 2))
    if is_even:
        parts = np.split(table, int(call.attributes["num_split"]), axis)
    else:
        sizes = call.numbers(1)
        rest = table.shape[axis] - sum(size for size in sizes if size != -1)
        parts = np.split(table, np.cumsum([rest if size == -1 else size for size in sizes])[:-1], axis)
    return [tuple(part.ravel().tolist()) for part in parts]


def _padded(call: Call) -> Values:
    edges = np.array(call.numbers(1)).reshape(-1, 2)
    if edges.min() < 0 or edges.max() > _MAX_COUNT:
        raise ValueError("paddings")
    filler = call.number(2) if len(call.values) > 2 else 0
    found = np.pad(_table(call), edges, constant_values=filler).ravel().tolist()
    return tuple(item if item is None else int(item) for item in found)


def _filled(call: Call) -> Values:
    count = math.prod(call.numbers(0))
    return tuple(call.numbers(1)) * count if 0 <= count <= _MAX_COUNT else None


def _counted(call: Call) -> Values:
    start, stop, step = (int(call.number(slot)) for slot in (0, 1, 2))
    numbers = range(start, stop, step)
    return tuple(numbers) if len(numbers) <= _MAX_COUNT else None


def _segments(rule: Callable[[list[Any]], Any]) -> Callable[[Call], Values]:
    def values(call: Call) -> Values:
        numbers, places, count = call.numbers(0), call.numbers(1), int(call.number(2))
        if None in numbers or count > _MAX_COUNT:
            return None
        parts = [[n for n, place in zip(numbers, places, strict=True) if place == at] for at in range(count)]
        return tuple(rule(part) for part in parts)

    return values


def _reserved(call: Call) -> Values:
    """A list of tensors, as many as a number says or as the first axis of a tensor has."""
    if call.op == "TensorListFromTensor":
        length, *element = call.shape(0)
        return Rows((length, tuple(element)))
    shape = call.values[0]
    known = None if shape is None or any(s is None or s < 0 for s in shape) else tuple(shape)
    return Rows((call.number(1), known))


def _filled_row(call: Call) -> Values:
    """A list with one of its tensors set, which tells the shape of each."""
    rows = call.values[0]
    if not isinstance(rows, Rows):
        return None
    length, element = rows
    return Rows((length, element if element is not None else call.shapes[2]))


def _chosen(call: Call) -> Values:
    choices = zip(*(call.numbers(slot) for slot in (0, 1, 2)), strict=True)
    return tuple(None if test is None else yes if test else no for test, yes, no in choices)


def _tiled(call: Call) -> Values:
    times = int(call.number(1))
    return tuple(call.numbers(0) * times) if times <= _MAX_COUNT else None


def _same(call: Call) -> Values:
    return call.values[0]


def _spread(call: Call) -> Values:
    numbers, shape = call.numbers(0), call.numbers(1)
    count = math.prod(shape)
    return tuple(numbers * count if len(numbers) == 1 and count <= _MAX_COUNT else numbers)


_RULES: dict[str, Callable[[Call], Values | list[Values]]] = {
    "Shape": _sizes, "Rank": lambda call: (len(call.shape(0)),), "StridedSlice": _strided, "Slice": _slice,
    "Size": lambda call: (math.prod(call.shape(0)),),  # type: ignore[arg-type]
    **dict.fromkeys(("Pack", "ConcatV2", "Concat"), _joined), "GatherV2": _gathered, "Gather": _gathered,
    **dict.fromkeys(("Identity", "Enter", "RefEnter", "Exit", "Reshape", "Squeeze", "ExpandDims", "StopGradient",
    "EnsureShape"), _same),
    "Cast": _cast, "Max": _reduced(max), "Min": _reduced(min), "Prod": _reduced(math.prod), "Sum": _reduced(sum),
    "Mul": _arithmetic(operator.mul), "Add": _arithmetic(operator.add), "AddV2": _arithmetic(operator.add),
    "Sub": _arithmetic(operator.sub), "FloorDiv": _arithmetic(operator.floordiv), "RealDiv": _arithmetic(_divided),
    "Div": _arithmetic(_divided), "TruncateDiv": _arithmetic(_divided), "Maximum": _arithmetic(max),
    "Minimum": _arithmetic(min), "FloorMod": _arithmetic(operator.mod), "Mod": _arithmetic(operator.mod),
    "Less": _arithmetic(operator.lt), "LessEqual": _arithmetic(operator.le), "Greater": _arithmetic(operator.gt),
    "GreaterEqual": _arithmetic(operator.ge), "Equal": _arithmetic(operator.eq), "NotEqual": _arithmetic(operator.ne),
    "LogicalAnd": _arithmetic(lambda a, b: a and b), "LogicalOr": _arithmetic(lambda a, b: a or b),
    "LogicalNot": _each(operator.not_), "Neg": _each(operator.neg), "Floor": _each(math.floor), "Abs": _each(abs),
    "Ceil": _each(math.ceil), "Round": _each(round), "Unpack": _parts, "Split": _cut, "SplitV": _cut,
    **{f"UnsortedSegment{kind}": _segments(rule) for kind, rule in
       (("Prod", math.prod), ("Sum", sum), ("Max", max), ("Min", min))},
    "TensorListReserve": _reserved, "TensorListFromTensor": _reserved, "TensorListSetItem": _filled_row,
    "Fill": _filled, "Range": _counted, "Select": _chosen, "SelectV2": _chosen, "Tile": _tiled,
    **dict.fromkeys(("Pad", "PadV2"), _padded), "Transpose": _turned, "ReverseV2": _reversed, "BroadcastTo": _spread,
    "BroadcastArgs": lambda call: broadcast([call.values[0], call.values[1]]),
}  # fmt: skip
