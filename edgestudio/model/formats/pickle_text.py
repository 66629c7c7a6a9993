"""Reads a pickle as data: its operations are followed on paper, nothing in it is ever imported or called.

Unpickling runs whatever the file names. Here a name stays a `Named`, a call stays a `Made` with its arguments, so
that the tensors of a PyTorch file can be listed and a hostile file can be told by what it would have called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

MAX_OPERATIONS = 3_000_000


@dataclass(eq=False, slots=True)
class Named:
    """A name that unpickling would import."""

    path: str


@dataclass(eq=False, slots=True)
class Stored:
    """A persistent reference; in PyTorch's files, a storage."""

    key: Any


@dataclass(eq=False, slots=True)
class Made:
    """What unpickling would get by calling `maker`, with what it would then put into it."""

    maker: Any
    arguments: Any
    items: list[tuple[Any, Any]] = field(default_factory=list)
    state: Any = None

    @property
    def name(self) -> str:
        """The dotted name of what would be called, "" when it is no plain name."""
        return self.maker.path if isinstance(self.maker, Named) else ""


class PickleError(ValueError):
    """The bytes are no well-formed pickle."""


_MARK = object()
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_IGNORED = {"PROTO", "FRAME", "STOP", "READONLY_BUFFER", "NEXT_BUFFER"}


class Reading:
    """One pickle followed to its end: its value, and every name it would import."""

    def __init__(self, source: bytes | IO[bytes]) -> None:
        self.names: list[str] = []
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.value = self._run(source)

    def _run(self, source: bytes | IO[bytes]) -> Any:
        stack = self._stack
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(source)):
                if count > MAX_OPERATIONS:
                    raise PickleError(f"more than {MAX_OPERATIONS} operations")
                self._step(opcode.name, argument)
            return stack[-1] if stack else None
        except (IndexError, KeyError, TypeError, UnicodeDecodeError, ValueError) as error:
            raise PickleError(f"a pickle that is damaged: {error}") from error

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _HANDLERS:
            _HANDLERS[name](self, argument)
        elif argument is not None or name == "EMPTY_TUPLE":
            stack.append(() if name == "EMPTY_TUPLE" else argument)
        else:
            raise PickleError(f"operation {name}")

    def _pop_mark(self) -> list[Any]:
        stack = self._stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def _name(self, path: str) -> Named:
        self.names.append(path)
        return Named(path)

    def _global(self, argument: Any) -> None:
        self._stack.append(self._name(str(argument).replace(" ", ".", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._name(f"{module}.{name}"))

    def _reduce(self, _: Any) -> None:
        arguments, maker = self._stack.pop(), self._stack.pop()
        self._stack.append(Made(maker, arguments))

    def _new_with_keywords(self, _: Any) -> None:
        keywords, arguments, maker = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(Made(maker, (arguments, keywords)))

    def _object(self, argument: Any) -> None:
        items = self._pop_mark()
        if argument is not None:
            maker: Any = self._name(str(argument).replace(" ", ".", 1))
        else:
            maker = items.pop(0)
        self._stack.append(Made(maker, tuple(items)))

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Made):
            self._stack[-1].state = state

    def _persistent(self, argument: Any) -> None:
        self._stack.append(Stored(self._stack.pop() if argument is None else argument))

    def _extend(self, _: Any) -> None:
        items = self._pop_mark()
        self._add(items)

    def _append(self, _: Any) -> None:
        self._add([self._stack.pop()])

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target += items
        elif isinstance(target, Made):
            target.items += [(len(target.items) + at, item) for at, item in enumerate(items)]

    def _set_items(self, _: Any) -> None:
        items = self._pop_mark()
        self._set(list(zip(items[::2], items[1::2], strict=False)))

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([(key, value)])

    def _set(self, pairs: list[tuple[Any, Any]]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in pairs:
                target[key if isinstance(key, (str, int, float, bool, bytes)) else f"key {id(key)}"] = value
        elif isinstance(target, Made):
            target.items += pairs

    def _tuple(self, count: int | None) -> None:
        if count is None:
            self._stack.append(tuple(self._pop_mark()))
            return
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise IndexError("stack")
        del self._stack[-count:]
        self._stack.append(items)

    def _dictionary(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._set(list(zip(items[::2], items[1::2], strict=False)))

    def _extension(self, argument: Any) -> None:
        self._stack.append(self._name(f"extension {argument}"))


_HANDLERS: dict[str, Any] = {
    "GLOBAL": Reading._global,
    "STACK_GLOBAL": Reading._stack_global,
    "REDUCE": Reading._reduce,
    "NEWOBJ": Reading._reduce,
    "NEWOBJ_EX": Reading._new_with_keywords,
    "INST": Reading._object,
    "OBJ": Reading._object,
    "BUILD": Reading._build,
    "PERSID": Reading._persistent,
    "BINPERSID": Reading._persistent,
    "APPENDS": Reading._extend,
    "ADDITEMS": Reading._extend,
    "APPEND": Reading._append,
    "SETITEMS": Reading._set_items,
    "SETITEM": Reading._set_item,
    "TUPLE": lambda self, _: self._tuple(None),
    "TUPLE1": lambda self, _: self._tuple(1),
    "TUPLE2": lambda self, _: self._tuple(2),
    "TUPLE3": lambda self, _: self._tuple(3),
    "LIST": lambda self, _: self._stack.append(self._pop_mark()),
    "FROZENSET": lambda self, _: self._stack.append(self._pop_mark()),
    "DICT": Reading._dictionary,
    "POP": lambda self, _: self._stack.pop(),
    "POP_MARK": lambda self, _: self._pop_mark(),
    "DUP": lambda self, _: self._stack.append(self._stack[-1]),
    "EXT1": Reading._extension,
    "EXT2": Reading._extension,
    "EXT4": Reading._extension,
}

_HARMLESS = (
    "torch.", "torch._utils.", "collections.", "numpy.", "__torch__.", "argparse.Namespace", "pathlib.",
    "builtins.set", "builtins.dict", "builtins.list", "builtins.tuple", "builtins.frozenset", "builtins.bytearray",
    "builtins.complex", "builtins.slice", "builtins.int", "builtins.float", "builtins.bool", "builtins.str",
    "_codecs.encode", "copyreg._reconstructor", "__builtin__.set", "datetime.", "builtins.object",
)  # fmt: skip
_DANGEROUS = (
    "os.", "posix.", "nt.", "subprocess.", "sys.", "builtins.", "__builtin__.", "shutil.", "socket.", "runpy.",
    "importlib.", "pty.", "commands.", "ctypes.", "code.", "webbrowser.", "operator.", "functools.", "types.",
    "torch.hub.", "torch.load", "torch.jit.load", "torch.utils.", "torch._dynamo.", "torch.distributed.", "pickle.",
    "_pickle.", "asyncio.", "urllib.", "requests.", "httplib.", "http.", "pip.", "timeit.", "pdb.", "bdb.", "cProfile.",
    "profile.", "trace.", "nturl2path.", "platform.", "multiprocessing.", "threading.", "signal.", "tempfile.", "io.",
    "linecache.", "zipimport.", "pydoc.", "doctest.", "numpy.testing.", "numpy.distutils.", "numpy.f2py.",
)  # fmt: skip


def dangers(names: list[str]) -> list[str]:
    """Names that have no place in a model and run code when they are called."""
    found = [
        name
        for name in names
        if name.startswith(_DANGEROUS)
        and not name.startswith(tuple(item for item in _HARMLESS if item != "torch."))
    ]
    return sorted(set(found))


def strangers(names: list[str]) -> list[str]:
    """Names of classes that are neither PyTorch's nor Python's: they must be importable to load the file."""
    return sorted({name for name in names if not name.startswith(_HARMLESS)} - set(dangers(names)))


_MAX_WALK = 2_000_000
_MAX_NESTING = 200


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value below `value` that is no container, with its dotted path; each container once."""
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    seen: set[int] = set()
    steps = 0
    while waiting:
        path, item, depth = waiting.pop()
        steps += 1
        if steps > _MAX_WALK:
            raise PickleError("more values than any model has")
        if depth > _MAX_NESTING:
            raise PickleError("values nested deeper than any model has")
        children = _children(item)
        if children is None:
            yield path, item
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        for key, child in reversed(children):
            waiting.append((f"{path}.{key}" if path else str(key), child, depth + 1))


def _children(item: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(item, dict):
        return list(item.items())
    if isinstance(item, (list, tuple)):
        return list(enumerate(item))
    if isinstance(item, Made) and item.name.startswith("torch.jit._pickle."):  # a list with its type
        return _children(item.arguments[0]) if isinstance(item.arguments, tuple) and item.arguments else []
    if isinstance(item, Made) and not item.name.startswith(
        ("torch._utils._rebuild", "torch._tensor._rebuild")
    ):
        state = item.state if isinstance(item.state, dict) else {}
        parts = item.state if isinstance(item.state, tuple) else ()
        inner = list(item.items) + list(state.items())
        if item.name.endswith(".rnn.CellParamsBase") and parts[:1] == ("quantized_dynamic",):
            parts = (
                parts[:1] + parts[2:]
            )  # copies of the biases, which lie packed with their matrices as well
        for position, part in enumerate(parts):
            # Classes of PyTorch put the dict and the slots of an object side by side; others list their fields.
            inner += list(part.items()) if isinstance(part, dict) else [(position, part)]
        # Modules keep what belongs to them in these; the names of their weights do not hold them.
        flat = []
        for key, child in inner:
            if key in ("_parameters", "_buffers", "_modules"):
                flat += _children(child) or []
            else:
                flat.append((key, child))
        return flat
    return None
