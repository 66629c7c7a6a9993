"""Reads many protocol-buffer messages of one kind side by side, as columns of offsets, a step for all at a time.

Where a file holds a hundred thousand small messages, a loop over their fields in Python is what takes the time.
Here a step reads the next field of every message at once, so that there are as many steps as the longest
message has fields. Nothing is copied, every length is checked, and what is unusual is given up on (`None`): the
ordinary reader, which knows all of the wire format, then has its say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgestudio.runtime.protobuf import WireError, read_varint

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

_MOST_STEPS = 4000
_MOST_ENTRIES = 2_000_000
"""Twenty times what a graph has that anybody looks at; their offsets take a quarter of a gigabyte."""
_LEN = 2


@dataclass(frozen=True, slots=True)
class Payloads:
    """Length-delimited fields: the message each is in, its number, and where its bytes begin and end."""

    message: Offsets
    number: Offsets
    start: Offsets
    stop: Offsets

    def of(self, number: int) -> Payloads:
        """Those of one field number, by message and in each in the order of the file."""
        at = np.flatnonzero(self.number == number)
        at = at[np.argsort(self.message[at], kind="stable")]
        return Payloads(self.message[at], self.number[at], self.start[at], self.stop[at])

    def filled(self) -> Payloads:
        """Those that are not empty."""
        at = np.flatnonzero(self.start < self.stop)
        return Payloads(self.message[at], self.number[at], self.start[at], self.stop[at])


def entries(view: memoryview, tags: frozenset[int]) -> dict[int, tuple[Offsets, Offsets]] | None:
    """Where the payloads of one message's fields begin and end, by tag; None when a tag is not among
    `tags`, or there are more than two million.

    `tags` are single bytes of length-delimited fields. Raises WireError where a payload reaches past the end.
    """
    starts: dict[int, list[int]] = {tag: [] for tag in tags}
    stops: dict[int, list[int]] = {tag: [] for tag in tags}
    position, end = 0, len(view)
    try:
        for _ in range(_MOST_ENTRIES):
            if position >= end:
                break
            tag = view[position]
            size = view[position + 1]
            position += 2
            if size > 127:
                high = view[position]
                if high < 128:
                    position += 1
                    size += (high - 1) << 7
                else:
                    size, position = read_varint(view, position - 1)
            starts[tag].append(position)
            position += size
            stops[tag].append(position)
    except KeyError:
        return None
    except IndexError:
        raise WireError("the message ends inside a field", position) from None
    if position < end:
        return None
    if position > end:
        raise WireError("a field reaches past the end of its message", position)
    return {
        tag: (np.array(found, np.int64), np.array(stops[tag], np.int64))
        for tag, found in starts.items()
        if found
    }


def payloads(data: Bytes, start: Offsets, stop: Offsets) -> Payloads | None:
    """All fields of the messages at start..stop; None when one is not length-delimited, damaged, or very long."""
    columns: list[tuple[Offsets, Offsets, Offsets, Offsets]] = []
    message = np.flatnonzero(start < stop)
    at, stop = start[message], stop[message]
    for _ in range(_MOST_STEPS):
        if not len(at):
            break
        if int(at.max()) + 1 >= len(data):
            return None
        tag = data[at].astype(np.int64)
        size, begin = _sizes(data, at + 1)
        if size is None or ((tag & 7) != _LEN).any() or (tag > 127).any():
            return None
        end = begin + size
        if (end > stop).any():
            return None
        columns.append((message, tag >> 3, begin, end))
        more = end < stop
        message, at, stop = message[more], end[more], stop[more]
    if len(at):
        return None
    if not columns:
        none = np.zeros(0, np.int64)
        return Payloads(none, none, none, none)
    return Payloads(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def first_payload(data: Bytes, start: Offsets, stop: Offsets, number: int) -> tuple[Offsets, Offsets] | None:
    """The first length-delimited field `number` of each message; numbers before it are stepped over.

    Empty (start == stop) for a message without it. None when a message is damaged or unusual.
    """
    found_start, found_stop = stop.copy(), stop.copy()
    message = np.flatnonzero(start < stop)
    at, stop = start[message], stop[message]
    for _ in range(_MOST_STEPS):
        if not len(at):
            return found_start, found_stop
        if int(at.max()) + 1 >= len(data):
            return None
        tag = data[at].astype(np.int64)
        size, begin = _sizes(data, at + 1)  # of a number, its value
        if size is None or (tag > 127).any():
            return None
        wire = tag & 7
        if not ((wire == _LEN) | (wire == 0)).all():
            return None
        end = np.where(wire == _LEN, begin + size, begin)
        if (end > stop).any():
            return None
        is_it = tag == (number << 3 | _LEN)
        found_start[message[is_it]], found_stop[message[is_it]] = begin[is_it], end[is_it]
        more = ~is_it & (end < stop)
        message, at, stop = message[more], end[more], stop[more]
    return None


def _sizes(data: Bytes, at: Offsets) -> tuple[Offsets | None, Offsets]:
    """The varint at each offset and the offset after it; None when one is longer than five bytes."""
    size = data[at].astype(np.int64)
    begin = at + 1
    long = np.flatnonzero(size > 127)
    size[long] &= 127
    for shift in (7, 14, 21, 28):
        if not len(long):
            return size, begin
        where = begin[long]
        if int(where.max()) >= len(data):
            return None, begin
        byte = data[where].astype(np.int64)
        size[long] |= (byte & 127) << shift
        begin[long] += 1
        long = long[byte > 127]
    return (None if len(long) else size), begin
