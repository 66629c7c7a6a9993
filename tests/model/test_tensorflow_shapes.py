"""Frozen TensorFlow graphs made by hand: shapes are worked out, so that operations and memory can be counted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgestudio.model.inspection import inspect_file
from edgestudio.model.reading import read_model
from edgestudio.model.shapes.call import Call, Shape, Values
from edgestudio.model.shapes.numbers import values_of
from edgestudio.model.shapes.rules import shape_of

_TYPES = {"float32": 1, "int32": 3}


def _number(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _number(number << 3) + _number(content)
    return _number(number << 3 | 2) + _number(len(content)) + content


def _shape(sizes: tuple[int, ...]) -> bytes:
    return b"".join(_field(2, _field(1, size)) for size in sizes)


def _node(name: str, op: str, inputs: tuple[str, ...] = (), **attributes: bytes) -> bytes:
    body = _field(1, name.encode()) + _field(2, op.encode())
    body += b"".join(_field(3, source.encode()) for source in inputs)
    body += b"".join(
        _field(5, _field(1, key.encode()) + _field(2, value)) for key, value in attributes.items()
    )
    return _field(1, body)


def _constant(name: str, dtype: str, shape: tuple[int, ...], content: bytes = b"") -> bytes:
    tensor = _field(1, _TYPES[dtype]) + _field(2, _shape(shape)) + (_field(4, content) if content else b"")
    return _node(name, "Const", dtype=_field(6, _TYPES[dtype]), value=_field(8, tensor))


def _integers(name: str, *values: int) -> bytes:
    return _constant(name, "int32", (len(values),), struct.pack(f"<{len(values)}i", *values))


def _ints(*values: int) -> bytes:
    return _field(1, b"".join(_field(3, value) for value in values))


def _network(path: Path, batch: int, first: str = "x") -> Path:
    """8x8x2 -> convolution 3x3 to 4, pooling, flattening by arithmetic on the shape, a dense layer to 5."""
    path.write_bytes(
        _node(first, "Placeholder", dtype=_field(6, 1), shape=_field(7, _shape((batch, 8, 8, 2))))
        + _constant("w", "float32", (3, 3, 2, 4))
        + _constant("v", "float32", (64, 5))
        + _node("c", "Conv2D", (first, "w"), T=_field(6, 1), strides=_ints(1, 1, 1, 1), padding=_field(2, b"SAME"))
        + _node("r", "Relu", ("c",), T=_field(6, 1))
        + _node("p", "MaxPool", ("r",), T=_field(6, 1), ksize=_ints(1, 2, 2, 1), strides=_ints(1, 2, 2, 1),
                padding=_field(2, b"VALID"))
        + _node("s", "Shape", ("p",), T=_field(6, 1), out_type=_field(6, 3))
        + _constant("b", "int32", (1,))  # all zeros are written as nothing
        + _integers("e", 1)
        + _node("n", "StridedSlice", ("s", "b", "e", "e"), T=_field(6, 3), shrink_axis_mask=_field(3, 1))
        + _constant("m", "int32", (), struct.pack("<i", 64))
        + _node("k", "Pack", ("n", "m"), T=_field(6, 3))
        + _node("f", "Reshape", ("p", "k"), T=_field(6, 1))
        + _node("y", "MatMul", ("f", "v"), T=_field(6, 1))
    )  # fmt: skip
    return path


@pytest.mark.parametrize("batch", [1, -1])
def test_a_frozen_graph_is_counted(tmp_path: Path, batch: int) -> None:
    summary = inspect_file(_network(tmp_path / "made.pb", batch))
    assert summary["macs"] == 8 * 8 * 4 * 18 + 64 * 5
    assert summary["parameters"] == 72 + 320
    assert summary["peak_activation_bytes"] is not None
    assert summary["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1 if batch == 1 else None, 5]}]


def test_an_open_size_can_be_set(tmp_path: Path) -> None:
    path = _network(tmp_path / "made.pb", -1)
    assert inspect_file(path, {"x:0": 4})["macs"] == 4 * (inspect_file(path)["macs"] or 0)


@pytest.mark.parametrize("mark", ["<", "{"])
def test_a_graph_that_begins_like_text_is_none(tmp_path: Path, mark: str) -> None:
    # The first bytes are a field's tag, which is a line feed, and the length of the first node.
    for length in range(1, 120):
        path = _network(tmp_path / "made.pb", 1, "x" * length)
        if path.read_bytes()[1:2] == mark.encode():
            break
    assert path.read_bytes().startswith(b"\n" + mark.encode())
    assert read_model(path).format == "graphdef"


def test_loops_of_old_graphs_are_no_circle(tmp_path: Path) -> None:
    path = tmp_path / "made.pb"
    path.write_bytes(
        _node("x", "Placeholder", dtype=_field(6, 1), shape=_field(7, _shape((4,))))
        + _node("enter", "Enter", ("x",), T=_field(6, 1))
        + _node("merge", "Merge", ("enter", "next"), T=_field(6, 1))
        + _node("next", "NextIteration", ("again",), T=_field(6, 1))
        + _node("again", "Relu", ("merge",), T=_field(6, 1))
        + _node("exit", "Exit", ("merge",), T=_field(6, 1))
    )
    assert not any("circle" in warning for warning in read_model(path).warnings)


_RULES: list[tuple[str, dict[str, object], list[Shape], list[Values], Shape]] = [
    ("DepthwiseConv2dNative", {"strides": [1, 2, 2, 1], "padding": "SAME"}, [(1, 9, 9, 4), (3, 3, 4, 2)], [],
     (1, 5, 5, 8)),
    ("Conv2D", {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": [1, 2, 2, 1]},
     [(1, 9, 9, 4), (3, 3, 4, 2)], [], (1, 5, 5, 2)),
    ("Conv2D", {"strides": [1, 1, 2, 2], "padding": "SAME", "data_format": "NCHW"}, [(1, 4, 9, 9), (3, 3, 4, 2)], [],
     (1, 2, 5, 5)),
    ("MatMul", {"transpose_a": True, "transpose_b": True}, [(3, 2), (5, 3)], [], (2, 5)),
    ("BatchMatMulV2", {}, [(4, 1, 2, 3), (7, 3, 5)], [], (4, 7, 2, 5)),
    ("ConcatV2", {}, [(1, 2, 3), (1, 2, 4), ()], [None, None, (-1,)], (1, 2, 7)),
    ("Reshape", {}, [(2, 3, 4), (2,)], [None, (-1, 12)], (2, 12)),
    ("Pad", {}, [(1, 5), (2, 2)], [None, (0, 0, 1, 2)], (1, 8)),
    ("ResizeBilinear", {}, [(1, 4, 4, 3), (2,)], [None, (8, 6)], (1, 8, 6, 3)),
    ("Mean", {"keep_dims": False}, [(1, 4, 4, 3), (2,)], [None, (1, 2)], (1, 3)),
    ("AddV2", {}, [(4, 1, 3), (5, 3)], [], (4, 5, 3)),
    ("StridedSlice", {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 2}, [(4, 5, 6), (2,), (2,), (2,)],
     [None, (0, 1), (0, 2), (1, 1)], (4, 6)),
    ("Transpose", {}, [(1, 2, 3), (3,)], [None, (0, 2, 1)], (1, 3, 2)),
    ("Einsum", {"equation": "abc,cd->abd"}, [(1, 2, 3), (3, 7)], [], (1, 2, 7)),
    ("Concat", {}, [(), (1, 2), (1, 3)], [(9,), None, None], None),
    ("Custom", {}, [(1,)], [], None),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes", "shapes", "values", "expected"), _RULES)
def test_rules(
    op: str, attributes: dict[str, object], shapes: list[Shape], values: list[Values], expected: Shape
) -> None:
    known = values or [None] * len(shapes)
    assert shape_of(Call(op, attributes, shapes, known)) == expected


def test_numbers() -> None:
    def of(op: str, *values: Values) -> Values:
        return values_of(Call(op, {}, [(len(each or ()),) for each in values], list(values)))

    assert of("Mul", (2, 3), (4,)) == (8, 12)
    assert of("Prod", (2, 3, 4), (0,)) == (24,)
    assert of("FloorDiv", (7,), (0,)) is None
    assert of("GatherV2", (5, 6, 7), (2, 0)) == (7, 5)
