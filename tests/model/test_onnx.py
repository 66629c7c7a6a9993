"""ONNX: functions, subgraphs, external data, quantisation, shapes, and the figures added up from them."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.model import graph as graphs
from edgestudio.model.inspection import inspect_file
from edgestudio.model.reading import read_model
from edgestudio.wire.errors import ModelError
from tests.model.made import convolution, onnx_model


def test_totals_of_a_known_network(tmp_path: Path) -> None:
    summary = inspect_file(convolution(tmp_path / "made.onnx"))
    assert summary["macs"] == 8 * 16 * 16 * 27 + 80
    assert summary["parameters"] == 224 + 90
    assert summary["weight_bytes"] == {"float32": 4 * 314}
    # Input 3x16x16 and both sides of the activation 8x16x16 cannot all be alive: at Relu, in and out are.
    assert summary["peak_activation_bytes"] == 4 * 2 * 8 * 16 * 16
    assert summary["peak_activation_node"] == "/stem/act/Relu"
    assert summary["dimensions"] == {"N": 1}
    assert summary["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 3, 16, 16]}]


def test_what_an_unknown_operator_computes_is_unknown_not_nothing(tmp_path: Path) -> None:
    node = helper.make_node("FusedDetector", ["x"], ["y"], "detector", domain="com.example.vision")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([node], "custom", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example.vision", 1)]
    path = tmp_path / "custom.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    summary = inspect_file(path)
    assert summary["macs"] is None
    assert summary["macs_unknown"] == {"FusedDetector": 1}


def test_symbolic_dimensions_can_be_set(tmp_path: Path) -> None:
    path = convolution(tmp_path / "made.onnx")
    one, four = inspect_file(path), inspect_file(path, {"N": 4})
    assert four["macs"] == 4 * one["macs"]
    assert four["peak_activation_bytes"] == 4 * one["peak_activation_bytes"]
    assert four["inputs"] == one["inputs"]


def test_a_graph_survives_saving(tmp_path: Path) -> None:
    model = read_model(convolution(tmp_path / "made.onnx"))
    graphs.save(model, tmp_path / "graph.json")
    assert graphs.load(tmp_path / "graph.json") == model
    assert model.main.nodes[0].scope == "stem/conv"
    assert model.main.nodes[0].attributes == {"pads": [1, 1, 1, 1]}


def test_what_a_graph_repeats_is_in_memory_once(tmp_path: Path) -> None:
    attributes = ({"a": 1}, {"a": 1}, {"a": 1.0}, {"a": True})
    nodes = tuple(
        graphs.Node(f"n{i}", "Op", (2000 + i, -1), (2001 + i,), {"kernel": [each]}, macs=5000)
        for i, each in enumerate(attributes)
    )
    values = [(1, 2), (1, 2), (1.0, 2), *[None] * 2007]
    tensors = tuple(graphs.Tensor(f"t{i}", "float32", (1, "N"), values=each) for i, each in enumerate(values))
    model = graphs.Model(
        "onnx", None, None, {}, (graphs.Graph("g", nodes, tensors, (2000,), (2004,)),), size_bytes=1
    )
    graphs.save(model, tmp_path / "graph.json")
    read = graphs.load(tmp_path / "graph.json")
    assert read == model
    first, second, *others = read.main.nodes
    assert first.attributes is second.attributes
    assert [repr(each.attributes) for each in others] == [
        "{'kernel': [{'a': 1.0}]}",
        "{'kernel': [{'a': True}]}",
    ]
    assert first.outputs[0] is second.inputs[0]
    one, same, other = (tensor.values for tensor in read.main.tensors[:3])
    assert one is same
    assert repr(other) == "(1.0, 2)"
    told = replace(model, graphs=(replace(model.main, nodes=(replace(nodes[0], macs=6), *nodes[1:])),))
    graphs.save(told, tmp_path / "told.json")
    again = graphs.load(tmp_path / "told.json", read)
    assert again == told
    assert again.main.nodes[1] is second
    assert again.main.nodes[0].name is first.name
    assert again.main.nodes[0].inputs is first.inputs


def test_the_ends_of_some_tensors_are_those_among_all() -> None:
    nodes = (
        graphs.Node("a", "Op", (0, -1, 0), (1, 2)),
        graphs.Node("b", "Op", (1, 0), (3,)),
        graphs.Node("c", "Op", (3, -1), (4, -1)),
    )
    graph = graphs.Graph("g", nodes, tuple(graphs.Tensor(f"t{i}") for i in range(5)), (0,), (4,))
    producers, consumers = graph.producers(), graph.consumers()
    for some in ((0,), (1, 3, -1), (2, 4), range(5)):
        writers, readers = graph.ends(some)
        assert writers == {tensor: producers[tensor] for tensor in some if tensor in producers}
        assert readers == {tensor: consumers[tensor] for tensor in some if tensor in consumers}


def test_subgraphs_and_functions_become_graphs(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", 1, [1, 4])],
    )
    other = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["e"], domain="own")],
        "else",
        [],
        [helper.make_tensor_value_info("e", 1, [1, 4])],
    )
    function = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    path = onnx_model(
        tmp_path / "made.onnx",
        [helper.make_node("If", ["c"], ["y"], "choice", then_branch=branch, else_branch=other)],
        {"x": [1, 4], "c": []},
        {"y": [1, 4]},
        {"w": np.zeros((4, 4), np.float32)},
        functions=[function],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )
    model = read_model(path)
    assert [graph.name for graph in model.graphs[:2]] == ["made", "Twice"]
    assert set(model.main.nodes[0].subgraphs) == {2, 3}
    bodies = {graph.name: graph for graph in model.graphs}
    assert bodies["else"].nodes[0].subgraphs == (1,)
    assert bodies["then"].nodes[0].op == "MatMul"
    assert model.warnings == ()
    summary = inspect_file(path)
    assert summary["macs"] == 16
    assert summary["nodes"] == 1
    assert summary["operators_with_subgraphs"]["MatMul"] == 1


def test_quantisation_is_found_in_the_operators_around(tmp_path: Path) -> None:
    weights = {
        "w": np.zeros((2, 4), np.int8),
        "ws": np.array([0.5, 0.25], np.float32),
        "wz": np.zeros(2, np.int8),
        "s": np.float32(0.1).reshape(()),
        "z": np.uint8(128).reshape(()),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Gemm", ["d", "wd"], ["y"], transB=1),
    ]
    path = onnx_model(tmp_path / "made.onnx", nodes, {"x": [1, 4]}, {"y": [1, 2]}, weights)
    tensors = {tensor.name: tensor for tensor in read_model(path).main.tensors}
    assert tensors["w"].quantization == graphs.Quantization((0.5, 0.25), (0, 0), 0, "int8")
    quantized = tensors["q"].quantization
    assert quantized is not None
    assert (quantized.scale, quantized.zero_point) == (pytest.approx((0.1,)), (128,))
    summary = inspect_file(path)
    assert summary["quantization"] == {
        "kind": "static", "weights": "int8", "activations": "uint8", "per_channel": True, "tensors": 2,
    }  # fmt: skip
    assert summary["parameters"] == 8
    assert summary["macs"] == 8


def test_weights_outside_of_the_file_are_not_read(tmp_path: Path) -> None:
    path = _with_external_data(tmp_path, "made.data")
    # Three gigabytes on paper, nothing on the disk: a file with a hole.
    with (tmp_path / "made.data").open("wb") as file:
        file.truncate(3_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = inspect_file(path)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 300
    assert summary["size_bytes"] > 3_000_000_000
    assert summary["parameters"] == 750_000_000
    assert summary["macs"] == 750_000_000
    assert summary["warnings"] == []
    assert read_model(path).companions == ("made.data",)


def test_missing_and_short_weights_are_told(tmp_path: Path) -> None:
    path = _with_external_data(tmp_path, "made.data")
    assert "made.data with 1 weights is missing" in inspect_file(path)["warnings"][0]
    (tmp_path / "made.data").write_bytes(bytes(100))
    assert "shorter than the weights" in inspect_file(path)["warnings"][0]


@pytest.mark.parametrize(
    "location", ["../x", "/etc/hostname", "a/../../x", "C:\\x", "\\\\host\\x", "", "link"]
)
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "x").write_bytes(bytes(10))
    (tmp_path / "model" / "link").symlink_to(tmp_path / "x")
    path = _with_external_data(tmp_path / "model", location)
    with pytest.raises(ModelError, match="outside of its folder") as caught:
        inspect_file(path)
    assert caught.value.code == "hostile-model"


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    from edgestudio.model.content import opened

    path = convolution(tmp_path / "made.onnx")
    with pytest.raises(ModelError, match="changed while"):
        with opened(path):
            path.write_bytes(b"something else")


def test_large_weights_are_skipped_and_small_ones_kept(tmp_path: Path) -> None:
    weights = {"big": np.zeros((64, 64), np.float32), "shape": np.array([8, -1], np.int64)}
    nodes = [
        helper.make_node("MatMul", ["x", "big"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    path = onnx_model(tmp_path / "made.onnx", nodes, {"x": [2, 64]}, {"y": [None, None]}, weights)
    tensors = {tensor.name: tensor for tensor in read_model(path).main.tensors}
    assert tensors["shape"].values == (8, -1)
    assert tensors["big"].values is None
    from edgestudio.model.formats.onnx_skeleton import skeleton

    small = skeleton(memoryview(path.read_bytes()))
    assert len(small) < 1000
    assert [list(init.dims) for init in onnx.load_model_from_string(small).graph.initializer] == [
        [64, 64],
        [2],
    ]
    assert inspect_file(path)["outputs"] == [{"name": "y", "dtype": "float32", "shape": [8, 16]}]


def _with_external_data(folder: Path, location: str) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[750_000, 1000])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "3000000000")):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "made",
        [helper.make_tensor_value_info("x", 1, [1, 750_000])],
        [helper.make_tensor_value_info("y", 1, [1, 1000])],
        [tensor],
    )
    path = folder / "made.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    return path


def test_typed_lists_are_read_like_raw_bytes(tmp_path: Path) -> None:
    listed = helper.make_tensor("listed", TensorProto.INT64, [3], [1, -2, 3])
    raw = numpy_helper.from_array(np.array([1, -2, 3]), "raw")
    graph = helper.make_graph(
        [helper.make_node("Add", ["listed", "raw"], ["y"])],
        "made",
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [3])],
        [listed, raw],
    )
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(graph), path)
    assert [tensor.values for tensor in read_model(path).main.tensors[:2]] == [(1, -2, 3), (1, -2, 3)]
