"""Reads numbers or words per node from a file: CSV, JSON, Model Explorer's node data, or a saved benchmark."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestudio.model.graph import Graph
from edgestudio.wire.errors import InputError

Value = float | str
_MOST_BYTES = 200_000_000
_MOST_WORDS = 64
"""More different words than this are names, not kinds."""
_KEYS = ("name", "node", "node name", "layer", "operator name", "tensor")
_SKIPPED = ("#", "index", "operator", "op", "op_type", "output", "shape", "type", "dtype")
_NUMBERED = re.compile(r"(.+)#(\d+)")
_DECIMAL_COMMA = re.compile(r"^(\s*[+-]?\d+),(\d+(?:[eE][+-]?\d+)?\s*)$")
"""As spreadsheets of half the world write numbers, with semicolons or tabs between them."""
_UNIT = re.compile(r"^(?:(.*?)(?:[\s_]+|\s*[(\[]))?(ms|us|ns|s|B|kB|MB|%)[)\]]?$")
_HINT = 'Use JSON such as {"node name": 1.5}, or CSV with a node\'s name and its numbers in each row.'


@dataclass(frozen=True, slots=True)
class NodeValues:
    """One number or one word for each of some nodes, by their names or by what they write."""

    title: str
    unit: str
    values: Mapping[str, Value]

    @property
    def is_words(self) -> bool:
        """True where the nodes have words, such as the unit that they run on."""
        return any(isinstance(value, str) for value in self.values.values())


def read_values(path: Path) -> list[NodeValues]:
    """Everything that the file says of nodes, a set for each column; raises InputError for what is no such file."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path.name} is too large for numbers per node.", hint=_HINT)
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        found = (
            _json(json.loads(text), path.stem) if text.lstrip()[:1] in ("{", "[") else _csv(text, path.stem)
        )
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
        csv.Error,
    ) as error:
        raise InputError(f"{path.name} cannot be read as numbers per node: {error}", hint=_HINT) from error
    if not found:
        raise InputError(f"{path.name} holds no numbers per node.", hint=_HINT)
    return found


def by_node(graph: Graph, values: Mapping[str, Value]) -> list[Value | None]:
    """The value of each node of a graph, found by its name, by what it writes, by its number, or as `OP#number`.

    Runtimes name fused operators after what they write; a node that is found twice has the sum of both numbers.
    """
    known: dict[str, Value] = {}
    for name, value in values.items():
        plain = plain_name(name)
        known[plain] = _joined([known[plain], value]) if plain in known else value
    numbered = {int(name): value for name, value in values.items() if name.isdecimal()}
    for name, value in values.items():
        match = _NUMBERED.fullmatch(name)
        at = int(match[2]) if match else -1
        if match and 0 <= at < len(graph.nodes) and graph.nodes[at].op.casefold() == match[1].casefold():
            numbered[at] = value
    found = []
    for index, node in enumerate(graph.nodes):
        names = dict.fromkeys((node.name, *_written(graph, index)))
        hits = [known[name] for name in names if name and name in known]
        found.append(_joined(hits) if hits else numbered.get(index))
    return found


def plain_name(name: str) -> str:
    """The name without what ONNX Runtime adds when it fuses operators or changes their layout."""
    return name.removeprefix("fused ").removesuffix("_nchwc").removesuffix("_quant")


def _written(graph: Graph, index: int) -> Iterator[str]:
    return (graph.tensors[t].name for t in graph.nodes[index].outputs if t >= 0)


def _joined(hits: list[Value]) -> Value:
    numbers = [hit for hit in hits if not isinstance(hit, str)]
    return sum(numbers) if len(numbers) == len(hits) else hits[0]


def _json(document: Any, title: str) -> list[NodeValues]:
    if isinstance(document, list):
        return _columns([{str(k): v for k, v in row.items()} for row in document], title)
    if isinstance(document.get("operators"), list) or isinstance(document.get("placement"), Mapping):
        return _benchmark(document)
    if isinstance(document.get("results"), Mapping):
        return _sets({title: _explored(document)})
    graphs = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    if graphs and all(isinstance(value.get("results"), Mapping) for value in graphs.values()):
        merged = {key: item for value in graphs.values() for key, item in _explored(value).items()}
        return _sets({title: merged})
    if graphs and len(graphs) == len(document):
        if all(set(value) <= {"value", "bgColor", "textColor"} for value in graphs.values()):
            return _sets({title: _explored({"results": graphs})})
        return _sets({str(column): _plain(values) for column, values in graphs.items()})
    return _sets({title: _plain(document)})


def _plain(values: Mapping[Any, Any]) -> dict[str, Value]:
    found = {}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"“{name}” has neither a number nor a word")
        found[str(name)] = value if isinstance(value, str) else float(value)
    return found


def _explored(document: Mapping[str, Any]) -> dict[str, Value]:
    """Values of Model Explorer's node data: by a node's id, its name, or a tensor that it writes."""
    return _plain({
        name: result.get("value") if isinstance(result, Mapping) else result
        for name, result in document["results"].items()
    })  # fmt: skip


def _benchmark(document: Mapping[str, Any]) -> list[NodeValues]:
    """What `bench --profile --json` writes: the time of each operator, and the unit that it ran on."""
    times: dict[str, Value] = {}
    for row in document.get("operators") or ():
        name = str(row.get("name") or "")
        times[name] = float(times.get(name, 0.0)) + float(row.get("mean_ms") or 0.0)
    units = (document.get("placement") or {}).get("nodes") or {}
    return _sets({"Latency (ms)": times, "Placement": _plain(units)})


def _csv(text: str, title: str) -> list[NodeValues]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    # The line of titles: names and numbers below it hold commas of their own.
    delimiter = max("\t;,", key=first.count)
    rows = [row for row in csv.reader(lines, delimiter=delimiter) if len(row) >= 2]
    if not rows:
        return []
    if delimiter != ",":
        rows = [[row[0], *(_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row[1:])] for row in rows]
    head = [cell.strip() for cell in rows[0]]
    if _number(head[-1]) is not None:  # no titles: names in the first column, numbers in the last
        return _sets({title: {row[0]: _cell(row[-1]) for row in rows}})
    if len(head) == 2 and head[0].casefold() not in _KEYS and not any(_number(row[-1]) for row in rows[1:]):
        return _sets({title: {row[0]: row[1] for row in rows}})
    body = [dict(zip(head, row, strict=False)) for row in rows[1:]]
    return _columns(body, title, is_alone=len(head) == 2)


def _columns(rows: list[dict[str, Any]], title: str, *, is_alone: bool = False) -> list[NodeValues]:
    """A set for each column beside the one that names the nodes."""
    if not rows:
        return []
    columns = list(rows[0])
    key = next((column for column in columns if column.casefold() in _KEYS), columns[0])
    wanted = [c for c in columns if c != key and c.casefold() not in _SKIPPED]
    sets: dict[str, dict[str, Value]] = {}
    for column in wanted:
        values = {str(row[key]): _cell(row.get(column)) for row in rows if row.get(key) not in (None, "")}
        unit = _UNIT.match(column)
        named = column if not is_alone or (unit and unit[1]) else f"{title} {column}" if unit else title
        sets[named] = {name: value for name, value in values.items() if value != ""}
    return _sets(sets)


def _cell(value: Any) -> Value:
    number = _number(value)
    return str("" if value is None else value).strip() if number is None else number


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if isinstance(value, bool) or not math.isfinite(number) else number


def _sets(sets: Mapping[str, Mapping[str, Value]]) -> list[NodeValues]:
    """What can be shown of each set: its numbers, or its words where it has hardly any numbers and few words."""
    found = []
    for column, values in sets.items():
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        words = {name: value for name, value in values.items() if isinstance(value, str)}
        shown: Mapping[str, Value] = numbers if len(numbers) >= len(words) else words
        if shown and (shown is numbers or len(set(words.values())) <= _MOST_WORDS):
            match = _UNIT.match(column)
            title, unit = ((match[1] or "").strip(" _"), match[2]) if match else (column, "")
            found.append(NodeValues(title or column, unit, shown))
    return found
