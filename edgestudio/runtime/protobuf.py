"""Reads protocol-buffer wire format without a schema: bounds-checked, zero-copy, with no generated code.

A reader of untrusted files cannot rely on a library that allocates what a length field asks for. Here a
length is compared with what is left before anything is touched, a payload stays a slice of the caller's
buffer (bytes or a memory map), and nothing recurses: the caller decides which payload is a message.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

Buffer = bytes | mmap.mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_GROUP_START, _GROUP_END = 3, 4


class WireError(ValueError):
    """The bytes are not a well-formed message; the text says where and why."""


def read_varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """The unsigned varint at `position` and the position after it; raises WireError."""
    result = shift = 0
    while position < end:
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift >= 70:
            raise WireError(f"a number is longer than 10 bytes at offset {position}")
    raise WireError(f"the data ends inside a number at offset {position}")


def signed(value: int) -> int:
    """A varint read as int32 or int64 (two's complement)."""
    return value - (1 << 64) if value >= 1 << 63 else value


def walk(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield `(field number, wire type, a, b)` of the message in `buffer[start:end]`.

    For VARINT `a` is the value and `b` unused; otherwise the payload is `buffer[a:b]`. Raises WireError.
    """
    position = start
    while position < end:
        tag = buffer[position]
        position += 1
        if tag >= 0x80:
            tag, position = read_varint(buffer, position - 1, end)
        wire, number = tag & 7, tag >> 3
        if wire == BYTES:
            if position >= end:
                raise WireError(f"the data ends inside field {number} at offset {position}")
            size = buffer[position]
            position += 1
            if size >= 0x80:
                size, position = read_varint(buffer, position - 1, end)
            stop = position + size
        elif wire == VARINT:
            value, position = read_varint(buffer, position, end)
            if number == 0:
                raise WireError(f"field number 0 at offset {position}")
            yield number, wire, value, position
            continue
        elif wire == FIXED32:
            stop = position + 4
        elif wire == FIXED64:
            stop = position + 8
        else:
            what = "a group" if wire in (_GROUP_START, _GROUP_END) else f"wire type {wire}"
            raise WireError(f"{what} in field {number} at offset {position}")
        if number == 0:
            raise WireError(f"field number 0 at offset {position}")
        if stop > end:
            raise WireError(f"field {number} at offset {position} is {stop - end} bytes longer than the data")
        yield number, wire, position, stop
        position = stop


class Message:
    """One message, indexed once; wrong wire types read as if the field were absent."""

    __slots__ = ("_fields", "buffer", "end", "start")

    def __init__(self, buffer: Buffer, start: int = 0, end: int | None = None) -> None:
        self.buffer = buffer
        self.start = start
        self.end = len(buffer) if end is None else end
        self._fields: dict[int, list[tuple[int, int, int]]] = {}
        for number, wire, a, b in walk(buffer, start, self.end):
            self._fields.setdefault(number, []).append((wire, a, b))

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def numbers(self) -> list[int]:
        """The field numbers present, in order of first appearance."""
        return list(self._fields)

    def spans(self, number: int) -> list[tuple[int, int]]:
        """Start and end of every length-delimited payload of the field."""
        return [(a, b) for wire, a, b in self._fields.get(number, ()) if wire == BYTES]

    def data(self, number: int) -> bytes:
        """The last payload of the field, b"" when absent."""
        spans = self.spans(number)
        return bytes(self.buffer[spans[-1][0] : spans[-1][1]]) if spans else b""

    def text(self, number: int, default: str = "") -> str:
        """The last payload as text; bytes that are not UTF-8 show as replacement characters."""
        spans = self.spans(number)
        return self._text(*spans[-1]) if spans else default

    def texts(self, number: int) -> list[str]:
        """Every payload of a repeated string field."""
        return [self._text(a, b) for a, b in self.spans(number)]

    def _text(self, start: int, end: int) -> str:
        return bytes(self.buffer[start:end]).decode("utf-8", "replace")

    def message(self, number: int) -> Message | None:
        """The last sub-message of the field, None when absent."""
        spans = self.spans(number)
        return Message(self.buffer, *spans[-1]) if spans else None

    def messages(self, number: int) -> Iterator[Message]:
        """Every sub-message of a repeated field, read one at a time."""
        for start, end in self.spans(number):
            yield Message(self.buffer, start, end)

    def integer(self, number: int, default: int = 0) -> int:
        """The last value as a signed integer."""
        for wire, a, b in reversed(self._fields.get(number, ())):
            if wire == VARINT:
                return signed(a)
            if wire in (FIXED32, FIXED64):
                return int.from_bytes(self.buffer[a:b], "little", signed=True)
        return default

    def integers(self, number: int) -> list[int]:
        """Every value of a repeated integer field, packed or not."""
        values: list[int] = []
        for wire, a, b in self._fields.get(number, ()):
            if wire == VARINT:
                values.append(signed(a))
            elif wire == BYTES:
                while a < b:
                    value, a = read_varint(self.buffer, a, b)
                    values.append(signed(value))
        return values

    def real(self, number: int, default: float = 0.0) -> float:
        """The last value of a float or double field."""
        values = self.reals(number)
        return values[-1] if values else default

    def reals(self, number: int, *, double: bool = False) -> list[float]:
        """Every value of a repeated float (or, packed and with `double`, double) field."""
        values: list[float] = []
        for wire, a, b in self._fields.get(number, ()):
            if wire == FIXED32:
                values += struct.unpack("<f", self.buffer[a:b])
            elif wire == FIXED64:
                values += struct.unpack("<d", self.buffer[a:b])
            elif wire == BYTES:
                width, code = (8, "d") if double else (4, "f")
                count = (b - a) // width
                values += struct.unpack(f"<{count}{code}", self.buffer[a : a + count * width])
        return values
