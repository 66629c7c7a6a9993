"""Decodes TensorFlow's attribute values, tensors and shapes from the wire.

Field numbers are those of https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework/*.proto.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgestudio.model.dtypes import elements
from edgestudio.model.graph import Dimension
from edgestudio.model.message import Message

DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16", 17: "uint16", 18: "complex128", 19: "float16",
    20: "resource", 21: "variant", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn", 29: "int4",
    30: "uint4",
}  # fmt: skip
_SMALL_COUNT, _LIST_LIMIT, _TEXT_LIMIT = 64, 256, 256
Shape = tuple[Dimension, ...] | None


def dtype_of(code: int) -> str:
    """Numpy's name of a TensorFlow type; references (variables of old graphs) have 100 added."""
    return DTYPES.get(code % 100, "")


def shape_of(message: Message | None) -> Shape:
    """A TensorShapeProto, None for an unknown rank."""
    if message is None or message.integer(3):
        return None
    sizes = [dim.integer(1) for dim in message.messages(2)]
    return tuple(size if size >= 0 else None for size in sizes)


def tensor_of(message: Message) -> tuple[str, Shape, tuple[Any, ...] | None]:
    """Type, shape and, when small, the elements of a TensorProto."""
    dtype, shape = dtype_of(message.integer(1)), shape_of(message.message(2))
    count = elements(shape)
    if count is None or count > _SMALL_COUNT:
        return dtype, shape, None
    content = message.data(4)
    if content:
        try:
            kind = np.dtype(dtype).newbyteorder("<")
        except TypeError:
            return dtype, shape, None
        if kind.kind == "c" or len(content) != count * kind.itemsize:
            return dtype, shape, None
        return dtype, shape, tuple(np.frombuffer(content, kind).tolist())
    return dtype, shape, _listed(message, dtype, count)


def _listed(message: Message, dtype: str, count: int) -> tuple[Any, ...] | None:
    """Elements from the typed lists, of which the last stands for all that follow."""
    values = listed_elements(message, dtype)
    if values is None or len(values) > count:
        return None
    # Nothing at all stands for zeros.
    values = values or [False if dtype == "bool" else 0]
    return tuple(values + [values[-1]] * (count - len(values)))


def listed_elements(message: Message, dtype: str) -> list[Any] | None:
    """What the typed list of a TensorProto holds; None for a type that has none here."""
    if dtype in ("float32", "float64"):
        return message.reals(5 if dtype == "float32" else 6, double=dtype == "float64")
    if dtype in ("int32", "int16", "int8", "uint8", "uint16"):
        return list(message.integers(7))
    if dtype in ("int64", "uint32", "uint64"):
        return list(message.integers({"int64": 10, "uint32": 16, "uint64": 17}[dtype]))
    if dtype == "bool":
        return [bool(value) for value in message.integers(11)]
    if dtype == "float16":
        return [float(value) for value in np.array(message.integers(13), np.uint16).view(np.float16)]
    return None


def attribute_of(message: Message) -> Any:
    """An AttrValue in plain values."""
    if 2 in message:
        return _text(message.data(2))
    for number in (3, 4, 5, 6):
        if number in message:
            value = message.real(4) if number == 4 else message.integer(number)
            return {3: value, 4: value, 5: bool(value), 6: dtype_of(int(value))}[number]
    if 7 in message:
        shape = shape_of(message.message(7))
        return None if shape is None else list(shape)
    tensor = message.message(8)
    if tensor is not None:
        dtype, shape, values = tensor_of(tensor)
        shown: dict[str, Any] = {"dtype": dtype, "shape": None if shape is None else list(shape)}
        return shown if values is None else {**shown, "values": list(values)}
    function = message.message(10)
    if function is not None:
        return {"function": function.text(1)}
    items = message.message(1)
    return None if items is None else _list(items)


def _list(items: Message) -> list[Any]:
    if 2 in items:
        return [_text(bytes(view)) for view in items.views(2)[:_LIST_LIMIT]]
    if 7 in items:
        shapes = [shape_of(message) for message in items.messages(7)]
        return [None if shape is None else list(shape) for shape in shapes[:_LIST_LIMIT]]
    if 9 in items:
        return [{"function": function.text(1)} for function in items.messages(9)][:_LIST_LIMIT]
    if 4 in items:
        return items.reals(4)[:_LIST_LIMIT]
    if 6 in items:
        return [dtype_of(code) for code in items.integers(6)[:_LIST_LIMIT]]
    return items.integers(5 if 5 in items else 3)[:_LIST_LIMIT]


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return f"{len(data)} bytes"
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"
