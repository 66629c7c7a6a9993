"""The check against runtimes: limits on single operators, and the smallest part that fails as a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.reading import read_model
from edgestudio.model.target_rows import findings, operators
from edgestudio.model.target_table import Limit, RuntimeTable, runtime_tables
from edgestudio.model.targets import check_job
from edgestudio.wire.progress import Silent
from tests.model.made import onnx_model


def table(word: str) -> RuntimeTable:
    return runtime_tables()[word]


def model(op: str, shape: tuple[int | str | None, ...], **attributes: Any) -> Model:
    tensors = (Tensor("x", "int8", (1, 8), "input"), Tensor("y", "int8", shape))
    graph = Graph("", (Node("n", op, (0,), (1,), attributes),), tensors, (0,), (1,))
    return Model("tflite", None, None, {}, (graph,), 0)


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "status"),
    [
        ("AVERAGE_POOL_2D", (1, 4, 4, 8), {"fused_activation_function": "NONE"}, "supported"),
        ("AVERAGE_POOL_2D", (1, 4, 4, 8), {"fused_activation_function": "RELU"}, "partial"),
        ("CONV_2D", (1, 4, 4, 8), {"dilation_w_factor": 2, "dilation_h_factor": 2}, "supported"),
        ("CONV_2D", (1, 4, 4, 8), {"dilation_w_factor": 2, "dilation_h_factor": 1}, "partial"),
        ("DEPTHWISE_CONV_2D", (1, 4, 4, 8), {"dilation_w_factor": 2, "dilation_h_factor": 2}, "supported"),
        ("DEPTHWISE_CONV_2D", (1, 4, 4, 8), {"dilation_w_factor": 1, "dilation_h_factor": 2}, "partial"),
        ("CONV_2D", (2, 4, 4, 8), {}, "partial"),
        ("FULLY_CONNECTED", (1, 10), {"weights_format": "DEFAULT"}, "supported"),
        ("FULLY_CONNECTED", (4, 10), {"weights_format": "DEFAULT"}, "partial"),
        ("FULLY_CONNECTED", (1, 10), {"weights_format": "SHUFFLED4x16INT8"}, "partial"),
        ("SOFTMAX", (1, 1000), {}, "supported"),
        ("SOFTMAX", (1, 16001), {}, "partial"),
        ("SOFTMAX", (1, 8, 10), {}, "partial"),
        ("TOPK_V2", (1, 8), {}, "partial"),
    ],
)
def test_limits_of_the_edge_tpu(
    op: str, shape: tuple[int | str | None, ...], attributes: dict[str, Any], status: str
) -> None:
    (row,) = operators(model(op, shape, **attributes), table("edge-tpu"))
    assert (row["op"], row["count"], row["status"], row["nodes"]) == (op, 1, status, [0])
    assert status == "supported" or (row["reason"] and row["remedy"])


def test_a_limit_is_a_search_that_can_be_understood() -> None:
    with pytest.raises(ValueError, match="not something to search by"):
        Limit(when="colour:red", reason="r", remedy="r")


def test_every_table_says_when_its_source_was_read() -> None:
    for each in runtime_tables().values():
        assert each.read.startswith("20")
        assert each.source.startswith(("http", "kernel registry"))
        assert set(each.notes) <= set(each.operators)
        assert not set(each.remedies) & set(each.unsupported)


def test_what_is_found_names_its_nodes() -> None:
    quantised = model("CONV_2D", (1, 8))
    whole = quantised.main
    halves = Model(
        "tflite", None, None, {},
        (Graph("", whole.nodes, (Tensor("x", "float16", (1, None), "input"), whole.tensors[1]), (0,), (1,)),), 0,
    )  # fmt: skip
    found = findings(halves, table("tflite-micro"))
    assert [(row["reason"].split(".")[0], row["nodes"]) for row in found] == [
        ("Tensors are float16", [0]),
        ("Input sizes are open", [0]),
    ]


def test_the_failing_part_of_a_tflite_model_fails_in_the_runtime_too(tmp_path: Path) -> None:
    path = made_tflite(tmp_path / "sinh.tflite")
    result = check_job({"path": str(path), "target": "litert"}, tmp_path, Silent())
    assert result["verdict"] == "does not run"
    (part,) = result["failing"]
    alone = read_model(Path(part))
    assert [node.op for node in alone.main.nodes] == ["Sinh"]
    (tmp_path / "again").mkdir()
    again = check_job({"path": part, "target": "litert"}, tmp_path / "again", Silent())
    assert again["operators"][0]["reason"] == result["operators"][0]["reason"]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(part)
    with pytest.raises(RuntimeError, match="custom op: Sinh"):
        interpreter.allocate_tensors()


def made_tflite(path: Path) -> Path:
    """RELU and a custom operator that no runtime knows."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), [1, 4], schema.TensorType.FLOAT32, 0
        return made

    def operator(code: int, read: int, write: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, [read], [write]
        return made

    relu, sinh = schema.OperatorCodeT(), schema.OperatorCodeT()
    relu.builtinCode = relu.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    sinh.builtinCode = sinh.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    sinh.customCode = b"Sinh"
    graph = schema.SubGraphT()
    graph.tensors = [tensor(name) for name in ("x", "r", "y")]
    graph.operators = [operator(0, 0, 1), operator(1, 1, 2)]
    graph.inputs, graph.outputs, graph.name = [0], [2], b"main"
    whole = schema.ModelT()
    whole.version, whole.operatorCodes, whole.subgraphs, whole.buffers = (
        3,
        [relu, sinh],
        [graph],
        [schema.BufferT()],
    )
    builder = flatbuffers.Builder(256)
    builder.Finish(whole.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_small_constants_come_along_with_the_failing_part(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Magic", ["r", "shape"], ["y"], "spell", domain="own"),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path = onnx_model(
        tmp_path / "a.onnx",
        nodes,
        {"x": [1, 4]},
        {"y": [4, 1]},
        weights={"shape": np.array([4, 1])},
        opset_imports=opsets,
    )
    result = check_job({"path": str(path), "target": "tensorrt"}, tmp_path, Silent())
    (part,) = result["failing"]
    alone = onnx.load(part)
    assert [node.op_type for node in alone.graph.node] == ["Magic"]
    assert [tensor.name for tensor in alone.graph.initializer] == ["shape"]
    assert [entry.name for entry in alone.graph.input] == ["r"]


def test_what_does_not_fail_leaves_no_part(tmp_path: Path) -> None:
    path = onnx_model(
        tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}
    )
    for target in ("onnxruntime", "edge-tpu"):  # runs; of another format as a whole
        out = tmp_path / target
        out.mkdir()
        assert check_job({"path": str(path), "target": target}, out, Silent())["failing"] == []
        assert list(out.iterdir()) == []


def test_open_sizes_fail_in_the_part_as_they_do_in_the_whole(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Sigmoid", ["r"], ["y"])]
    path = onnx_model(tmp_path / "a.onnx", nodes, {"x": [1, "width"]}, {"y": [1, "width"]})
    result = check_job({"path": str(path), "target": "hailo"}, tmp_path, Silent())
    assert [row["remedy"] for row in result["findings"]] == ["Set every dimension."]
    (part,) = result["failing"]
    assert [node.op_type for node in onnx.load(part).graph.node] == ["Relu"]
