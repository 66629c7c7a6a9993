"""What TorchScript's code is made of while it is read: methods, references, submodules, names, packed weights."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgestudio.model.formats.pickle_text import Made

MAX_NODES = 100_000
_MAX_STEPS = 2_000_000
"""Expressions followed and values handed on: 50,000 calls take a tenth of it, some seconds all of it."""
_MAX_TUPLE = 10_000
_MAX_ROUNDS = 1000


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
    may_be_none: bool = True


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


class Grown(list[Any]):
    """A list that the code fills; `level` are the undecided branches and loops around where it was made."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level


class Variables:
    """The names that code sees. A block sees those around it, and what it writes stays its own.

    What is put into a module goes by the module's path, a dot and the name, and is seen by every method; all else
    belongs to one method.
    """

    def __init__(self, local: list[dict[str, Any]], fields: list[dict[str, Any]]) -> None:
        """From outermost to innermost block; names are looked up from the end."""
        self._local = local
        self._fields = fields

    def get(self, name: str, default: Any = None) -> Any:
        """What the name stands for."""
        for layer in reversed(self._fields if "." in name else self._local):
            if name in layer:
                return layer[name]
        return default

    def __setitem__(self, name: str, value: Any) -> None:
        (self._fields if "." in name else self._local)[-1][name] = value

    def update(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Set several."""
        for name, value in pairs:
            self[name] = value

    def block(self) -> Variables:
        """The names as a block inside sees them."""
        return Variables([*self._local, {}], [*self._fields, {}])

    def method(self) -> Variables:
        """The names as a method that is called sees them: none but what modules hold."""
        return Variables([{}], self._fields)

    def written(self) -> list[str]:
        """What this block has written."""
        return [*self._local[-1], *self._fields[-1]]


class Budget:
    """How far code is followed before it is taken for one that unfolds without end."""

    def __init__(self) -> None:
        self._operators = 0
        self._steps = 0
        self._rounds = 0

    def may_write_out(self, rounds: int) -> bool:
        """True while loops of few rounds are still written out: within each other they would be very many."""
        self._rounds += rounds
        return self._rounds <= _MAX_ROUNDS

    def operator(self) -> int:
        """The number of the next operator or call; raises ValueError when there are too many."""
        self._operators += 1
        if self._operators > MAX_NODES:
            raise ValueError(f"the code unfolds to more than {MAX_NODES} operators")
        return self._operators

    def step(self, value: Any = None) -> None:
        """Count a step, and every value in a tuple or list; raises ValueError when there are too many.

        A tuple that holds another twice is small in memory, and doubles with each step where it is followed.
        """
        self._steps += 1
        if isinstance(value, (tuple, list)):
            waiting, size = [value], 0
            while waiting and size <= _MAX_TUPLE:
                item = waiting.pop()
                size += 1
                waiting += item if isinstance(item, (tuple, list)) else ()
            if size > _MAX_TUPLE:
                raise ValueError(f"the code puts more than {_MAX_TUPLE} values into one")
            self._steps += size
        if self._steps > _MAX_STEPS:
            raise ValueError(f"the code unfolds to more than {_MAX_STEPS} steps")


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
