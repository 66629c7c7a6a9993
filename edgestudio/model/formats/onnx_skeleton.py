"""Copies an ONNX model without its large weights, small enough for libraries that load a file whole."""

from __future__ import annotations

from edgestudio.model.building import MAX_DEPTH
from edgestudio.runtime.protobuf import FIXED32, FIXED64, VARINT, WireError, fields

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


def skeleton(view: memoryview) -> bytes:
    """The model's bytes without tensor data above 1 KiB; raises WireError."""
    parts: list[bytes | memoryview] = []
    _copy(view, "model", parts, 0)
    return b"".join(parts)


def _copy(view: memoryview, kind: str, parts: list[bytes | memoryview], depth: int) -> None:
    if depth > 4 * MAX_DEPTH:
        raise WireError("messages are nested too deeply", 0)
    inside, dropped = _INSIDE[kind], _DROPPED.get(kind, frozenset())
    for number, wire, value in fields(view):
        if number in dropped:
            continue
        if isinstance(value, memoryview):
            body: bytes | memoryview = value
            child = inside.get(number)
            if child is not None and len(value) > _KEPT_BYTES:
                nested: list[bytes | memoryview] = []
                _copy(value, child, nested, depth + 1)
                body = b"".join(nested)
            parts += (_varint(number << 3 | 2), _varint(len(body)), body)
        elif wire == VARINT:
            parts += (_varint(number << 3), _varint(value))
        elif wire in (FIXED32, FIXED64):
            parts += (_varint(number << 3 | wire), value.to_bytes(4 if wire == FIXED32 else 8, "little"))


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
