"""Copies an ONNX model without its large weights, small enough for libraries that load a file whole."""

from __future__ import annotations

from collections.abc import Mapping

from edgestudio.model.building import MAX_DEPTH
from edgestudio.model.message import Message
from edgestudio.runtime.protobuf import FIXED32, FIXED64, VARINT, WireError, fields, signed
from edgestudio.runtime.protobuf_runs import Run, fields_and_runs

_KEPT_BYTES = 1024
"""Tensors up to this size keep their data: shape inference reads the shapes and axes in them."""

# Kind of message to {field: kind of the messages in it}; other fields are copied as they are.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_DROPPED: dict[str, frozenset[int]] = {
    # typed and raw data, text, and where external data would be
    "tensor": frozenset({4, 5, 6, 7, 9, 10, 11, 12, 13, 14}),
    # training information, names of quantised tensors
    "model": frozenset({20}),
}
_RUNS = {"attribute": frozenset({7, 8, 9}), "tensor": _DROPPED["tensor"]}
"""Lists that may be long, and are copied or dropped as one."""

_INPUT, _OUTPUT, _VALUE_INFO = 11, 12, 13


def skeleton(view: memoryview, dimensions: Mapping[str, int] | None = None) -> bytes:
    """The model's bytes without tensor data above 1 KiB; raises WireError.

    With `dimensions` these sizes of the main graph's inputs are set, named ones by name and unnamed ones as
    "input:axis" (an unnamed first one is 1), and shapes that were worked out from open sizes are forgotten.
    """
    parts: list[bytes | memoryview] = []
    _copy(view, "model", parts, 0, dimensions)
    return b"".join(parts)


def _copy(
    view: memoryview, kind: str, parts: list[bytes | memoryview], depth: int, sizes: Mapping[str, int] | None
) -> None:
    if depth > 4 * MAX_DEPTH:
        raise WireError("messages are nested too deeply", 0)
    inside, dropped = _INSIDE[kind], _DROPPED.get(kind, frozenset())
    runs = _RUNS.get(kind)
    for number, wire, value in fields(view) if runs is None else fields_and_runs(view, runs):
        if number in dropped:
            continue
        if isinstance(value, Run):
            parts.append(value.view)
        elif isinstance(value, memoryview):
            body: bytes | memoryview | None = value
            child = inside.get(number)
            if sizes is not None and kind == "graph" and number in (_INPUT, _OUTPUT, _VALUE_INFO):
                body = _bound(value, sizes, number)
            elif child is not None and (len(value) > _KEPT_BYTES or child == "graph"):
                nested: list[bytes | memoryview] = []
                # Bodies of loops and branches have inputs of their own, which the sizes are not for.
                _copy(value, child, nested, depth + 1, sizes if kind == "model" else None)
                body = b"".join(nested)
            if body is not None:
                parts += (_varint(number << 3 | 2), _varint(len(body)), body)
        elif wire == VARINT:
            parts += (_varint(number << 3), _varint(value))
        elif wire in (FIXED32, FIXED64):
            parts += (_varint(number << 3 | wire), value.to_bytes(4 if wire == FIXED32 else 8, "little"))


def _bound(value: memoryview, sizes: Mapping[str, int], field: int) -> bytes | memoryview | None:
    """A ValueInfoProto with its open sizes set or, but for inputs, forgotten; None to leave it out."""
    info = Message(value)
    kind = info.message(2)
    tensor = kind.message(1) if kind is not None else None
    shape = tensor.message(2) if tensor is not None else None
    if tensor is None or shape is None:
        return value
    dims = list(shape.messages(1))
    if all(1 in dim and signed(dim.integer(1)) >= 0 for dim in dims):
        return value
    if field == _VALUE_INFO:
        return None
    written: list[bytes] = []
    for axis, dim in enumerate(dims):
        size = dim.integer(1) if 1 in dim and dim.integer(1) > 0 else None
        if field == _INPUT and size is None:
            size = sizes.get(
                dim.text(2) or f"{info.text(1)}:{axis}", 1 if axis == 0 and not dim.text(2) else None
            )
        written.append(_field(1, b"" if size is None else b"\x08" + _varint(size)))
    tensor_type = b"\x08" + _varint(tensor.integer(1)) + _field(2, b"".join(written))
    return _field(1, info.data(1)) + _field(2, _field(1, tensor_type))


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
