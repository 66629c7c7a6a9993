"""Makes texts of a model writable: halves of surrogate pairs, as JSON and pickles can hold, become question marks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def writable(value: T) -> T:
    """`value` with every text in it as UTF-8 can hold it; what is so already comes back as the same object."""
    return _writable(value)  # type: ignore[no-any-return]


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (tuple, list)):
        return _sequence(value)
    if isinstance(value, Mapping):
        new = {_writable(key): _writable(item) for key, item in value.items()}
        is_same = all(a is b and value[a] is new[b] for a, b in zip(value, new, strict=False))
        return value if is_same and len(new) == len(value) else new
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {}
        for field in dataclasses.fields(value):
            old = getattr(value, field.name)
            if (item := _writable(old)) is not old:
                changed[field.name] = item
        return dataclasses.replace(value, **changed) if changed else value
    return value


def _text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _sequence(values: tuple[Any, ...] | list[Any]) -> Any:
    new = [_writable(item) for item in values]
    if all(a is b for a, b in zip(values, new, strict=True)):
        return values
    if isinstance(values, list):
        return new
    return type(values)(*new) if hasattr(values, "_fields") else tuple(new)
