"""Element types by numpy's names, and how many bits each takes."""

from __future__ import annotations

from collections.abc import Sequence

from edgestudio.model.graph import Dimension

BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e4m3fnuz": 8,
    "float8_e5m2": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8, "float4_e2m1fn": 4, "complex64": 64,
    "complex128": 128, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4, "int2": 2, "uint64": 64,
    "uint32": 32, "uint16": 16, "uint8": 8, "uint4": 4, "uint2": 2, "bool": 8, "uint6": 6, "uint3": 3, "uint1": 1,
}  # fmt: skip
"""Bits of one element as it is stored packed; text has no fixed size and is absent."""


def is_float(dtype: str) -> bool:
    """True for real and complex floating-point types."""
    return dtype.startswith(("float", "bfloat", "complex"))


MOST = (1 << 63) - 1
"""The largest figure that is given: sizes whose product is more are made up."""


def elements(shape: Sequence[Dimension] | None) -> int | None:
    """Number of elements, None while any dimension is unknown or symbolic, and for more than any machine counts."""
    if shape is None:
        return None
    count = 1
    for size in shape:
        if not isinstance(size, int) or size < 0:
            return None
        count *= size
        if count > MOST:
            return None
    return count


def size_bytes(dtype: str, shape: Sequence[Dimension] | None) -> int | None:
    """Bytes of a packed tensor, None when its type or shape is not known."""
    count = elements(shape)
    bits = BITS.get(dtype)
    return None if count is None or bits is None else -(-count * bits // 8)
