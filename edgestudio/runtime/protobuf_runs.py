"""Steps over long repeated fields of a protocol-buffer message at once: what is a step each there costs seconds.

ONNX writes the lists of a tree ensemble, hundreds of thousands of numbers each, with a tag before every one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from edgestudio.runtime.protobuf import FIXED32, FIXED64, LEN, VARINT, Value, WireError, fields, walk

_SOON = 32
"""So many elements one after another are taken singly before a run is looked for."""
_FIRST_BYTES, _MOST_BYTES = 1 << 12, 1 << 20
"""How much is looked at in one go: a little first, so that many short runs do not cost the whole rest each."""
_FIXED: dict[int, tuple[str, int]] = {FIXED32: ("<u4", 4), FIXED64: ("<u8", 8)}
_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Run:
    """Elements of one repeated field that follow each other; `view` is all of them with their tags."""

    number: int
    wire: int
    count: int
    view: memoryview

    def first(self, limit: int) -> list[Value]:
        """The first `limit` elements, as `fields` gives them."""
        return [value for _, _, value in islice(fields(self.view), limit)]

    def numbers(self) -> NDArray[np.uint64]:
        """All elements of a run of numbers: varints, or the raw integers of fixed width."""
        data = np.frombuffer(self.view, np.uint8)
        kind = _FIXED.get(self.wire)
        if kind is not None:
            code, width = kind
            rows = np.ascontiguousarray(data.reshape(self.count, 1 + width)[:, 1:])
            return np.frombuffer(rows, code).astype(np.uint64)
        last = np.flatnonzero(data < 0x80)
        return _decoded(data, last[0::2] + 1, last[1::2])


def fields_and_runs(
    view: memoryview, only: frozenset[int] | None = None
) -> Iterator[tuple[int, int, Value | Run]]:
    """As `fields`, but long stretches of one repeated field (of those in `only`) come as one `Run`.

    Raises WireError where and as `fields` does.
    """
    return walk(view, None, _Leap(only))


def varints(view: memoryview, limit: int) -> NDArray[np.uint64]:
    """The numbers of a packed field; WireError when there are more than `limit`, one is too long or cut short."""
    data = np.frombuffer(view, np.uint8)
    last = np.flatnonzero(data < 0x80)
    if len(last) > limit:
        raise WireError(f"more than {limit} packed numbers", 0)
    if len(data) and (not len(last) or last[-1] != len(data) - 1):
        raise WireError("a packed field ends inside a number", len(data))
    first = np.concatenate(([0], last[:-1] + 1)) if len(last) else last
    wrong = np.flatnonzero(~_are_sound(data, first, last))
    if len(wrong):
        raise WireError("a number of more than 64 bits", int(first[wrong[0]]))
    return _decoded(data, first, last)


class _Leap:
    """Notices that a field repeats, and finds out for how long."""

    def __init__(self, only: frozenset[int] | None) -> None:
        self.only = only
        self.tag, self.seen = -1, 0

    def __call__(self, view: memoryview, position: int) -> Run | None:
        tag = view[position]
        if tag != self.tag:
            self.tag, self.seen = tag, 0
            return None
        self.seen += 1
        if self.seen < _SOON or tag >= 0x80 or (self.only is not None and tag >> 3 not in self.only):
            return None
        wire = tag & 7
        if wire == LEN:
            count, stop = _texts(view, position, tag)
        elif wire == VARINT or wire in _FIXED:
            count, stop = _numbers(view, position, tag)
        else:
            return None
        return Run(tag >> 3, wire, count, view[position:stop]) if count else None


def _numbers(view: memoryview, position: int, tag: int) -> tuple[int, int]:
    """How many sound elements with `tag` follow, and where they end; what is not sound is left to the walk."""
    count, size = 0, _FIRST_BYTES
    while True:
        chunk = np.frombuffer(view[position : position + size], np.uint8)
        found, length = (_varints_in if tag & 7 == VARINT else _fixed_in)(chunk, tag)
        count += found
        position += length
        # Nearly all of it: the rest may be an element that the chunk cuts in two.
        if not found or length <= len(chunk) - _VARINT_BYTES - 1:
            return count, position
        size = min(2 * size, _MOST_BYTES)


def _fixed_in(chunk: NDArray[np.uint8], tag: int) -> tuple[int, int]:
    width = 1 + _FIXED[tag & 7][1]
    has_tag = chunk[: len(chunk) // width * width : width] == tag
    count = len(has_tag) if has_tag.all() else int(np.argmin(has_tag))
    return count, count * width


def _varints_in(chunk: NDArray[np.uint8], tag: int) -> tuple[int, int]:
    """A tag below 0x80 and a number's last byte take turns among the bytes below 0x80."""
    low = np.flatnonzero(chunk < 0x80)
    low = low[: len(low) // 2 * 2]
    tags, last = low[0::2], low[1::2]
    starts = np.concatenate(([0], last[:-1] + 1)) if len(last) else last
    fit = (tags == starts) & (chunk[tags] == tag) & _are_sound(chunk, tags + 1, last)
    count = len(fit) if fit.all() else int(np.argmin(fit))
    return count, int(last[count - 1]) + 1 if count else 0


def _texts(view: memoryview, position: int, tag: int) -> tuple[int, int]:
    """As `_numbers` for payloads of less than 16 KiB."""
    count, size = 0, _FIRST_BYTES
    while True:
        chunk = bytes(view[position : position + size])  # bytes are indexed sooner than a view
        found, length = _texts_in(chunk, tag)
        count += found
        position += length
        if not found or position + 1 >= len(view) or view[position] != tag:
            return count, position
        size = min(2 * size, _MOST_BYTES)


def _texts_in(chunk: bytes, tag: int) -> tuple[int, int]:
    count, position, end = 0, 0, len(chunk)
    while position + 1 < end and chunk[position] == tag:
        size = chunk[position + 1]
        begin = position + 2
        if size >= 0x80:
            if begin >= end or chunk[begin] >= 0x80:
                break
            size += (chunk[begin] - 1) << 7
            begin += 1
        if begin + size > end:
            break
        count += 1
        position = begin + size
    return count, position


def _are_sound(
    data: NDArray[np.uint8], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which numbers from `first` to `last` byte fit 64 bits."""
    length = last - first + 1
    is_sound: NDArray[np.bool_] = (length < _VARINT_BYTES) | ((length == _VARINT_BYTES) & (data[last] <= 1))
    return is_sound


def _decoded(
    data: NDArray[np.uint8], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """The numbers whose bytes lie from `first` to `last`, seven bits a byte."""
    values = np.zeros(len(first), np.uint64)
    at, index = first, np.arange(len(first))
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        if not len(index):
            break
        values[index] |= (data[at] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(shift)
        more = at < last[index]
        at, index = at[more] + 1, index[more]
    return values
