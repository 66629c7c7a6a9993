"""Arrays as they travel in JSON: dtype, shape and base64 of the little-endian bytes, checked against each other."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgestudio.wire.errors import InputError
from edgestudio.wire.fields import Fields

DTYPES = frozenset(
    {
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
    }
)
MAX_RANK = 16
Array = np.ndarray[Any, np.dtype[Any]]


def encode(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Named arrays as JSON; raises InputError for a dtype that does not travel."""
    return {name: _encode(name, np.asarray(array)) for name, array in arrays.items()}


def decode(value: object, *, max_bytes: int, where: str = "tensors") -> dict[str, Array]:
    """Named arrays from a stranger's JSON, at most `max_bytes` together; raises InputError."""
    if not isinstance(value, dict) or len(value) > 64:
        raise InputError(f"{where} must be an object of at most 64 tensors", code="bad-field")
    arrays, total = {}, 0
    for name, item in value.items():
        arrays[str(name)[:200]] = array = _decode(
            Fields(item, f"{where}: {str(name)[:40]}"), max_bytes - total
        )
        total += array.nbytes
    return arrays


def _encode(name: str, array: Array) -> dict[str, Any]:
    if array.dtype.name not in DTYPES:
        raise InputError(
            f"the tensor {name} has the dtype {array.dtype}, which does not travel", code="bad-field"
        )
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode()}


def _decode(f: Fields, max_bytes: int) -> Array:
    dtype, shape = f.text("dtype", limit=10), f.items("shape", limit=MAX_RANK)
    if dtype not in DTYPES or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise InputError(f"{f.where}: dtype or shape is not one that travels", code="bad-field")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > max_bytes:
        raise InputError(f"{f.where}: more than the allowed {max_bytes} bytes", code="too-big")
    try:
        data = base64.b64decode(f.text("data", limit=2 * max_bytes + 16), validate=True)
    except (binascii.Error, ValueError) as e:
        raise InputError(f"{f.where}: data is not base64", code="bad-field") from e
    if len(data) != size:
        raise InputError(f"{f.where}: {len(data)} bytes do not fill this shape", code="bad-field")
    try:
        return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    except ValueError as e:  # nothing in it, and still more than can be counted
        raise InputError(f"{f.where}: no array has this shape", code="bad-field") from e
