"""Works out sizes that are written as expressions of symbolic dimensions, such as "2*batch + 1" or "s0//2"."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from edgestudio.model.graph import Dimension

_MAX_TEXT = 2000
_LIMIT = 1 << 62
_OPERATORS: dict[type[ast.AST], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}  # fmt: skip
# How SymPy writes what PyTorch's exporter works out; TruncToInt and the like only say the type.
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "Max": max, "Min": min, "Mod": operator.mod, "FloorDiv": operator.floordiv, "CleanDiv": operator.floordiv,
    "PythonMod": operator.mod, "TruncToInt": int, "CeilDiv": lambda a, b: -(-a // b), "floor": int, "Abs": abs,
}  # fmt: skip


def size_of(text: str, known: Mapping[str, int]) -> int | None:
    """The number that a symbolic size stands for; None while a name in it is not known or it is no expression."""
    found = known.get(text)
    if found is not None or text.isidentifier():
        return found
    tree = _parsed(text)
    try:
        return None if tree is None else _evaluated(tree, known)
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError):
        return None


def names_in(text: str) -> list[str]:
    """The symbols of a size: itself when it is a plain name."""
    tree = None if text.isidentifier() else _parsed(text)
    if tree is None:
        return [text]
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called]
    names.sort(key=lambda node: (node.lineno, node.col_offset))
    return list(dict.fromkeys(node.id for node in names)) or [text]


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.expr | None:
    """The text as an expression; a name that is none, such as "unk__749:0", is no expression."""
    if len(text) > _MAX_TEXT:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree if isinstance(tree, (ast.BinOp, ast.UnaryOp, ast.Call, ast.Constant)) else None


def _evaluated(node: ast.expr, known: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant):
        if type(node.value) is not int:
            raise TypeError(node.value)
        return node.value
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand, known)
    if isinstance(node, ast.BinOp):
        left, right = _evaluated(node.left, known), _evaluated(node.right, known)
        found = _binary(node.op, left, right)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        values: list[Any] = [_evaluated(item, known) for item in node.args]
        found = _FUNCTIONS[node.func.id](*values)
    else:
        raise TypeError(type(node).__name__)
    if abs(found) > _LIMIT:
        raise ArithmeticError(found)
    return found


def _binary(kind: ast.operator, left: int, right: int) -> int:
    if isinstance(kind, ast.Div):
        # Exact by construction where an exporter writes it for a size.
        if left % right:
            raise ValueError("no whole number")
        return left // right
    if isinstance(kind, ast.Pow):
        if not 0 <= right <= 8 or abs(left) > 1 << 20:
            raise ValueError("too large")
        return int(left**right)
    return _OPERATORS[type(kind)](left, right)


def broadcast(shapes: Sequence[tuple[Dimension, ...] | None]) -> tuple[Dimension, ...] | None:
    """The shape that all of these stretch to; None when one is unknown."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or not known:
        return None
    rank = max(map(len, known))
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(_stretched(sizes) for sizes in zip(*padded, strict=True))


def _stretched(sizes: Sequence[Dimension]) -> Dimension:
    numbers = [size for size in sizes if isinstance(size, int) and size != 1]
    if numbers:
        return numbers[0]
    rest = {size for size in sizes if size != 1}
    return 1 if not rest else rest.pop() if len(rest) == 1 else None


def product(sizes: Sequence[Dimension]) -> int | None:
    """The number of elements, None when a size is not known."""
    total = 1
    for size in sizes:
        if not isinstance(size, int):
            return None
        total *= size
    return total


def slid(
    size: Dimension,
    kernel: Dimension,
    step: int,
    padding: int,
    dilation: int,
    *,
    is_ceil: bool = False,
    before: int = 0,
) -> int | None:
    """How often a window fits: `padding` on both sides together; with `is_ceil` a last one may reach over the end."""
    if not isinstance(size, int) or not isinstance(kernel, int) or step < 1:
        return None
    room = size + padding - dilation * (kernel - 1) - 1
    count = (-(-room // step) if is_ceil else room // step) + 1
    # A window that would begin in the padding behind the end is left out.
    if is_ceil and (count - 1) * step >= size + before:
        count -= 1
    return max(count, 0)
