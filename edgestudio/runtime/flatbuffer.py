"""Reads FlatBuffers without a schema: every offset is checked before it is followed, vectors stay views.

A FlatBuffer is offsets into itself, so a hostile file can point anywhere, and a thousand vectors can share
one table to make a small file look endless. Positions are checked against the buffer, and tables visited are
counted against its size: an honest file cannot hold more tables than bytes.
Layout: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Buffer = bytes | mmap.mmap

_SCALARS = {code: struct.Struct("<" + code) for code in "bBhHiIqQfd?"}
_UINT32, _INT32, _UINT16 = _SCALARS["I"], _SCALARS["i"], _SCALARS["H"]


class FlatBufferError(ValueError):
    """The bytes are not a well-formed FlatBuffer; the text says where and why."""


class FlatBuffer:
    """One buffer, with the budget of tables that may be visited in it."""

    __slots__ = ("budget", "buffer", "size")

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.size = len(buffer)
        self.budget = self.size + 4096
        if self.size < 8:
            raise FlatBufferError(f"{self.size} bytes are too short for a FlatBuffer")

    @property
    def identifier(self) -> bytes:
        """The four bytes that name the file type, such as b"TFL3"."""
        return bytes(self.buffer[4:8])

    def root(self) -> Table:
        """The root table."""
        return Table(self, self.unpack(_UINT32, 0))

    def unpack(self, scalar: struct.Struct, position: int) -> Any:
        """The scalar at `position`; raises FlatBufferError outside the buffer."""
        if position < 0 or position + scalar.size > self.size:
            raise FlatBufferError(f"offset {position} is outside of the file ({self.size} bytes)")
        return scalar.unpack_from(self.buffer, position)[0]

    def spend(self, count: int = 1) -> None:
        """Count visited tables or elements; raises FlatBufferError when no honest file has so many."""
        self.budget -= count
        if self.budget < 0:
            raise FlatBufferError("the file refers to its own parts more often than an honest file can")


class Table:
    """One table; a field is named by its slot, 0 for the first field of the schema."""

    __slots__ = ("_vtable", "_vtable_size", "file", "position")

    def __init__(self, file: FlatBuffer, position: int) -> None:
        file.spend()
        self.file = file
        self.position = position
        self._vtable = position - file.unpack(_INT32, position)
        self._vtable_size: int = file.unpack(_UINT16, self._vtable)
        if self._vtable_size < 4 or self._vtable + self._vtable_size > file.size:
            raise FlatBufferError(f"the table at offset {position} has a broken field list")

    def _at(self, slot: int) -> int:
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_size:
            return 0
        offset: int = self.file.unpack(_UINT16, self._vtable + entry)
        return self.position + offset if offset else 0

    def __contains__(self, slot: int) -> bool:
        return bool(self._at(slot))

    @property
    def slots(self) -> int:
        """How many slots the file's writer knew."""
        return (self._vtable_size - 4) // 2

    def scalar(self, slot: int, code: str, default: Any = 0) -> Any:
        """The scalar of `slot`; `code` is struct's letter (b B h H i I q Q f d ?)."""
        position = self._at(slot)
        return self.file.unpack(_SCALARS[code], position) if position else default

    def _follow(self, slot: int) -> int:
        position = self._at(slot)
        return position + int(self.file.unpack(_UINT32, position)) if position else 0

    def table(self, slot: int) -> Table | None:
        """The table of `slot`, None when absent."""
        position = self._follow(slot)
        return Table(self.file, position) if position else None

    def text(self, slot: int, default: str = "") -> str:
        """The string of `slot`; bytes that are not UTF-8 show as replacement characters."""
        start, size = self._vector(slot, 1)
        return bytes(self.file.buffer[start : start + size]).decode("utf-8", "replace") if start else default

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        position = self._follow(slot)
        if not position:
            return 0, 0
        count: int = self.file.unpack(_UINT32, position)
        if position + 4 + count * width > self.file.size:
            raise FlatBufferError(
                f"the list at offset {position} claims {count} entries, more than the file holds"
            )
        return position + 4, count

    def length(self, slot: int) -> int:
        """How many entries the vector of `slot` has."""
        return self._vector(slot, 1)[1]

    def span(self, slot: int) -> tuple[int, int]:
        """Start and size in bytes of a byte vector, without reading it."""
        return self._vector(slot, 1)

    def array(self, slot: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The vector of scalars as a view of the buffer, empty when absent."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self._vector(slot, kind.itemsize)
        return np.frombuffer(self.file.buffer, kind, count, start) if count else np.empty(0, kind)

    def tables(self, slot: int) -> Iterator[Table]:
        """The tables of a vector, read one at a time."""
        start, count = self._vector(slot, 4)
        for position in range(start, start + 4 * count, 4):
            yield Table(self.file, position + self.file.unpack(_UINT32, position))

    def texts(self, slot: int) -> list[str]:
        """The strings of a vector."""
        start, count = self._vector(slot, 4)
        self.file.spend(count)
        values = []
        for position in range(start, start + 4 * count, 4):
            at = position + self.file.unpack(_UINT32, position)
            size = self.file.unpack(_UINT32, at)
            if at + 4 + size > self.file.size:
                raise FlatBufferError(f"the text at offset {at} is longer than the file")
            self.file.spend(size // 64)
            values.append(bytes(self.file.buffer[at + 4 : at + 4 + size]).decode("utf-8", "replace"))
        return values
