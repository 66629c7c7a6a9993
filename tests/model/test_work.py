"""Of every operator of every format it is said what it multiplies and adds: so much, nothing that counts, unknown."""

from __future__ import annotations

import json

import onnx
import pytest

from edgestudio.assets import resource
from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.totals.analysis import analyse
from edgestudio.model.totals.frames import frame_trips
from edgestudio.model.totals.mac_table import RULES, count, free_operators
from edgestudio.model.totals.macs import Call

_WORK = json.loads(resource("formats", "work.json").read_text(encoding="utf-8"))
_CORE_ML = json.loads(resource("formats", "coreml.json").read_text(encoding="utf-8"))


def _schema(dialect: str) -> set[str]:
    if dialect == "onnx":
        return {each.name for each in onnx.defs.get_all_schemas_with_history()}
    if dialect == "tflite":
        return set(json.loads(resource("formats", "tflite.json").read_text(encoding="utf-8"))["operators"])
    if dialect == "coreml":
        layers = _CORE_ML["messages"]["NeuralNetworkLayer"].items()
        return {row[0] for number, row in layers if int(number) >= 100} | set(_CORE_ML["types"].values())
    return set()


@pytest.mark.parametrize("dialect", [each for each in _WORK if each != "about"])
def test_each_operator_is_said_once(dialect: str) -> None:
    free, unknown = (_WORK[dialect][kind].split() for kind in ("free", "unknown"))
    named = [*free, *unknown, *RULES[dialect]]
    assert len(named) == len(set(named)), sorted(name for name in set(named) if named.count(name) > 1)
    assert _schema(dialect) <= set(named), sorted(_schema(dialect) - set(named))


@pytest.mark.parametrize(
    ("format_name", "op", "domain"),
    [
        ("tflite", "RFFT2D", ""), ("tflite", "FlexFFT2D", "custom"), ("tflite", "FlexNobodyKnows", "custom"),
        ("tflite", "OPERATOR_300", ""), ("tflite", "MyOwn", "custom"), ("onnx", "DFT", ""), ("onnx", "Relu", "own"),
        ("onnx", "MoE", "com.microsoft"), ("graphdef", "FFT", ""), ("savedmodel", "XlaCallModule", ""),
        ("openvino", "DFT", ""), ("coreml", "custom", ""), ("coreml", "loop", ""), ("keras", "Lambda", ""),
        ("keras", "NobodyKnows", ""), ("torchscript", "aten::fft_rfft", ""), ("torchscript", "own::op", ""),
        ("torch-export", "aten.fft_rfft.default", ""), ("savedmodel", "PartitionedCall", ""),
    ],
)  # fmt: skip
def test_work_that_is_not_known_is_not_nothing(format_name: str, op: str, domain: str) -> None:
    assert count(format_name, Call(Node("made", op, domain=domain), [(2, 3)], [(2, 3)])) is None
    tensors = (Tensor("x", "float32", (2, 3), "input"), Tensor("y", "float32", (2, 3), "output"))
    graph = Graph("made", (Node("made", op, (0,), (1,), domain=domain),), tensors, (0,), (1,))
    found = analyse(Model(format_name, None, None, {}, (graph,), 0))
    assert (found.macs, dict(found.macs_unknown)) == (None, {op: 1})


@pytest.mark.parametrize(
    ("format_name", "op"),
    [
        ("tflite", "FlexErf"), ("onnx", "Relu"), ("torchscript", "aten::add_"), ("torchscript", "prim::ListConstruct"),
        ("torch-export", "aten.view.default"), ("torch-export", "_operator.mul"), ("keras", "Dropout"),
        ("openvino", "ShapeOf"), ("coreml", "reshapeStatic"), ("graphdef", "Softmax"),
    ],
)  # fmt: skip
def test_free_operators_count_nothing(format_name: str, op: str) -> None:
    domain = "custom" if op.startswith("Flex") else ""
    assert count(format_name, Call(Node("made", op, domain=domain), [(2, 3)], [(2, 3)])) == 0


_STEPS = (2, 5, 8)  # samples, steps, features
_COUNTED = [
    ("tflite", "LSTM", {}, [(2, 8), (2, 6), (24, 14), (24,), (2, 6)], [(2, 6)], 2 * 24 * 14),
    ("tflite", "UNIDIRECTIONAL_SEQUENCE_LSTM", {}, [_STEPS, *[(6, 8)] * 4, *[(6, 6)] * 4, *[None] * 3, *[(6,)] * 4,
     (3, 6), None, (2, 3), (2, 6)], [(2, 5, 3)], 10 * (4 * 48 + 4 * 36 + 18)),
    ("tflite", "BIDIRECTIONAL_SEQUENCE_RNN", {}, [_STEPS, (6, 8), (6, 6), (6,), (2, 6), (7, 8), (7, 7), (7,), (2, 7)],
     [(2, 5, 6)], 10 * (48 + 36 + 56 + 49)),
    ("tflite", "STABLEHLO_DOT_GENERAL", {"lhs_contracting_dimensions": [1]}, [(3, 5, 2), (5, 7)], [(3, 2, 7)], 42 * 5),
    ("tflite", "STABLEHLO_CONVOLUTION", {"kernel_output_feature_dimension": 3}, [(1, 8, 8, 2), (3, 3, 2, 4)],
     [(1, 8, 8, 4)], 256 * 18),
    ("tflite", "FlexConv3D", {}, [(1, 4, 4, 4, 2), (3, 3, 3, 2, 5)], [(1, 4, 4, 4, 5)], 320 * 54),
    ("coreml", "gru", {}, [(5, 1, 8, 1, 1), *[(6, 8)] * 3, *[(6, 6)] * 3], [(5, 1, 6, 1, 1)], 5 * 3 * (48 + 36)),
    ("coreml", "convolution3d", {"isDeconvolution": True}, [(1, 8, 4, 3, 4), (8, 4, 2, 2, 2)], [(1, 4, 8, 6, 8)],
     384 * 32),
    ("openvino", "LSTMCell", {}, [(2, 8), (2, 6), (2, 6), (24, 8), (24, 6), (24,)], [(2, 6)], 2 * 24 * 14),
    ("openvino", "RNNSequence", {}, [_STEPS, (2, 1, 6), (2,), (1, 6, 8), (1, 6, 6), (1, 6)], [(2, 1, 5, 6)],
     10 * (48 + 36)),
    ("savedmodel", "BlockLSTM", {}, [(), (5, 2, 8), (2, 6), (2, 6), (14, 24)], [(5, 2, 6)], 10 * 14 * 24),
    ("savedmodel", "DepthwiseConv2dNativeBackpropInput", {}, [(4,), (3, 3, 4, 2), (1, 5, 5, 8)], [(1, 10, 10, 4)],
     200 * 9),
    ("onnx", "MultiHeadAttention", {}, [(1, 2, 8), (1, 2, 8), (1, 2, 8), None, None, None, (1, 2, 3, 4)], [(1, 2, 8)],
     2 * 16 * 5),
    ("torchscript", "aten::lstm_cell", {}, [(2, 8), (2, 6), (2, 6), (24, 8), (24, 6), (24,), (24,)], [(2, 6)],
     2 * 24 * 14),
    ("torchscript", "quantized::conv_transpose2d", {}, [(1, 8, 4, 4), (8, 3, 2, 2)], [(1, 3, 8, 8)], 128 * 12),
    ("keras", "Dot", {"axes": [2, 1]}, [(2, 3, 5), (2, 5, 7)], [(2, 3, 7)], 42 * 5),
    ("keras", "TFOpLambda", {"function": "linalg.matmul"}, [(2, 3, 5), (2, 5, 7)], [(2, 3, 7)], 42 * 5),
]  # fmt: skip


@pytest.mark.parametrize(("format_name", "op", "attributes", "ins", "outs", "expected"), _COUNTED)
def test_formulas(
    format_name: str,
    op: str,
    attributes: dict[str, object],
    ins: list[object],
    outs: list[object],
    expected: int,
) -> None:
    domain = "custom" if op.startswith("Flex") else "com.microsoft" if op == "MultiHeadAttention" else ""
    node = Node("made", op, tuple(range(len(ins))), attributes=attributes, domain=domain)
    assert count(format_name, Call(node, ins, outs)) == expected  # type: ignore[arg-type]  # shapes or None


def test_a_format_that_others_read_has_no_free_operators() -> None:
    assert free_operators("caffe") == frozenset()


def _lowered(limit: int | None) -> Graph:
    """i, x = 2, x; while i < limit: i, x = i + 1, x @ w, as TensorFlow 1 writes it into a graph."""
    number = {"dtype": "int32", "shape": ()}
    tensors = (
        Tensor("x", "float32", (3, 4), "input"), Tensor("w", "float32", (4, 4), "constant"),
        Tensor("start", **number, values=(2,)), Tensor("limit", **number, values=None if limit is None else (limit,)),
        Tensor("i0", **number), Tensor("n", **number), Tensor("i", **number), Tensor("i2", **number),
        Tensor("less", "bool", ()), Tensor("go", "bool", ()), Tensor("inside", **number), Tensor("more", **number),
        Tensor("x0", "float32", (3, 4)), Tensor("xm", "float32", (3, 4)), Tensor("xs", "float32", (3, 4)),
        Tensor("x1", "float32", (3, 4)), Tensor("x2", "float32", (3, 4)), Tensor("y", "float32", (3, 4), "output"),
        Tensor("w0", "float32", (4, 4)),
    )  # fmt: skip
    at = {tensor.name: index for index, tensor in enumerate(tensors)}

    def node(op: str, reads: str, writes: str, frame: str = "") -> Node:
        places = [tuple(at[name] for name in names.split()) for names in (reads, writes)]
        return Node(writes, op, *places, {"frame_name": frame} if frame else {})

    nodes = (
        node("Enter", "start", "i0", "loop"), node("Enter", "limit", "n", "loop"), node("Enter", "x", "x0", "loop"),
        node("Enter", "w", "w0", "loop"), node("Merge", "i0 i2", "i"), node("Merge", "x0 x2", "xm"),
        node("Less", "i n", "less"), node("LoopCond", "less", "go"), node("Switch", "i go", "inside"),
        node("Switch", "xm go", "xs"), node("AddV2", "inside", "more"), node("MatMul", "xs w0", "x1"),
        node("NextIteration", "more", "i2"), node("NextIteration", "x1", "x2"), node("Exit", "xm", "y"),
        node("MatMul", "y w", "x1"),
    )  # fmt: skip
    return Graph("lowered", nodes, tensors, (0,), (at["y"],))


@pytest.mark.parametrize(("limit", "rounds"), [(9, 7), (None, None), (2, None)])
def test_a_loop_that_was_lowered_into_the_graph_runs_as_often_as_it_says(
    limit: int | None, rounds: int | None
) -> None:
    graph = _lowered(limit)
    assert {at: frame_trips(graph).get(at) for at in (11, 15)} == {11: rounds, 15: None}
    found = analyse(Model("graphdef", None, None, {}, (graph,), 0))
    assert found.macs == (None if rounds is None else (rounds + 1) * 3 * 16)
    assert dict(found.macs_unknown) == ({} if rounds else {"MatMul": 1})
