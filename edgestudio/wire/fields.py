"""Reads values out of JSON that a stranger wrote: every field is checked for kind, size and form."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from edgestudio.wire import api
from edgestudio.wire.errors import InputError

T = TypeVar("T")
_MISSING: Any = object()
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What terminals and readers obey instead of showing it: control characters and marks of direction."""


def canonical_json(value: object) -> bytes:
    """The one byte string that stands for `value`: sorted keys, no spaces, UTF-8, no NaN or infinity."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as e:
        raise InputError(f"this cannot be written as JSON: {e}", code="bad-json") from e


def _bounded_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


# Python refuses such numbers itself, but not in the first releases of 3.10, where they take seconds each.
_MAX_DIGITS = 4300
_PARSE_INT = None if hasattr(sys, "set_int_max_str_digits") else _bounded_int


_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
"""Of a character beyond 16 bits, written in JSON as two."""


def parse_json(data: bytes, *, where: str = "the body", max_depth: int = api.MAX_JSON_DEPTH) -> Any:
    """`data` parsed as strict JSON; raises InputError for what is malformed, deep, or has a key twice."""
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_PARSE_INT)
    except (ValueError, RecursionError) as e:
        reason = "is nested too deep" if isinstance(e, RecursionError) else f"is not JSON: {e}"
        raise InputError(f"{where} {reason}", code="bad-json") from e
    if _HALVES.search(data) and not _is_text(value):
        raise InputError(f"{where} has half a character in a text", code="bad-json")
    if _deeper_than(value, max_depth):
        raise InputError(f"{where} is nested deeper than {max_depth} levels", code="bad-json")
    return value


def clean_text(text: str, limit: int) -> str:
    """`text` from a stranger, made fit to show: no control or direction marks, at most `limit` characters."""
    return CONTROL.sub("", text)[:limit].strip()


class Fields:
    """The fields of one JSON object; each getter raises InputError (code `bad-field`) for what does not fit.

    Fields that are never asked for are ignored, so that a newer sender can be understood.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{where} must be an object", code="bad-field")
        self._value = cast("dict[str, Any]", value)
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def text(
        self, name: str, *, pattern: re.Pattern[str] | None = None, limit: int = 256, default: str = _MISSING
    ) -> str:
        """A string of at most `limit` characters that matches `pattern` as a whole."""
        value = self._get(name, default)
        if not isinstance(value, str) or len(value) > limit:
            raise self._bad(name, f"must be a text of at most {limit} characters")
        if value is not default and pattern is not None and pattern.fullmatch(value) is None:
            raise self._bad(name, f"{clean_text(value, 40)!r} does not have the form {pattern.pattern}")
        return value

    def name(self, name: str) -> str:
        """A name that is safe as a file name anywhere."""
        value = self.text(name, limit=100)
        if not api.is_safe_name(value):
            raise self._bad(
                name, f"{clean_text(value, 40)!r} is not a plain name of a-z, 0-9, '.', '_' and '-'"
            )
        return value

    def digest(self, name: str) -> str:
        """A SHA-256 in lower-case hexadecimal."""
        return self.text(name, pattern=api.DIGEST, limit=64)

    def integer(self, name: str, *, low: int = 0, high: int = 2**53, default: int = _MISSING) -> int:
        """A whole number in `low..high`."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._bad(name, f"must be a whole number from {low} to {high}")
        return value

    def number(
        self, name: str, *, low: float = -1e300, high: float = 1e300, default: float | None = _MISSING
    ) -> float | None:
        """A finite number in `low..high`; None only where that is the default."""
        value = self._get(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._bad(name, "must be a number")
        if not low <= value <= high or not math.isfinite(
            value
        ):  # in this order: a huge integer is no float at all
            raise self._bad(name, f"must be from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, *, default: bool = _MISSING) -> bool:
        """True or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._bad(name, "must be true or false")
        return value

    def mapping(
        self, name: str, *, limit: int = 10_000, default: dict[str, Any] = _MISSING
    ) -> dict[str, Any]:
        """An object with at most `limit` entries."""
        value = self._get(name, default)
        if not isinstance(value, dict) or len(value) > limit:
            raise self._bad(name, f"must be an object with at most {limit} entries")
        return value

    def items(self, name: str, *, limit: int = 10_000, default: list[Any] = _MISSING) -> list[Any]:
        """A list with at most `limit` entries."""
        value = self._get(name, default)
        if not isinstance(value, (list, tuple)) or len(value) > limit:
            raise self._bad(name, f"must be a list of at most {limit} entries")
        return list(value)

    def names(self, name: str, *, limit: int = 32) -> tuple[str, ...]:
        """A list of short words, empty when absent."""
        values = self.items(name, limit=limit, default=[])
        if not all(isinstance(v, str) and 0 < len(v) <= 100 for v in values):
            raise self._bad(name, "must be a list of short texts")
        return tuple(values)

    def _get(self, name: str, default: T) -> T | Any:
        value = self._value.get(name)
        if value is not None:
            return value
        if default is _MISSING:
            raise self._bad(name, "is missing")
        return default

    def _bad(self, name: str, why: str) -> InputError:
        return InputError(f"{self.where}: {name} {why}", code="bad-field")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _is_text(value: object) -> bool:
    """Whether all texts in it can be written: half a surrogate pair is legal JSON, and fails wherever it comes out."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _deeper_than(value: object, depth: int) -> bool:
    level: list[object] = [value]
    while level and depth >= 0:
        depth -= 1
        children: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
        level = [c for c in children if isinstance(c, (dict, list))]
    return bool(level)
