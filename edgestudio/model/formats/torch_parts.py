"""What TorchScript's code is made of while it is read: methods, references, submodules, names, packed weights."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgestudio.model.formats.pickle_text import Made


class Methods:
    """Classes and functions of an archive by their dotted names."""

    def __init__(self) -> None:
        self.functions: dict[str, ast.FunctionDef] = {}

    def add(self, module: str, tree: ast.Module) -> None:
        """Note every function and method of one file."""
        for item in tree.body:
            if isinstance(item, ast.FunctionDef):
                self.functions[f"{module}.{item.name}"] = item
            elif isinstance(item, ast.ClassDef):
                for member in item.body:
                    if isinstance(member, ast.FunctionDef):
                        self.functions[f"{module}.{item.name}.{member.name}"] = member


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor or other value that only exists while the model runs, by its unique name."""

    key: str


@dataclass(frozen=True, slots=True)
class Module:
    """A submodule, with the path by which the model holds it."""

    made: Made
    path: str


@dataclass(frozen=True, slots=True)
class Named:
    """A dotted name in the code, such as torch.conv2d."""

    path: str


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights as a quantised operator wants them, in a form of the library's own."""

    parts: tuple[Any, ...]


_TESTS: dict[str, Callable[..., bool]] = {
    "torch.eq": operator.eq, "torch.ne": operator.ne, "torch.lt": operator.lt, "torch.gt": operator.gt,
    "torch.le": operator.le, "torch.ge": operator.ge, "torch.__is__": operator.is_, "torch.__isnot__": operator.is_not,
    "torch.__not__": operator.not_, "torch.__contains__": operator.contains,
}  # fmt: skip


def decide(path: str, arguments: list[Any]) -> bool | None:
    """The answer of a test whose sides are written in the file; None for one that what the model is given decides."""
    test = _TESTS.get(path)
    if test is None or not all(_is_written(item) for item in arguments):
        return None
    try:
        return bool(test(*arguments))
    except TypeError:
        return None


def _is_written(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_written(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def operator_name(path: str) -> str:
    """The operator that a call in the code stands for: torch.conv2d is aten::conv2d."""
    if path.startswith("torch."):
        return f"aten::{path[6:].rpartition('.')[2]}"
    if path.startswith("ops."):
        space, _, name = path[4:].partition(".")
        return f"{space}::{name}"
    return f"prim::{path or 'call'}"


def plain(value: Any) -> Any:
    """A literal as an attribute; anything else by its kind."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value[:256]]
    if isinstance(value, Named):
        return value.path
    return type(value).__name__


def flat(value: Any) -> list[Any]:
    """Tuples and lists within each other as one list."""
    if isinstance(value, (tuple, list)):
        return [item for inner in value for item in flat(inner)]
    return [value]
