"""The search of the library: words and `key:value` or `key>number` terms, all of which must hold.

    digits tag:release format:onnx op:Conv size<1M accuracy>0.97 version>=1.2 parent:any -tag:old

Words are looked for in names, tags, notes, recipes and versions. Case never matters; `*` and `?` are patterns.
"""

from __future__ import annotations

import fnmatch
import operator
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from edgestudio.studio.library.facts import facts_of
from edgestudio.studio.library.semantic_version import Version, parse_version
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError

Test = Callable[[ModelRow], bool]

_COMPARED = re.compile(r"([a-z_0-9]+)(>=|<=|>|<|=)([^<>=]*)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "=": operator.eq,
}  # fmt: skip
_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "ki": 1024.0, "mi": 1024.0**2, "gi": 1024.0**3, "%": 0.01, "": 1.0}
KEYS = ("name", "tag", "format", "op", "version", "recipe", "sha", "note", "parent")
_IN_PART = ("name", "sha", "note")
MEASURES = ("size", "accuracy", "parameters", "macs", "nodes", "latency")


def search(rows: Iterable[ModelRow], text: str) -> list[ModelRow]:
    """The rows that match, in their order; every row for an empty search. Raises InputError (`bad-query`)."""
    tests = parse_search(text)
    return [row for row in rows if all(test(row) for test in tests)]


def parse_search(text: str) -> list[Test]:
    """Understand a search; raises InputError naming the part that is wrong."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _wrong("A quote is opened and never closed.") from error
    return [_term(word.lower()) for word in words]


def _term(word: str) -> Test:
    if word.startswith("-") and len(word) > 1:
        inner = _term(word[1:])
        return lambda row: not inner(row)
    key, colon, value = word.partition(":")
    if colon and key in KEYS:
        return lambda row: any(_fits(key, each, value) for each in _values(row, key))
    if colon and key.isalpha():
        raise _wrong(f"The library cannot be searched by “{key}”.")
    compared = _COMPARED.fullmatch(word)
    if compared:
        name, sign, wanted = compared.groups()
        if name == "version":
            return _versions(_SIGNS[sign], wanted)
        number, holds = _number(wanted), _SIGNS[sign]
        return lambda row: (found := measure(row, name)) is not None and holds(found, number)
    return lambda row: any(_holds(each, word) for key in KEYS for each in _values(row, key) if key != "op")


def _versions(holds: Callable[[Version, Version], bool], wanted: str) -> Test:
    """Compare as semantic versions; `1.2` stands for `1.2.0`."""
    padded = wanted + ".0" * (2 - wanted.count(".")) if re.fullmatch(r"v?\d+(\.\d+)?", wanted) else wanted
    bound = parse_version(padded)
    return lambda row: bool(row.version) and holds(parse_version(row.version), bound)


def measure(row: ModelRow, name: str) -> float | None:
    """A number about a model: one of `MEASURES`, or a metric by its name; None when it is not known."""
    after = row.after or {}
    metrics = facts_of(row)["metrics"]
    value = {
        "size": row.size_bytes,
        "accuracy": metrics.get("top1", metrics.get("accuracy")),
        "parameters": row.summary.get("parameters"),
        "macs": row.summary.get("macs"),
        "nodes": row.summary.get("nodes"),
        "latency": (after.get("latency_ms") or {}).get("p50"),
    }.get(name, metrics.get(name))
    return float(value) if isinstance(value, int | float) else None


def _values(row: ModelRow, key: str) -> list[str]:
    found: dict[str, Iterable[str]] = {
        "name": (row.name,),
        "tag": row.tags,
        "format": (row.format, str(row.summary.get("format_title") or "")),
        "op": tuple(row.summary.get("operators_with_subgraphs") or row.summary.get("operators") or ()),
        "version": (row.version,),
        "recipe": (row.recipe or "",),
        "sha": (row.sha256,),
        "note": (row.note,),
        "parent": (row.parent, "any") if row.parent else ("none",),
    }
    return [value.lower() for value in found[key]]


def _fits(key: str, text: str, pattern: str) -> bool:
    """Whole with the pattern; names, hashes and notes also in part."""
    in_part = key in _IN_PART and bool(pattern) and pattern in text
    return in_part or fnmatch.fnmatchcase(text, pattern)


def _holds(text: str, word: str) -> bool:
    return fnmatch.fnmatchcase(text, f"*{word}*") if set("*?") & set(word) else word in text


def _number(text: str) -> float:
    found = re.fullmatch(r"([+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([kmg]i?|%)?b?", text)
    if found is None:
        raise _wrong(f"“{text}” is not a number." if text else "A comparison lacks its number.")
    return float(found[1]) * _UNITS[found[2] or ""]


def _wrong(message: str) -> InputError:
    return InputError(
        message,
        hint=f"Search by {', '.join(KEYS)} with a colon, and by version, {', '.join(MEASURES)} or a metric "
        "with <, > or =, such as tag:release size<1M accuracy>0.97.",
        code="bad-query",
    )
