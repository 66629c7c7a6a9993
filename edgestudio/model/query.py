"""The search language of the graph view: `op:Conv k>3`, `shape:*,64,*`, `attr:group>1`, or just part of a name.

    query  = either { "|" either }              any of them
    either = term { term }                      all of them
    term   = [ "-" ] ( word | key ":" pattern | key comparison value | "attr:" name [ comparison value ] )

Patterns may hold `*` and `?` and, but for those, must match whole; a plain word is looked for anywhere in
names and operators. Quotes keep spaces together. Case never matters.
"""

from __future__ import annotations

import fnmatch
import functools
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edgestudio.model.graph import Dimension, Graph, Node
from edgestudio.wire.errors import InputError

Test = Callable[[Graph, Node], bool]

_TOKEN = re.compile(r'\s*(\||(?:[^\s|"]|"[^"]*")+)')
_COMPARED = re.compile(r"^([A-Za-z_][\w.]*)(>=|<=|!=|==|=|>|<)(.*)$", re.DOTALL)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_SHORT_ATTRIBUTES = {
    "k": "kernel_shape", "kernel": "kernel_shape", "s": "strides", "stride": "strides",
    "d": "dilations", "dilation": "dilations", "p": "pads", "pad": "pads", "g": "group", "axis": "axis",
}  # fmt: skip
_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9}
KEYS = ("op", "name", "scope", "domain", "tensor", "input", "output", "shape", "outshape", "dtype", "attr")
MEASURES = ("macs", "params", "bytes", "inputs", "outputs", "rank")


class QueryError(InputError):
    """A search that cannot be understood; `position` is the offset of the part that is wrong."""

    code = "bad-query"

    def __init__(self, message: str, *, hint: str, position: int) -> None:
        super().__init__(message, hint=hint)
        self.position = position


@dataclass(frozen=True, slots=True)
class Query:
    """A search that was understood."""

    text: str
    _alternatives: tuple[tuple[Test, ...], ...]
    is_of_names: bool = True
    """True where names and operators alone decide, which are known before the rest of a graph."""

    def fits(self, graph: Graph, node: Node) -> bool:
        """True when one node matches."""
        return not self._alternatives or any(
            all(test(graph, node) for test in tests) for tests in self._alternatives
        )

    def matches(self, graph: Graph) -> list[int]:
        """Indices of the nodes that match, in execution order; every node for an empty search."""
        everything = range(len(graph.nodes))
        if not self._alternatives:
            return list(everything)
        found = set[int]()
        for tests in self._alternatives:
            left: Iterable[int] = everything
            for test in tests:  # one test over all that is left costs a third of all tests node by node
                left = [index for index in left if test(graph, graph.nodes[index])]
            if len(self._alternatives) == 1:
                return list(left)
            found.update(left)
        return sorted(found)


def parse(text: str) -> Query:
    """Understand a search; raises QueryError with the place of the mistake and an example that works."""
    if text.count('"') % 2:
        raise QueryError(
            "A quote is opened and never closed.", hint='Write name:"two words".', position=text.rindex('"')
        )
    alternatives: list[tuple[Test, ...]] = []
    current: list[Test] = []
    last_bar = -1
    is_of_names = True
    for match in _TOKEN.finditer(text):
        piece, position = match.group(1), match.start(1)
        if piece == "|":
            if not current:
                raise _error(
                    "Nothing stands before “|”.",
                    "Write two searches around it, such as op:Conv | op:Gemm.",
                    position,
                )
            alternatives.append(tuple(current))
            current, last_bar = [], position
        else:
            current.append(_term(piece, position))
            is_of_names = is_of_names and _is_of_names(piece.lstrip("-"))
    if current:
        alternatives.append(tuple(current))
    elif last_bar >= 0:
        raise _error(
            "Nothing stands after “|”.", "Write two searches around it, such as op:Conv | op:Gemm.", last_bar
        )
    return Query(text, tuple(alternatives), is_of_names)


def _is_of_names(piece: str) -> bool:
    key, colon, _ = piece.partition(":")
    if colon and re.fullmatch(r"[A-Za-z_]+", key):
        return key.lower() in ("op", "name")
    return _COMPARED.match(piece) is None


def _error(message: str, hint: str, position: int) -> QueryError:
    return QueryError(message, hint=hint, position=position)


def _term(piece: str, position: int) -> Test:
    if piece.startswith("-") and len(piece) > 1:
        inner = _term(piece[1:], position + 1)
        return lambda graph, node: not inner(graph, node)
    key, colon, value = piece.partition(":")
    if colon and re.fullmatch(r"[A-Za-z_]+", key):
        return _keyed(key.lower(), value, position)
    compared = _COMPARED.match(piece)
    if compared:
        name, sign, wanted = compared.groups()
        return _measured(name.lower(), sign, _number(wanted, position + compared.start(3)), position)
    return _word(_unquoted(piece))


def _keyed(key: str, value: str, position: int) -> Test:
    if key not in KEYS:
        known = ", ".join(f"{k}:" for k in KEYS)
        raise _error(
            f"“{key}:” is not something to search by.",
            f"Use one of {known}, or put the text in quotes.",
            position,
        )
    if not value.strip('"'):
        raise _error(f"Nothing follows “{key}:”.", _EXAMPLES[key], position)
    if key == "attr":
        return _attribute(value, position)
    if key in ("shape", "outshape"):
        return _shape(_unquoted(value), position, _used if key == "shape" else _written)
    is_one_of_few = key in ("op", "dtype", "domain")
    matches = _pattern(_unquoted(value), is_whole=is_one_of_few)
    return _texts(key, functools.cache(matches) if is_one_of_few else matches)


_EXAMPLES = {
    "op": "For example op:Conv, or op:*Pool.", "name": "For example name:layer1/*.",
    "scope": "For example scope:*attention*.", "domain": "For example domain:com.microsoft.",
    "tensor": "For example tensor:*weight.", "input": "For example input:images.",
    "output": "For example output:logits.", "shape": "For example shape:*,64,*.",
    "outshape": "For example outshape:1,?,?,64: of what it writes.",
    "dtype": "For example dtype:int8.", "attr": "For example attr:group>1, or attr:axis.",
}  # fmt: skip


def _texts(key: str, matches: Callable[[str], bool]) -> Test:
    if key == "op":
        return lambda graph, node: matches(node.op)
    if key == "name":
        return lambda graph, node: matches(node.name)
    if key == "scope":
        return lambda graph, node: matches(node.scope)
    if key == "domain":
        return lambda graph, node: matches(node.domain or "ai.onnx")
    if key == "dtype":
        return lambda graph, node: any(matches(graph.tensors[t].dtype) for t in _used(node))
    if key == "input":
        return lambda graph, node: any(matches(graph.tensors[t].name) for t in node.inputs if t >= 0)
    if key == "output":
        return lambda graph, node: any(matches(graph.tensors[t].name) for t in node.outputs if t >= 0)
    return lambda graph, node: any(matches(graph.tensors[t].name) for t in _used(node))


def _used(node: Node) -> Iterable[int]:
    return (t for t in (*node.inputs, *node.outputs) if t >= 0)


def _written(node: Node) -> Iterable[int]:
    return (t for t in node.outputs if t >= 0)


def _word(word: str) -> Test:
    matches = _pattern(word, is_whole=False)
    return lambda graph, node: matches(node.name) or matches(node.op)


def _pattern(text: str, *, is_whole: bool) -> Callable[[str], bool]:
    """Match case-blind; without wildcards, `is_whole` decides between equal and contained."""
    wanted = text.casefold()
    if any(c in wanted for c in "*?"):
        compiled = re.compile(fnmatch.translate(wanted.replace("[", "[[]")))
        return lambda candidate: compiled.match(candidate.casefold()) is not None
    if is_whole:
        return lambda candidate: candidate.casefold() == wanted
    return lambda candidate: wanted in candidate.casefold()


def _shape(text: str, position: int, tensors: Callable[[Node], Iterable[int]]) -> Test:
    """Compare with every such tensor of a node; `*` alone between commas stands for any number of sizes."""
    wanted = [part.strip() for part in re.split(r"[,x×]", text.strip("[]()"))]
    if not all(re.fullmatch(r"\*|\?|[<>]?=?\d+|[A-Za-z_]\w*", part) for part in wanted):
        raise _error(
            f"“{text}” is not a shape.",
            "Write sizes with commas: shape:1,64,*; * is any sizes, ? is one, >100 compares.",
            position,
        )

    def test(graph: Graph, node: Node) -> bool:
        shapes = (graph.tensors[t].shape for t in tensors(node))
        return any(shape is not None and _fits(shape, wanted) for shape in shapes)

    return test


def _fits(shape: tuple[Dimension, ...], wanted: list[str]) -> bool:
    if not wanted:
        return not shape
    head, rest = wanted[0], wanted[1:]
    if head == "*":
        return any(_fits(shape[skip:], rest) for skip in range(len(shape) + 1))
    return bool(shape) and _size_fits(shape[0], head) and _fits(shape[1:], rest)


def _size_fits(size: Dimension, wanted: str) -> bool:
    if wanted == "?":
        return True
    if wanted[0] in "<>=":
        sign = wanted.rstrip("0123456789")
        return isinstance(size, int) and _COMPARISONS[sign](size, int(wanted[len(sign) :]))
    return str(size).casefold() == wanted.casefold()


def _attribute(value: str, position: int) -> Test:
    compared = _COMPARED.match(value)
    if not compared:
        has = _pattern(_unquoted(value), is_whole=True)
        return lambda graph, node: any(has(name) for name in node.attributes)
    name, sign, wanted = compared.groups()
    if sign in ("=", "==", "!=") and not _is_number(wanted):
        text = _pattern(_unquoted(wanted), is_whole=True)
        return lambda graph, node: any(
            key.casefold() == name.casefold() and text(str(found)) == (sign != "!=")
            for key, found in node.attributes.items()
        )
    return _attribute_number(name, sign, _number(wanted, position + compared.start(3)))


def _attribute_number(name: str, sign: str, wanted: float) -> Test:
    compare = _COMPARISONS[sign]

    def test(graph: Graph, node: Node) -> bool:
        for key, value in node.attributes.items():
            if key.casefold() == name.casefold():
                values = value if isinstance(value, list | tuple) else [value]
                return any(isinstance(v, int | float) and compare(v, wanted) for v in values)
        return False

    return test


def _measured(name: str, sign: str, wanted: float, position: int) -> Test:
    if name in _SHORT_ATTRIBUTES:
        return _attribute_number(_SHORT_ATTRIBUTES[name], sign, wanted)
    if name not in MEASURES:
        known = ", ".join((*MEASURES, *("k", "s", "d", "p", "g")))
        raise _error(
            f"“{name}” is not a number of a node.",
            f"Compare one of {known}, or write attr:{name}{sign}…",
            position,
        )
    compare = _COMPARISONS[sign]

    def test(graph: Graph, node: Node) -> bool:
        value = _measure(name, graph, node)
        return value is not None and compare(value, wanted)

    return test


def _measure(name: str, graph: Graph, node: Node) -> float | None:
    if name == "macs":
        return node.macs
    if name == "inputs":
        return sum(t >= 0 for t in node.inputs)
    if name == "outputs":
        return sum(t >= 0 for t in node.outputs)
    if name == "params":
        return parameters(graph, node)
    if name == "rank":
        shape = graph.tensors[node.outputs[0]].shape if node.outputs and node.outputs[0] >= 0 else None
        return None if shape is None else len(shape)
    sizes = [graph.tensors[t].size_bytes for t in node.outputs if t >= 0]
    return sum(s for s in sizes if s is not None) if any(s is not None for s in sizes) else None


def parameters(graph: Graph, node: Node) -> int:
    """How many weights a node reads, as far as their shapes are known."""
    total = 0
    for t in node.inputs:
        shape = graph.tensors[t].shape if t >= 0 and graph.tensors[t].kind == "constant" else None
        if shape is not None and all(isinstance(d, int) for d in shape):
            total += math.prod(d for d in shape if isinstance(d, int))
    return total


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d*)?([eE][+-]?\d+)?[kKmMgG]?", text.strip()) is not None


def _number(text: str, position: int) -> float:
    text = text.strip()
    if not _is_number(text):
        shown = f"“{text}”" if text else "nothing"
        raise _error(f"A number was expected, not {shown}.", "Write k>3, macs>1e6 or params>=10k.", position)
    factor = _SUFFIXES.get(text[-1].lower(), 1.0) if text[-1].isalpha() else 1.0
    return float(text[:-1] if text[-1].isalpha() else text) * factor


def _unquoted(text: str) -> str:
    return text.replace('"', "")
