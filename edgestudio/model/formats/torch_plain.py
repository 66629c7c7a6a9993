"""What TorchScript's code works out from what is written in it alone: tests, numbers, short lists; nothing is run."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from edgestudio.model.formats.torch_calls import Argument
from edgestudio.model.formats.torch_parts import Named, Ref
from edgestudio.model.graph import Tensor

UNKNOWN = object()
"""The answer for what only the model's inputs decide."""
_MOST = 1 << 63
_MOST_LETTERS = 1000
_MOST_ROUNDS = 8
"""Loops of so few rounds are written out, as PyTorch itself does before it runs them."""
_WHERE_IT_RUNS = {
    "torch.is_grad_enabled": False, "torch.is_autocast_enabled": False, "ops.prim.is_nested": False,
    "ops.prim.requires_grad": False, "ops.prim.is_cuda": False, "ops.prim.is_sparse": False, "ops.prim.type": "cpu",
}  # fmt: skip
"""What code asks of its surroundings: the answers where a model infers on plain tensors, on a processor."""
_TESTS: dict[str, Callable[..., bool]] = {
    "torch.eq": operator.eq, "torch.ne": operator.ne, "torch.lt": operator.lt, "torch.gt": operator.gt,
    "torch.le": operator.le, "torch.ge": operator.ge, "torch.__is__": operator.is_, "torch.__isnot__": operator.is_not,
    "torch.__not__": operator.not_, "torch.__contains__": operator.contains,
    "torch.__and__": operator.and_, "torch.__or__": operator.or_,
}  # fmt: skip
_SUMS: dict[str, Callable[..., Any]] = {
    "torch.add": operator.add, "torch.sub": operator.sub, "torch.mul": operator.mul, "torch.div": operator.truediv,
    "torch.floordiv": operator.floordiv, "torch.remainder": operator.mod, "torch.neg": operator.neg,
    "torch.floor": math.floor, "torch.ceil": math.ceil, "int": int, "float": float, "bool": bool,
    "ops.prim.min": min, "ops.prim.max": max,
}  # fmt: skip


def worked_out(path: str, arguments: list[Any], told: Callable[[Any], Any]) -> Any:
    """The result of a call whose arguments are written in the file, else `UNKNOWN`.

    `told` gives what is known of a computed value: its rank and sizes may be, where its numbers are not.
    """
    if path in _WHERE_IT_RUNS:
        return _WHERE_IT_RUNS[path]
    try:
        if path in ("torch.dim", "torch.ndim") and len(arguments) == 1:
            shape = _shape(told(arguments[0]))
            return UNKNOWN if shape is None else len(shape)
        if path == "torch.size" and len(arguments) == 2 and isinstance(arguments[1], int):
            size = (_shape(told(arguments[0])) or ())[arguments[1]]
            return size if isinstance(size, int) else UNKNOWN
        if path in ("torch.__is__", "torch.__isnot__") and None in arguments and len(arguments) == 2:
            other = arguments[1] if arguments[0] is None else arguments[0]
            if (isinstance(other, Ref) and not other.may_be_none) or isinstance(other, (Tensor, Named)):
                return path == "torch.__isnot__"
        if path in ("torch.__is__", "torch.__isnot__") and all(isinstance(item, Ref) for item in arguments):
            return (arguments[0] == arguments[1]) == (path == "torch.__is__")
        is_named = all(
            isinstance(item, Named) for item in arguments
        )  # types and devices of a model's tensors
        if path in ("torch.eq", "torch.ne") and is_named and arguments[0] == arguments[1]:
            return path == "torch.eq"
        if path == "torch.len" and len(arguments) == 1 and isinstance(arguments[0], Ref):
            known = told(arguments[0])
            listed = known.items if known.items is not None else known.values
            return UNKNOWN if listed is None else len(listed)
        return _written(path, arguments)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return UNKNOWN


def _written(path: str, arguments: list[Any]) -> Any:
    if not all(_is_written(item) for item in arguments):
        return UNKNOWN
    test = _TESTS.get(path)
    if test is not None:
        return bool(test(*arguments))
    if path == "torch.len" and isinstance(arguments[0], (list, tuple, str, dict)):
        return len(arguments[0])
    if path == "torch.list" and isinstance(arguments[0], list):
        return list(arguments[0])
    if path in ("torch.any", "torch.all") and isinstance(arguments[0], list):
        return any(arguments[0]) if path == "torch.any" else all(arguments[0])
    if path == "torch.format" and isinstance(arguments[0], str):
        return " ".join(str(item) for item in arguments)[:_MOST_LETTERS]
    if path == "range":
        rounds = range(*arguments)
        return rounds if len(rounds) <= _MOST_ROUNDS else UNKNOWN
    calculate = _SUMS.get(path)
    if calculate is None or not all(isinstance(item, (bool, int, float)) for item in arguments):
        return UNKNOWN
    number = calculate(*arguments)
    return number if not isinstance(number, int) or abs(number) < _MOST else UNKNOWN


def _shape(told: Any) -> Sequence[Any] | None:
    return told.shape if isinstance(told, Argument) else None


def _is_written(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_written(item) for item in value)
    return value is None or value == {} or isinstance(value, (bool, int, float, str))
