"""Values that a SavedModel keeps in its checkpoint, sparse tensors of TFLite, and complex safetensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from edgestudio.model.compare.diff import diff_job
from edgestudio.model.reading import read_model
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.progress import Silent
from tests.model.made import onnx_model

_FLOAT, _STRING, _RESOURCE = 1, 7, 20


def varint(value: int) -> bytes:
    """A number as protocol buffers and LevelDB write it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, value: bytes | str | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def attribute(name: str, value: bytes) -> bytes:
    """An attribute of a node."""
    return field(5, field(1, name) + field(2, value))


def node(name: str, op: str, *inputs: str, attributes: bytes = b"") -> bytes:
    """A NodeDef."""
    return field(1, name) + field(2, op) + b"".join(field(3, each) for each in inputs) + attributes


def function(name: str, arguments: dict[str, int], nodes: list[bytes], result: str = "") -> bytes:
    """A FunctionDef that gives back what `result` refers to."""
    signature = field(1, name)
    signature += b"".join(field(2, field(1, arg) + field(3, kind)) for arg, kind in arguments.items())
    ends = b""
    if result:
        signature += field(3, field(1, "out") + field(3, _FLOAT))
        ends = field(4, field(1, "out") + field(2, result))
    return field(1, signature) + b"".join(field(3, each) for each in nodes) + ends


def table(entries: dict[str, bytes]) -> bytes:
    """A LevelDB table of one block."""

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs)
        return body + struct.pack("<II", 0, 1)

    data = block(sorted((key.encode(), value) for key, value in entries.items()))
    empty = block([])
    index = block([(b"~", varint(0) + varint(len(data)))])
    at_index = len(data) + 5 + len(empty) + 5
    footer = varint(len(data) + 5) + varint(len(empty)) + varint(at_index) + varint(len(index))
    ends = b"\0" * 5
    magic = bytes.fromhex("57fb808b247547db")
    return data + ends + empty + ends + index + ends + footer.ljust(40, b"\0") + magic


def saved_model(folder: Path, first: np.ndarray, second: np.ndarray) -> Path:
    """x times two matrices whose variables have one name: only the restoring says which is which."""
    (folder / "variables").mkdir(parents=True)
    kernel = attribute("shared_name", field(2, "dense/kernel"))
    read = attribute("dtype", field(6, _FLOAT))
    answer = function(
        "answer", {"x": _FLOAT, "one": _RESOURCE, "two": _RESOURCE},
        [
            node("r1", "ReadVariableOp", "one", attributes=read),
            node("m1", "MatMul", "x", "r1:value:0"),
            node("r2", "ReadVariableOp", "two", attributes=read),
            node("m2", "MatMul", "m1:product:0", "r2:value:0"),
        ],
        "m2:product:0",
    )  # fmt: skip
    names = field(1, _STRING) + field(2, field(2, field(1, 2))) + field(8, "b/key") + field(8, "a/key")
    restore = function(
        "restore", {"first": _RESOURCE, "second": _RESOURCE},
        [
            node("names", "Const", attributes=attribute("value", field(8, names))),
            node("all", "RestoreV2", "prefix", "names:output:0", "slices"),
            node("i0", "Identity", "all:tensors:0"),
            node("i1", "Identity", "all:tensors:1"),
            node("s0", "AssignVariableOp", "second", "i0:output:0"),
            node("s1", "AssignVariableOp", "first", "i1:output:0"),
        ],
    )  # fmt: skip

    def call(name: str) -> bytes:
        return attribute("f", field(10, field(1, name)))

    graph = b"".join(
        field(1, each)
        for each in (
            node("given", "Placeholder", attributes=attribute("dtype", field(6, _FLOAT))),
            node("h1", "VarHandleOp", attributes=kernel),
            node("h2", "VarHandleOp", attributes=kernel),
            node("done", "StatefulPartitionedCall", "given", "h1", "h2", attributes=call("answer")),
            node("back", "StatefulPartitionedCall", "h1", "h2", attributes=call("restore")),
        )
    )
    graph += field(2, field(1, answer) + field(1, restore))
    ends = [field(1, field(1, "x") + field(2, field(1, "given:0") + field(2, _FLOAT)))]
    ends.append(field(2, field(1, "y") + field(2, field(1, "done:0") + field(2, _FLOAT))))
    meta = field(2, graph) + field(5, field(1, "serving_default") + field(2, b"".join(ends)))
    (folder / "saved_model.pb").write_bytes(field(1, 1) + field(2, meta))
    data, entries = b"", {"": field(1, 1)}
    for key, values in (("a/key", first), ("b/key", second)):
        raw = values.astype("<f4").tobytes()
        sizes = b"".join(field(2, field(1, size)) for size in values.shape)
        entries[key] = field(1, _FLOAT) + field(2, sizes) + field(4, len(data)) + field(5, len(raw))
        data += raw
    (folder / "variables" / "variables.index").write_bytes(table(entries))
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    return folder


def test_variables_are_compared_by_their_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(4, 4)).astype("<f4"), rng.normal(size=(4, 4)).astype("<f4")
    a = saved_model(tmp_path / "a", first, second)
    names = [tensor.name for tensor in read_model(a).main.tensors if tensor.dtype == "resource"]
    assert names == ["a/key", "b/key"]
    b = saved_model(tmp_path / "b", first, second + 0.5)
    changed = diff_job({"a": str(a), "b": str(b)}, tmp_path, Silent())["changed"]
    assert {weight["name"] for row in changed for weight in row["weights"]} == {"b/key"}
    assert all(weight["max_abs"] == pytest.approx(0.5) for row in changed for weight in row["weights"])


def test_variables_are_compared_with_another_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(4, 4)).astype("<f4"), rng.normal(size=(4, 4)).astype("<f4")
    a = saved_model(tmp_path / "a", first, second)

    def made(name: str, *matrices: np.ndarray) -> Path:
        nodes = [
            helper.make_node("MatMul", ["x", "w1"], ["m"]),
            helper.make_node("MatMul", ["m", "w2"], ["y"]),
        ]
        held = {f"w{at + 1}": each for at, each in enumerate(matrices)}
        return onnx_model(tmp_path / name, nodes, {"x": [1, 4]}, {"y": [1, 4]}, held)

    same = diff_job({"a": str(a), "b": str(made("same.onnx", first, second))}, tmp_path, Silent())
    assert (same["added"], same["removed"], same["changed"], same["unread"]) == ([], [], [], [])
    other = diff_job({"a": str(a), "b": str(made("other.onnx", first, second.T.copy()))}, tmp_path, Silent())
    assert [weight["name"] for row in other["changed"] for weight in row["weights"]] == ["w2"]


def sparse_tflite(path: Path, levels: list[Any], order: list[int], blocked: list[int], values: Any) -> Path:
    """A TFLite file whose one constant of 4 x 4 is stored sparsely."""
    tensor = schema.TensorT()
    tensor.shape, tensor.name, tensor.buffer, tensor.type = [4, 4], b"w", 1, 0
    tensor.sparsity = schema.SparsityParametersT()
    tensor.sparsity.traversalOrder, tensor.sparsity.blockMap = order, blocked
    tensor.sparsity.dimMetadata = []
    for level in levels:
        made = schema.DimensionMetadataT()
        if isinstance(level, int):
            made.format, made.denseSize = 0, level
        else:
            made.format = 1
            made.arraySegments, made.arrayIndices = schema.Uint8VectorT(), schema.Uint16VectorT()
            made.arraySegments.values, made.arrayIndices.values = level
            made.arraySegmentsType, made.arrayIndicesType = 3, 2
        tensor.sparsity.dimMetadata.append(made)
    data = schema.BufferT()
    data.data = np.frombuffer(np.asarray(values, "<f4").tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs, graph.name = [tensor], [], [], [0], b"main"
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT(), data]
    model.operatorCodes = []
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_sparse_tflite_weights_are_put_in_their_places(tmp_path: Path) -> None:
    rows = sparse_tflite(tmp_path / "rows.tflite", [4, ([0, 2, 2, 3, 3], [0, 3, 1])], [0, 1], [], [1, 2, 3])
    values = weight_loaders(rows)["w"]()
    assert values is not None
    assert values.tolist() == [[1, 0, 0, 2], [0] * 4, [0, 3, 0, 0], [0] * 4]
    # Blocks of 2 x 2, as pruned models are stored: of four blocks the first and the last hold something.
    blocks = sparse_tflite(
        tmp_path / "blocks.tflite", [2, ([0, 1, 2], [0, 1]), 2, 2], [0, 1, 2, 3], [0, 1], range(1, 9)
    )
    values = weight_loaders(blocks)["w"]()
    assert values is not None
    assert values.tolist() == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]


@pytest.mark.parametrize(
    ("levels", "order", "blocked"),
    [
        ([4, ([0, 2, 2, 3, 3], [0, 9, 1])], [0, 1], []),  # a column that is not there
        ([4, ([0, 2, 2, 3], [0, 3, 1])], [0, 1], []),  # a row too few
        ([4, ([0, 2, 1, 3, 3], [0, 3, 1])], [0, 1], []),  # rows that overlap
        ([1 << 30, ([0, 2], [0, 3])], [0, 1], []),  # more rows than anything holds
        ([4, ([0, 2, 2, 3, 3], [0, 3, 1])], [0, 0], []),  # one dimension twice
        ([4, ([0, 2, 2, 3, 3], [0, 3, 1])], [0, 1], [7]),
    ],
)
def test_sparse_weights_that_do_not_fit_have_no_values(
    tmp_path: Path, levels: list[Any], order: list[int], blocked: list[int]
) -> None:
    path = sparse_tflite(tmp_path / "odd.tflite", levels, order, blocked, [1, 2, 3])
    assert weight_loaders(path)["w"]() is None


def test_complex_safetensors_have_values(tmp_path: Path) -> None:
    waves = np.array([1 + 2j, -3j], "<c8")
    header = {"w": {"dtype": "C64", "shape": [2], "data_offsets": [0, waves.nbytes]}}
    text = json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + waves.tobytes())
    assert read_model(path).weights[0].dtype == "complex64"
    values = weight_loaders(path)["w"]()
    assert values is not None
    assert values.tolist() == waves.tolist()
