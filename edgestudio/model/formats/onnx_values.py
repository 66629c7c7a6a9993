"""Decodes ONNX tensors, types and attributes from the wire; of a weight only its header is touched.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from edgestudio.model.building import MAX_DEPTH
from edgestudio.model.dtypes import BITS, elements
from edgestudio.model.graph import Dimension
from edgestudio.model.message import Message
from edgestudio.runtime.protobuf import (
    FIXED32,
    FIXED64,
    VARINT,
    Value,
    WireError,
    as_double,
    as_float,
    fields,
    signed,
    signed_varints,
)
from edgestudio.runtime.protobuf_runs import Run, fields_and_runs

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip

SMALL_COUNT = 64
"""Constants of up to this many elements keep their values: shapes, axes, scales of one tensor."""
_LIST_LIMIT, _LIST_SHOWN, _TEXT_LIMIT = 4096, 64, 4096


class TensorHeader(NamedTuple):
    """A TensorProto without its data; `raw` is a view of the bytes, `typed` of the typed lists."""

    name: bytes
    dtype: str
    dims: tuple[int, ...]
    raw: memoryview | None
    typed: tuple[tuple[int, int, Value | Run], ...]
    external: dict[str, str]


_TYPED_DATA = {4: "<f4", 10: "<f8"}
_TYPED = frozenset({4, 5, 6, 7, 10, 11})


def tensor_header(view: memoryview) -> TensorHeader:
    """Read name, type and shape of a TensorProto; its data stays untouched."""
    name, code = b"", 0
    dims: list[int] = []
    raw: memoryview | None = None
    typed: list[tuple[int, int, Value | Run]] = []
    external: dict[str, str] = {}
    is_external = False
    for number, wire, value in fields_and_runs(view, _TYPED):
        if isinstance(value, Run):
            typed.append((number, wire, value))
        elif number == 1:
            dims += _dims(wire, value)
        elif number == 2 and isinstance(value, int):
            code = value
        elif number == 8 and isinstance(value, memoryview):
            name = bytes(value)
        elif number == 9 and isinstance(value, memoryview):
            raw = value
        elif number in _TYPED:
            typed.append((number, wire, value))
        elif number == 13 and isinstance(value, memoryview):
            entry = Message(value)
            external[entry.text(1)] = entry.text(2)
        elif number == 14 and isinstance(value, int):
            is_external = value == 1
    dtype = DTYPES.get(code, "")
    return TensorHeader(name, dtype, tuple(dims), raw, tuple(typed), external if is_external else {})


def _dims(wire: int, value: Value) -> list[int]:
    if isinstance(value, memoryview):
        return signed_varints(value)
    return [signed(value)] if wire == VARINT else []


def header_values(header: TensorHeader, limit: int = SMALL_COUNT) -> tuple[Any, ...] | None:
    """The elements of a constant held in the file, None when it is larger than `limit` or not plain numbers."""
    count = elements(header.dims)
    if count is None or count > limit or header.external or BITS.get(header.dtype, 0) < 8:
        return None
    if header.raw is not None:
        return _raw_values(header.raw, header.dtype, count)
    values = listed_values(header, limit)
    if header.dtype in ("float16", "bfloat16") or len(values) != count:
        return None
    return tuple(bool(value) for value in values) if header.dtype == "bool" else tuple(values)


def listed_values(header: TensorHeader, limit: int) -> list[Any]:
    """What the typed lists hold, cut soon after `limit`; 16-bit types as the integers that they look like."""
    values: list[Any] = []
    for number, wire, value in header.typed:
        values += _typed_values(number, wire, value, limit)
        if len(values) > limit:
            break
    return values


def _raw_values(raw: memoryview, dtype: str, count: int) -> tuple[Any, ...] | None:
    try:
        kind = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        return None
    if len(raw) != count * kind.itemsize or kind.kind == "c":
        return None
    return tuple(np.frombuffer(bytes(raw), kind).tolist())


def _typed_values(number: int, wire: int, value: Value | Run, limit: int) -> list[Any]:
    if number == 6:
        return []
    if isinstance(value, Run):
        return [one for each in value.first(limit + 1) for one in _typed_values(number, wire, each, limit)]
    if number in _TYPED_DATA:
        if isinstance(value, int):
            return (
                [as_float(value) if wire == FIXED32 else as_double(value)]
                if wire in (FIXED32, FIXED64)
                else []
            )
        kind = np.dtype(_TYPED_DATA[number])
        count = min(len(value) // kind.itemsize, limit + 1)
        return list(np.frombuffer(bytes(value[: count * kind.itemsize]), kind).tolist())
    if isinstance(value, int):
        return [signed(value)] if wire == VARINT else []
    # A number takes ten bytes at most; cutting the list there keeps a huge one from being decoded.
    return _dims(wire, value) if len(value) <= 10 * (limit + 1) else [0] * (limit + 1)


def type_info(view: memoryview, depth: int = 0) -> tuple[str, tuple[Dimension, ...] | None]:
    """Element type and shape of a TypeProto; `sequence(float32)` and the like for what is no tensor."""
    if depth > MAX_DEPTH:
        raise WireError("a type is nested too deeply", 0)
    for number, _, value in fields(view):
        if not isinstance(value, memoryview):
            continue
        if number in (1, 8):
            message = Message(value)
            shapes = message.views(2)
            return DTYPES.get(message.integer(1), ""), _shape(shapes[-1]) if shapes else None
        if number in (4, 5, 9):
            inner = Message(value).views(2 if number == 5 else 1)
            word = {4: "sequence", 5: "map", 9: "optional"}[number]
            return f"{word}({type_info(inner[-1], depth + 1)[0] if inner else ''})", None
    return "", None


def _shape(view: memoryview) -> tuple[Dimension, ...]:
    dims: list[Dimension] = []
    for number, _, value in fields(view):
        if number != 1 or not isinstance(value, memoryview):
            continue
        dim: Dimension = None
        for field, _, size in fields(value):
            if field == 1 and isinstance(size, int):
                dim = signed(size) if signed(size) >= 0 else None
            elif field == 2 and isinstance(size, memoryview):
                dim = str(size, "utf-8", "replace") or None
        dims.append(dim)
    return tuple(dims)


def describe_tensor(view: memoryview) -> dict[str, Any]:
    """A tensor attribute as shown: type, shape and, when small, values."""
    header = tensor_header(view)
    shown: dict[str, Any] = {"dtype": header.dtype, "shape": list(header.dims)}
    values = header_values(header)
    if values is not None:
        shown["values"] = list(values)
    return shown


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return f"{len(data)} bytes: {data[:32].hex()}"
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}… ({len(text)} characters)"


def _long(count: int, first: list[Any], digest: str) -> dict[str, Any]:
    """A list too long to show; two of them are told apart by the digest of all that they hold."""
    return {"length": count, "first": first, "sha256": digest[:16]}


def _integers(message: Message) -> Any:
    if len(message.view) <= _LIST_LIMIT:  # every element takes a byte or more
        return message.integers(8)
    values = message.array(8)
    if len(values) <= _LIST_LIMIT:
        return values.tolist()
    return _long(len(values), values[:_LIST_SHOWN].tolist(), hashlib.sha256(values.tobytes()).hexdigest())


def _reals(message: Message) -> Any:
    values = message.reals(7)
    if len(values) <= _LIST_LIMIT:
        return values
    content = np.array(values, np.float32).tobytes()
    return _long(len(values), values[:_LIST_SHOWN], hashlib.sha256(content).hexdigest())


def _texts(message: Message) -> Any:
    texts: list[str] = []
    count, digest = 0, hashlib.sha256()
    for view in message.payloads(9):
        count += 1
        if count <= _LIST_LIMIT:
            texts.append(_text(bytes(view)))
        digest.update(b"%d " % len(view) + view)
    return texts if count <= _LIST_LIMIT else _long(count, texts[:_LIST_SHOWN], digest.hexdigest())


def attribute_value(message: Message) -> Any:
    """The value of an AttributeProto that holds no graph."""
    if 21 in message:
        return {"attribute of the function": message.text(21)}
    kind = message.integer(20)
    if kind == 1 or (not kind and 2 in message):
        return message.real(2)
    if kind == 2 or (not kind and 3 in message):
        return message.integer(3)
    if kind == 3 or (not kind and 4 in message):
        return _text(message.data(4))
    if kind == 4 or (not kind and 5 in message):
        views = message.views(5)
        return describe_tensor(views[-1]) if views else None
    if kind == 6 or (not kind and 7 in message):
        return _reals(message)
    if kind == 7 or (not kind and 8 in message):
        return _integers(message)
    if kind == 8 or (not kind and 9 in message):
        return _texts(message)
    if kind == 9:
        return [describe_tensor(view) for view in message.views(10)[:_LIST_SHOWN]]
    if kind in (11, 12):
        return {"sparse tensor": len(message.views(22)) + len(message.views(23))}
    if kind in (13, 14):
        return [type_info(view)[0] for view in message.views(14) + message.views(15)]
    return None
