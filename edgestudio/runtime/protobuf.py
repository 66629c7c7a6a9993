"""Reads protocol-buffer wire format without copies, schemas or recursion; every length is checked.

    for number, wire_type, value in fields(view):
        if number == 7 and wire_type == LEN: ...          # value is a memoryview: nest with fields(value)

Wire format: https://protobuf.dev/programming-guides/encoding/. A payload is sliced, never copied, so
that gigabytes of weights in an mmap cost one tuple. Groups (wire types 3 and 4) are long deprecated
and in no model format: they are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgestudio.runtime.protobuf_runs import Run

VARINT, FIXED64, LEN, FIXED32 = 0, 1, 2, 5
Value = int | memoryview
_LONG = 1024
"""A packed field of more bytes is decoded as an array."""
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_FIXED = {FIXED32: _U32, FIXED64: _U64}


class WireError(ValueError):
    """The bytes are no protocol-buffer message; `offset` is where that showed."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.offset = offset


def fields(view: memoryview, total_size: int | None = None) -> Iterator[tuple[int, int, Value]]:
    """Yield (field number, wire type, value); the value is an int, or a memoryview for LEN fields.

    FIXED32 and FIXED64 values are the raw little-endian integer: see `as_float`, `as_double`.
    With `total_size`, `view` is only the head of a message of that size, and iteration ends quietly
    at the first field whose payload lies beyond it. Raises WireError on anything malformed.
    """
    return cast("Iterator[tuple[int, int, Value]]", walk(view, total_size, None))


def walk(
    view: memoryview, total_size: int | None, leap: Callable[[memoryview, int], Run | None] | None
) -> Iterator[tuple[int, int, Value | Run]]:
    """As `fields`; `leap` may find many elements of one field at a position, which are then yielded as one run."""
    position, have = 0, len(view)
    end = have if total_size is None else total_size
    while position < have:
        start = position
        try:
            if leap is not None:
                run = leap(view, position)
                if run is not None:
                    yield run.number, run.wire, run
                    position += len(run.view)
                    continue
            tag = view[position]
            position += 1
            if tag >= 0x80:
                tag, position = read_varint(view, start)
            number, wire_type = tag >> 3, tag & 7
            if number == 0 or number >= 1 << 29:
                raise WireError(f"field number {number}", start)
            if wire_type == LEN:
                length = view[position]
                position += 1
                if length >= 0x80:
                    length, position = read_varint(view, position - 1)
                stop = position + length
                if stop > end:
                    raise WireError(f"field {number} claims {length} bytes, {end - position} are left", start)
                if stop > have:
                    yield number, LEN, view[position:have]
                    return
                yield number, LEN, view[position:stop]
                position = stop
            else:
                value, position = _number(view, position, wire_type, start)
                yield number, wire_type, value
        except (IndexError, struct.error):
            if end > have:
                return
            raise WireError("the message ends inside a field", start) from None


def _number(view: memoryview, position: int, wire_type: int, start: int) -> tuple[int, int]:
    if wire_type == VARINT:
        return read_varint(view, position)
    fixed = _FIXED.get(wire_type)
    if fixed is None:
        raise WireError(f"wire type {wire_type}", start)
    (value,) = fixed.unpack_from(view, position)
    return value, position + fixed.size


def read_varint(view: memoryview, position: int) -> tuple[int, int]:
    """(unsigned value, next position); IndexError past the end, WireError beyond 64 bits."""
    start = position
    result = shift = 0
    while True:
        byte = view[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            if result >= 1 << 64:
                raise WireError("a number of more than 64 bits", start)
            return result, position
        shift += 7
        if shift > 63:
            raise WireError("a number of more than ten bytes", start)


def packed_varints(view: memoryview, limit: int = 1 << 24) -> list[int]:
    """The unsigned numbers of a packed repeated field; WireError when more than `limit` or cut short."""
    if len(view) > _LONG:
        return cast("list[int]", _many(view, limit).tolist())
    values: list[int] = []
    position, end = 0, len(view)
    try:
        while position < end:
            value, position = read_varint(view, position)
            values.append(value)
            if len(values) > limit:
                raise WireError(f"more than {limit} packed numbers", position)
    except IndexError:
        raise WireError("a packed field ends inside a number", position) from None
    return values


def signed_varints(view: memoryview, limit: int = 1 << 24) -> list[int]:
    """As `packed_varints`, each as int32, int64 and enum fields store it."""
    if len(view) > _LONG:
        return cast("list[int]", _many(view, limit).view("int64").tolist())
    return [signed(item) for item in packed_varints(view, limit)]


def _many(view: memoryview, limit: int) -> NDArray[np.uint64]:
    from edgestudio.runtime.protobuf_runs import varints  # pays off for many numbers alone

    return varints(view, limit)


def repeated_ints(wire_type: int, value: Value, limit: int = 1 << 24) -> list[int]:
    """A repeated int64 field in either form, packed or single, as signed numbers."""
    if isinstance(value, int):
        return [signed(value)]
    if wire_type != LEN:
        raise WireError("a repeated number of the wrong wire type", 0)
    return signed_varints(value, limit)


def signed(value: int) -> int:
    """Two's complement int64 of an unsigned varint, as int32, int64 and enum fields store it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def zigzag(value: int) -> int:
    """The sint32 or sint64 behind a varint."""
    return (value >> 1) ^ -(value & 1)


def as_float(value: int) -> float:
    """The float behind a FIXED32 value."""
    return float(struct.unpack("<f", _U32.pack(value))[0])


def as_double(value: int) -> float:
    """The double behind a FIXED64 value."""
    return float(struct.unpack("<d", _U64.pack(value))[0])


def text(value: Value, limit: int = 1 << 20) -> str:
    """A string field; broken UTF-8 is replaced, more than `limit` bytes are a WireError."""
    if isinstance(value, int):
        raise WireError("a text of the wrong wire type", 0)
    if len(value) > limit:
        raise WireError(f"a text of {len(value)} bytes", 0)
    return bytes(value).decode("utf-8", "replace")


def message(value: Value) -> memoryview:
    """The payload of a nested message; WireError when the field holds a number."""
    if isinstance(value, int):
        raise WireError("a message of the wrong wire type", 0)
    return value
