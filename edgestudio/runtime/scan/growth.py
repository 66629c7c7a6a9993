"""Follows, where the file fixes it, how large tensors grow: a few bytes can ask a runtime for gigabytes.

All sizes are lower bounds: what is unknown counts as one element, so that a good model is never refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgestudio.runtime.scan.findings import Findings
from edgestudio.wire.errors import ModelError

MAX_VALUES = 64
_CEILING = 1 << 100
_INT64 = (1 << 63) - 1


@dataclass(frozen=True)
class Made:
    """A tensor: at least `elements` of `item_bytes`; its `values` when they are few whole numbers in the file."""

    elements: int
    item_bytes: int = 1
    values: tuple[int, ...] | None = None


_UNKNOWN = Made(1)


class Growth:
    """What is known of the tensors of one graph and of those around it."""

    def __init__(self, found: Findings, outer: Growth | None = None) -> None:
        self._found = found
        self._outer = outer
        self._known: dict[str, Made] = {}

    def child(self) -> Growth:
        """For a subgraph, which sees the tensors around it."""
        return Growth(self._found, self)

    def set(self, name: str, made: Made | None) -> None:
        """Remember a tensor."""
        if made is not None:
            self._known[name] = made

    def declare(self, name: str, made: Made) -> None:
        """Remember an input's size, unless an initializer already said more."""
        self._known.setdefault(name, made)

    def get(self, name: str) -> Made:
        """What is known of `name`; a single byte when nothing is."""
        scope: Growth | None = self
        while scope is not None:
            if name in scope._known:
                return scope._known[name]
            scope = scope._outer
        return _UNKNOWN

    def values(self, name: str) -> tuple[int, ...] | None:
        """The whole numbers in `name`, when the file fixes them."""
        return self.get(name).values if name else None

    def apply(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        ints: Mapping[str, list[int]],
        value: Made | None,
    ) -> None:
        """Judge what an operator of `INTERESTING` makes; ModelError when it is beyond the limit."""
        made = INTERESTING[op](_Operation(self, list(inputs), ints, value))
        size = made.elements * made.item_bytes
        if size > self._found.limits.max_made_bytes and op in _MAKERS:
            raise self._refused(op, size)
        if outputs:
            self._known[outputs[0]] = made

    def _refused(self, op: str, size: int) -> ModelError:
        return self._found.refuse(
            f"makes a runtime allocate {_readable(size)} with a {op} node", "memory-bomb",
            "No honest model for a board grows like that.",
        )  # fmt: skip


@dataclass(frozen=True)
class _Operation:
    growth: Growth
    inputs: list[str]
    ints: Mapping[str, list[int]]
    value: Made | None

    def made(self, position: int) -> Made:
        return self.growth.get(self.inputs[position]) if position < len(self.inputs) else _UNKNOWN

    def numbers(self, position: int) -> tuple[int, ...] | None:
        return self.growth.values(self.inputs[position]) if position < len(self.inputs) else None


_Rule = Callable[[_Operation], Made]


def _product(numbers: Sequence[int] | None) -> int:
    """Product of the sizes; what is unknown or derived (0, -1) counts as one."""
    return min(math.prod(max(number, 1) for number in numbers or ()), _CEILING)


def _bounded(elements: int, like: Made) -> Made:
    return Made(min(elements, _CEILING), like.item_bytes)


def _same(operation: _Operation) -> Made:
    source = operation.made(0)
    return Made(source.elements, source.item_bytes, source.values)


def _resized(operation: _Operation) -> Made:
    source = operation.made(0)
    return Made(source.elements, source.item_bytes)


def _folded(fold: Callable[[int, int], int | None]) -> _Rule:
    """The rule of an operator on two tensors: where the file fixes both, a runtime computes it while loading."""

    def rule(operation: _Operation) -> Made:
        made, left, right = _widest(operation), operation.numbers(0), operation.numbers(1)
        if not left or not right or len(operation.inputs) != 2:
            return made
        count = max(len(left), len(right))
        if any(len(side) not in (1, count) for side in (left, right)):
            return made
        pairs = zip(left * (count // len(left)), right * (count // len(right)), strict=True)
        folded = [fold(a, b) for a, b in pairs]
        values = tuple(value for value in folded if value is not None and abs(value) <= _INT64)
        return Made(count, made.item_bytes, values if len(values) == count else None)

    return rule


def _power(base: int, exponent: int) -> int | None:
    return base**exponent if 0 <= exponent <= 63 and abs(base) <= _INT64 else None


def _divided(left: int, right: int) -> int | None:
    return None if right == 0 else (abs(left) // abs(right)) * (1 if (left < 0) == (right < 0) else -1)


def _shifted(value: int, by: int) -> int | None:
    return value << by if 0 <= by <= 63 and value >= 0 else None


def _reduced(fold: Callable[[Sequence[int]], int]) -> _Rule:
    def rule(operation: _Operation) -> Made:
        numbers = operation.numbers(0)
        value = fold(numbers) if numbers else None
        whole = operation.numbers(1) in (None, (0,)) and operation.ints.get("axes") in (None, [0])
        fixed = value is not None and whole and abs(value) <= _INT64
        return Made(1, operation.made(0).item_bytes, (value,) if fixed and value is not None else None)

    return rule


def _windowed(operation: _Operation) -> Made:
    return Made(_product(operation.numbers(0)), 4)


def _mel(operation: _Operation) -> Made:
    bins, length = operation.numbers(0), operation.numbers(1)
    return Made(_product(bins) * (_product(length) // 2 + 1), 4)


def _drawn(operation: _Operation) -> Made:
    return Made(_product(operation.ints.get("sample_size")), 4)


def _upsampled(operation: _Operation) -> Made:
    source = operation.made(0)
    return _bounded(source.elements * _product(operation.numbers(1)), source)


def _chained(operation: _Operation) -> Made:
    """Text put together: each element is as long as its parts."""
    made = _widest(operation)
    parts = [operation.made(position).item_bytes for position in range(len(operation.inputs))]
    return Made(made.elements, min(sum(parts), _CEILING))


def _widest(operation: _Operation) -> Made:
    parts = [operation.made(position) for position in range(len(operation.inputs))] or [_UNKNOWN]
    return max(parts, key=lambda part: part.elements * part.item_bytes)


def _joined(operation: _Operation) -> Made:
    parts = [operation.made(position) for position in range(len(operation.inputs))] or [_UNKNOWN]
    known = [part.values for part in parts]
    values: tuple[int, ...] | None = None
    if all(part is not None for part in known) and sum(part.elements for part in parts) <= MAX_VALUES:
        values = tuple(number for part in known for number in part or ())
    return Made(sum(part.elements for part in parts), max(part.item_bytes for part in parts), values)


def _filled(operation: _Operation) -> Made:
    item = operation.value.item_bytes if operation.value else 4
    elements = _product(operation.numbers(0))
    value = operation.value.values if operation.value else (0,)
    is_known = operation.numbers(0) is not None and value is not None and elements <= MAX_VALUES
    return Made(elements, item, value * elements if is_known and value is not None else None)


def _tiled(operation: _Operation) -> Made:
    source = operation.made(0)
    repeats = operation.numbers(1)
    if repeats is not None and any(number == 0 for number in repeats):
        return Made(0, source.item_bytes)
    return _bounded(source.elements * _product(repeats), source)


def _expanded(operation: _Operation) -> Made:
    source = operation.made(0)
    return _bounded(max(source.elements, _product(operation.numbers(1))), source)


def _ranged(operation: _Operation) -> Made:
    start, limit, step = (operation.numbers(position) for position in range(3))
    if not (start and limit and step and step[0]):
        return Made(1, 8)
    return Made(max(0, -((start[0] - limit[0]) // step[0])), 8)


def _random(operation: _Operation) -> Made:
    return Made(_product(operation.ints.get("shape")), 4)


def _scaled(operation: _Operation) -> Made:
    source = operation.made(0)
    by_scales = source.elements * _product(operation.numbers(2))
    return _bounded(max(by_scales, _product(operation.numbers(3))), source)


def _padded(operation: _Operation) -> Made:
    pads = operation.numbers(1) or tuple(operation.ints.get("pads") or ())
    half = len(pads) // 2
    added = [max(a + b, 0) for a, b in zip(pads[:half], pads[half:], strict=False)]
    source = operation.made(0)
    # Each axis has at least one element, so that the padded one has at least one more than its padding.
    return _bounded(max(source.elements, _product([number + 1 for number in added])), source)


def _one_hot(operation: _Operation) -> Made:
    depth = operation.numbers(1)
    return Made(min(operation.made(0).elements * (depth[0] if depth and depth[0] > 0 else 1), _CEILING), 4)


_MAKERS: dict[str, _Rule] = {
    "ConstantOfShape": _filled,
    "Tile": _tiled,
    "Expand": _expanded,
    "Range": _ranged,
    "RandomNormal": _random,
    "RandomUniform": _random,
    "Resize": _scaled,
    "Pad": _padded,
    "OneHot": _one_hot,
    "Concat": _joined,
    "Upsample": _upsampled,
    "EyeLike": _resized,
    "Multinomial": _drawn,
    "MelWeightMatrix": _mel,
    "StringConcat": _chained,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), _windowed),
}
_SAME = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")
_UNARY = (
    "Relu",
    "Neg",
    "Abs",
    "Sqrt",
    "Exp",
    "Log",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "Dropout",
    "Clip",
    "LeakyRelu",
)
_BROADCAST = ("Where", "Sum")
_FOLDED: dict[str, _Rule] = {
    "Add": _folded(lambda a, b: a + b),
    "Sub": _folded(lambda a, b: a - b),
    "Mul": _folded(lambda a, b: a * b),
    "Div": _folded(_divided),
    "Pow": _folded(_power),
    "Max": _folded(max),
    "Min": _folded(min),
    "BitShift": _folded(_shifted),
    "ReduceProd": _reduced(math.prod),
    "ReduceSum": _reduced(sum),
    "ReduceMax": _reduced(max),
}
INTERESTING: dict[str, _Rule] = {
    **_MAKERS,
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_UNARY, _resized),
    **dict.fromkeys(_BROADCAST, _widest),
    **_FOLDED,
}
"""Operators whose output size the file may fix, each with its rule."""


def _readable(size: int) -> str:
    return f"{size / (1 << 30):.0f} GiB" if size < 1 << 60 else "more than an exbibyte"
