"""Views the bytes of a stored weight as an array, of types that numpy lacks and of less than a byte too."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgestudio.model.content import Buffer
from edgestudio.model.dtypes import BITS, elements

Array = npt.NDArray[Any]
Loader = Callable[[], Array | None]
"""Reads one weight; None where its values are not in the file or in no form that is known."""
MAX_UNPACKED = 1 << 28
"""Elements of a weight that is unpacked into memory: 1 GB in single precision."""


def mapped(path: Path) -> Buffer:
    """A read-only map of the file; b"" for an empty one."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""


def array_at(
    buffer: Buffer | memoryview, start: int, size: int, dtype: str, shape: Sequence[int]
) -> Array | None:
    """The elements at `buffer[start:start + size]`, low bits first where they share bytes.

    bfloat16 and float8 become float32, integers of less than a byte int8 or uint8; None when the bytes do not
    hold as many elements.
    """
    count = elements(shape)
    bits = BITS.get(dtype, 0)
    if count is None or not bits or start < 0 or start + size > len(buffer):
        return None
    if bits < 8:
        if size < math.ceil(count * bits / 8) or count > MAX_UNPACKED:
            return None
        packed = np.frombuffer(buffer, np.uint8, size, start)
        return unpacked(packed, bits, count, is_signed=dtype.startswith("int")).reshape(shape)
    if count * bits // 8 != size:
        return None
    if dtype == "bfloat16":
        halves = np.frombuffer(buffer, "<u2", count, start)
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype.startswith("float8"):
        return _eighths(np.frombuffer(buffer, np.uint8, count, start), dtype, shape)
    try:
        return np.frombuffer(buffer, np.dtype(dtype).newbyteorder("<"), count, start).reshape(shape)
    except TypeError:
        return None


def _eighths(raw: Array, dtype: str, shape: Sequence[int]) -> Array | None:
    import ml_dtypes

    kind = getattr(ml_dtypes, dtype, None)
    return None if kind is None else raw.view(kind).astype(np.float32).reshape(shape)


def unpacked(packed: Array, bits: int, count: int, *, is_signed: bool) -> Array:
    """`count` integers of 1 to 7 bits each from bytes, the lowest bits of a byte first, one to a byte."""
    flags = np.unpackbits(packed[: math.ceil(count * bits / 8)], bitorder="little")[: count * bits]
    values = np.packbits(flags.reshape(count, bits), axis=1, bitorder="little").reshape(count)
    if not is_signed:
        return values
    top = 1 << (bits - 1)
    return ((values.astype(np.int16) ^ top) - top).astype(np.int8)


def strided(
    buffer: Buffer | memoryview, start: int, dtype: str, shape: Sequence[int], strides: Sequence[int]
) -> Array | None:
    """A view of elements that lie `strides` elements apart; None when it reaches past the buffer."""
    bits = BITS.get(dtype, 0)
    count = elements(shape)
    if bits < 8 or count is None or len(shape) != len(strides) or any(step < 0 for step in strides):
        return None
    if count == 0:
        return np.zeros(tuple(shape), np.float32)
    reach = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    flat = array_at(buffer, start, reach * bits // 8, dtype, (reach,))
    # An expanded tensor repeats elements without storing them: as many as fit into memory, not more.
    if flat is None or count > max(MAX_UNPACKED, reach):
        return None
    steps = tuple(step * flat.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(flat, tuple(shape), steps, writeable=False)
