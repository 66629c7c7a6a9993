"""What files of real exporters brought to light, each as small as it can be made."""

from __future__ import annotations

import ast
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.model.formats.coreml_network_shapes import output_shape
from edgestudio.model.formats.pickle_text import Made, Named
from edgestudio.model.formats.tflite_shapes import infer_shapes
from edgestudio.model.formats.torch_code import CodeReader
from edgestudio.model.formats.torch_parts import Methods
from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.inspection import inspect_file
from edgestudio.model.reading import read_model
from edgestudio.model.totals.analysis import analyse
from edgestudio.model.totals.mac_table import count
from edgestudio.model.totals.macs import Call
from tests.model.made import onnx_model


def _read(source: str, module: Made) -> Graph:
    methods = Methods()
    methods.add("__torch__", ast.parse(source))
    reader = CodeReader(methods, [])
    reader.read(module)
    return reader.graphs[0]


def test_submodules_with_numbers_for_names_are_followed() -> None:
    inner = Made(Named("__torch__.Inner"), ())
    inner.state = {}
    outer = Made(Named("__torch__.Outer"), ())
    outer.state = {"0": inner}
    graph = _read(
        "class Inner:\n  def forward(self, x):\n    return torch.relu(x)\n"
        'class Outer:\n  def forward(this, x):\n    _0 = getattr(this, "0")\n    return (_0).forward(x)\n',
        outer,
    )
    assert [node.op for node in graph.nodes] == ["aten::relu"]


def test_values_from_around_a_branch_have_shapes(tmp_path: Path) -> None:
    then = helper.make_graph([helper.make_node("MatMul", ["r", "w"], ["t"])], "then", [],
                             [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])  # fmt: skip
    other = helper.make_graph([helper.make_node("Identity", ["r"], ["e"])], "else", [],
                              [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)])  # fmt: skip
    path = onnx_model(
        tmp_path / "made.onnx",
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
            helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        ],
        {"x": [1, 4]},
        {"y": [1, 4]},
        {"w": np.ones((4, 4), np.float32)},
    )
    assert inspect_file(path)["macs"] == 16


def test_recurrent_layers_of_pytorch_count_their_matrices() -> None:
    node = Node("lstm", "aten.lstm.input")
    shapes = [(1, 7, 16), (4, 1, 32), (4, 1, 32), (128, 16), (128, 32), (128,), (128,)]
    assert count("torch-export", Call(node, shapes, [(1, 7, 32)])) == 7 * (128 * 16 + 128 * 32)


def test_states_of_a_recurrent_layer_are_no_weights() -> None:
    node = Node("lstm", "lstm")
    shapes = [(7, 1, 16), (128, 16), (128, 32), (128,), (1, 32), (1, 32)]
    assert count("coreml", Call(node, shapes, [(7, 1, 32)])) == 7 * (128 * 16 + 128 * 32)


def test_attention_of_keras_is_counted() -> None:
    node = Node("mha", "MultiHeadAttention", attributes={"num_heads": 2, "key_dim": 8})
    shapes = [(1, 10, 16), (1, 10, 16), (16, 2, 8)]
    expected = 4 * 10 * 16 * 16 + 2 * 10 * 10 * 2 * 8
    assert count("keras", Call(node, shapes, [(1, 10, 16)])) == expected


def test_a_branch_counts_once_in_torch_export() -> None:
    def branch(name: str) -> Graph:
        tensors = (Tensor("x", "float32", (2, 4), "input"), Tensor("w", "float32", (4, 4), "constant"),
                   Tensor("y", "float32", (2, 4), "output"))  # fmt: skip
        return Graph(name, (Node("linear", "aten.linear.default", (0, 1), (2,)),), tensors, (0,), (2,))

    tensors = (Tensor("x", "float32", (2, 4), "input"), Tensor("y", "float32", (2, 4), "output"))
    main = Graph("main", (Node("c", "higher_order.cond", (0,), (1,), subgraphs=(1, 2)),), tensors, (0,), (1,))
    model = Model("torch-export", None, None, {}, (main, branch("a"), branch("b")), 0)
    assert analyse(model).macs == 32


@pytest.mark.parametrize("op", ["constexpr_lut_to_dense", "constexpr_blockwise_shift_scale"])
def test_compressed_weights_count_as_what_they_unpack_to(op: str) -> None:
    tensors = (
        Tensor("x", "float16", (1, 8), "input"),
        Tensor("indices", "uint4", (4, 8), "constant", 16),
        Tensor("table", "float16", (1, 1, 16, 1), "constant", 32),
        Tensor("w", "float16", (4, 8)),
        Tensor("y", "float16", (1, 4), "output"),
    )
    nodes = (Node("unpack", op, (1, 2), (3,)), Node("linear", "linear", (0, 3), (4,)))
    analysis = analyse(Model("coreml", None, None, {}, (Graph("main", nodes, tensors, (0,), (4,)),), 0))
    assert analysis.parameters == 32
    assert analysis.weight_bytes == {"uint4": 16}
    assert analysis.peak_activation_bytes == 16 + 8


def test_nested_keras_models_and_classes_of_their_own(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    layers = [
        {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [None, 4]}},
        {
            "class_name": "Sequential",
            "config": {
                "name": "sub",
                "layers": [
                    {"class_name": "InputLayer", "config": {"name": "j", "batch_shape": [None, 4]}},
                    {"class_name": "Dense", "config": {"name": "inner", "units": 2}},
                ],
            },
        },
    ]
    config = {"class_name": "Sequential", "config": {"name": "outer", "layers": layers}}
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "3.15.1"
        file.create_dataset("model_weights/sub/sub/inner/kernel", data=np.zeros((4, 2), np.float32))
        file.create_dataset("model_weights/sub/sub/inner/bias", data=np.zeros(2, np.float32))
    summary = inspect_file(tmp_path / "made.h5")
    assert (summary["parameters"], summary["macs"]) == (10, 8)

    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_dataset("d/vars/0", data=np.zeros((3, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Own", "config": {}}))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    assert [weight.shape for weight in read_model(tmp_path / "own.keras").weights] == [(3, 4)]


def test_loops_count_their_known_trips(tmp_path: Path) -> None:
    def value(name: str, shape: list[int] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node("MatMul", ["s", "w"], ["o"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("s", [1, 4])],
        [value("d", [], TensorProto.BOOL), value("o", [1, 4])],
    )
    step = helper.make_graph(
        [helper.make_node("Add", ["h", "v"], ["g"]), helper.make_node("MatMul", ["g", "w"], ["z"])],
        "step",
        [value("h", [1, 4]), value("v", [1, 4])],
        [value("g", [1, 4]), value("z", [1, 4])],
    )
    path = onnx_model(
        tmp_path / "made.onnx",
        [
            helper.make_node("Loop", ["trips", "on", "x"], ["y"], body=body),
            helper.make_node("Scan", ["x", "many"], ["last", "all"], body=step, num_scan_inputs=1),
        ],
        {"x": [1, 4], "many": [5, 1, 4]},
        {"y": [1, 4], "all": [5, 1, 4]},
        {"w": np.ones((4, 4), np.float32), "trips": np.array(3), "on": np.array(True)},
    )
    assert inspect_file(path)["macs"] == 3 * 16 + 5 * 16


def test_a_nested_keras_2_model_is_called_a_second_time(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")

    def layer(kind: str, name: str, inbound: list[object], **config: object) -> dict[str, object]:
        return {
            "class_name": kind,
            "name": name,
            "config": {"name": name, **config},
            "inbound_nodes": inbound,
        }

    inner = {"class_name": "Dense", "config": {"name": "inner", "units": 2}}
    layers = [
        layer("InputLayer", "i", [], batch_input_shape=[None, 4]),
        layer("Sequential", "sub", [[["i", 0, 0, {}]]], layers=[inner]),
        layer("Dense", "end", [[["sub", 1, 0, {}]]], units=3),
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["i", 0, 0]], "output_layers": [["end", 0, 0]]}
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        file.create_dataset("model_weights/sub/inner/kernel:0", data=np.zeros((4, 2), np.float32))
        file.create_dataset("model_weights/end/end/kernel:0", data=np.zeros((2, 3), np.float32))
    summary = inspect_file(tmp_path / "made.h5")
    assert not summary["warnings"]
    assert [each["name"] for each in summary["outputs"]] == ["end"]
    assert (summary["nodes"], summary["parameters"]) == (2, 14)


def test_a_transposed_layer_of_a_core_ml_network() -> None:
    node = Node("up", "convolution", attributes={"isDeconvolution": True})
    assert count("coreml", Call(node, [(1, 16, 8, 8), (16, 4, 2, 2)], [(1, 4, 16, 16)])) == 16 * 64 * 16


@pytest.mark.parametrize(
    ("op", "attributes", "shapes", "expected"),
    [
        ("innerProduct", {"inputChannels": 8, "outputChannels": 3}, [(10, 1, 8)], (10, 1, 3)),
        ("innerProduct", {"inputChannels": 8, "outputChannels": 3}, [(8, 1, 1)], (3, 1, 1)),
        ("reshapeStatic", {"targetShape": [10, 4, 2]}, [(10, 1, 8)], (10, 4, 2)),
        ("transpose", {"axes": [1, 0, 2]}, [(10, 4, 2)], (4, 10, 2)),
        ("expandDims", {"axes": [0, -1]}, [(4, 2)], (1, 4, 2, 1)),
        ("squeeze", {"axes": [-1]}, [(1, 4, 1)], (1, 4)),
        ("batchedMatmul", {"transposeB": True}, [(4, 10, 2), (4, 7, 2)], (4, 10, 7)),
        ("sliceStatic", {"beginIds": [1, 0], "endIds": [3, 0], "strides": [1, 2], "endMasks": [False, True]},
         [(5, 8)], (2, 4)),
    ],
)  # fmt: skip
def test_arrays_in_core_ml_networks(
    op: str, attributes: dict[str, object], shapes: list[tuple[int, ...]], expected: tuple[int, ...]
) -> None:
    assert output_shape(Node("made", op, attributes=attributes), shapes) == expected


def test_open_sizes_of_tflite_follow_from_the_operators() -> None:
    def graph(rows: int | None) -> Graph:
        tensors = (Tensor("x", "float32", (1, 10, 16), "input"), Tensor("r", "float32", (rows, rows)),
                   Tensor("w", "float32", (32, 16), "constant"), Tensor("f", "float32", (rows, 32)),
                   Tensor("y", "float32", (rows, 32), "output"))  # fmt: skip
        nodes = (Node("r", "RESHAPE", (0,), (1,), {"new_shape": [-1, 16]}), Node("f", "FULLY_CONNECTED", (1, 2), (3,)),
                 Node("y", "RELU", (3,), (4,)))  # fmt: skip
        return Graph("main", nodes, tensors, (0,), (4,))

    read = Model("tflite", None, None, {}, (graph(None),), 0)
    known = infer_shapes(read, {})
    assert [tensor.shape for tensor in known.main.tensors][3:] == [(10, 32), (10, 32)]
    assert analyse(read, known).macs == 10 * 16 * 32
