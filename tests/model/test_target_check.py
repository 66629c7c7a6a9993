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
from edgestudio.model.target.check import check_job
from edgestudio.model.target.rows import findings, operators
from edgestudio.model.target.table import Limit, RuntimeTable, runtime_tables
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


def _with(tmp_path: Path, nodes: list[Any], functions: list[Any] = [], **inputs: list[int]) -> Path:  # noqa: B006
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1), helper.make_opsetid("local", 1)]
    weights = {"limit": np.array([2.0, 1.0, 1.0, 1.0], np.float32)}
    return onnx_model(
        tmp_path / "made.onnx", nodes, inputs or {"x": [1, 4]}, {"y": [1, 4]}, weights, opset_imports=opsets,
        functions=functions,
    )  # fmt: skip


def _body(name: str, nodes: list[Any], output: str) -> Any:
    info = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [1, 4])
    return helper.make_graph(nodes, name, [], [info])


def _failing(path: Path, target: str, folder: Path) -> list[Path]:
    result = check_job({"path": str(path), "target": target}, folder, Silent())
    parts = [Path(part) for part in result["failing"]]
    for part in parts:
        again = check_job({"path": str(part), "target": target}, folder, Silent())
        assert again["verdict"] == "does not run"
    return parts


def test_the_failing_part_of_a_branch_stands_alone(tmp_path: Path) -> None:
    """What the body reads from around it becomes an input, or comes along where it is a small constant."""
    spell = helper.make_node("Magic", ["r", "limit"], ["m"], domain="own", power=3)
    branch = helper.make_node(
        "If", ["c"], ["y"],
        then_branch=_body("t", [spell], "m"), else_branch=_body("e", [helper.make_node("Relu", ["r"], ["e"])], "e"),
    )  # fmt: skip
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("ReduceSum", ["r"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], to=onnx.TensorProto.BOOL),
        branch,
    ]
    (part,) = _failing(_with(tmp_path, nodes), "onnxruntime", tmp_path)
    made = onnx.load(part)
    assert [(node.op_type, node.attribute[0].i) for node in made.graph.node] == [("Magic", 3)]
    assert [each.name for each in made.graph.input] == ["r"]
    assert [each.name for each in made.graph.initializer] == ["limit"]


def test_an_operator_that_fails_with_its_body_takes_it_along(tmp_path: Path) -> None:
    spell = helper.make_node("Magic", ["r"], ["m"], domain="own")
    branch = helper.make_node(
        "Twice",
        ["c"],
        ["y"],
        domain="own",
        body=_body("b", [spell, helper.make_node("Relu", ["m"], ["o"])], "o"),
    )
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Abs", ["x"], ["c"]), branch]
    parts = _failing(_with(tmp_path, nodes), "onnxruntime", tmp_path)
    found = {onnx.load(part).graph.node[-1].op_type: onnx.load(part) for part in parts}
    assert set(found) <= {"Twice", "Magic"}
    assert "Magic" in found


def test_the_failing_part_of_a_function_has_its_callers_attributes(tmp_path: Path) -> None:
    spell = helper.make_node("Magic", ["a"], ["b"], domain="own")
    spell.attribute.append(
        onnx.AttributeProto(name="power", ref_attr_name="strength", type=onnx.AttributeProto.INT)
    )
    spell.attribute.append(
        onnx.AttributeProto(name="colour", ref_attr_name="hue", type=onnx.AttributeProto.INT)
    )
    inner = helper.make_function(
        "local", "Inner", ["a"], ["b"], [spell], [helper.make_opsetid("own", 1)], ["strength", "hue"]
    )
    call = helper.make_node("Inner", ["a"], ["b"], domain="local")
    call.attribute.append(
        onnx.AttributeProto(name="strength", ref_attr_name="force", type=onnx.AttributeProto.INT)
    )
    outer = helper.make_function(
        "local", "Outer", ["a"], ["b"], [call], [helper.make_opsetid("local", 1)], ["force"]
    )
    nodes = [helper.make_node("Outer", ["x"], ["y"], domain="local", force=7)]
    (part,) = _failing(_with(tmp_path, nodes, [inner, outer]), "onnxruntime", tmp_path)
    (node,) = onnx.load(part).graph.node
    assert (node.op_type, [(each.name, each.i) for each in node.attribute]) == ("Magic", [("power", 7)])


def test_the_failing_part_of_a_tflite_branch_and_the_branch_itself(tmp_path: Path) -> None:
    path = made_tflite_branch(tmp_path / "branch.tflite")
    (sinh,) = _failing(path, "litert", tmp_path)
    assert [node.op for node in read_model(sinh).main.nodes] == ["Sinh"]
    from edgestudio.model.formats.tflite_extract import write_node

    whole = tmp_path / "if.tflite"
    write_node(path, read_model(path), (0, 1), whole)
    made = read_model(whole)
    assert [[node.op for node in graph.nodes] for graph in made.graphs] == [["IF"], ["Sinh"], ["RELU"]]
    assert made.main.nodes[0].subgraphs == (1, 2)


def made_tflite_branch(path: Path) -> Path:
    """A branch of which one side is a custom operator that no runtime knows; its bodies are numbers 2 and 1."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, kind: int = schema.TensorType.FLOAT32) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), [1, 4], kind, 0
        return made

    def graph(name: str, tensors: list[Any], operators: list[Any], inputs: list[int], output: int) -> Any:
        made = schema.SubGraphT()
        made.tensors, made.operators, made.inputs, made.outputs = tensors, operators, inputs, [output]
        made.name = name.encode()
        return made

    def operator(code: int, inputs: list[int], output: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, [output]
        return made

    codes = []
    for kind in (schema.BuiltinOperator.RELU, schema.BuiltinOperator.IF, schema.BuiltinOperator.CUSTOM):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        codes.append(code)
    codes[2].customCode = b"Sinh"
    branch = operator(1, [0, 2], 3)
    branch.builtinOptionsType, branch.builtinOptions = schema.BuiltinOptions.IfOptions, schema.IfOptionsT()
    branch.builtinOptions.thenSubgraphIndex, branch.builtinOptions.elseSubgraphIndex = 2, 1
    main = [tensor("c", schema.TensorType.BOOL), tensor("x"), tensor("r"), tensor("y")]
    main[0].shape = []
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, codes, [schema.BufferT()]
    model.subgraphs = [
        graph("main", main, [operator(0, [1], 2), branch], [0, 1], 3),
        graph("else", [tensor("a"), tensor("b")], [operator(0, [0], 1)], [0], 1),
        graph("then", [tensor("a"), tensor("b")], [operator(2, [0], 1)], [0], 1),
    ]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_the_failing_part_of_another_format_is_a_graph_that_opens(tmp_path: Path) -> None:
    """What is not written in its own format keeps its format's name, so that the same check refuses it."""
    inner = Graph(
        "body", (Node("m", "magic", (0,), (1,)),),
        (Tensor("a", "float32", (1, 4), "input"), Tensor("b", "float32", (1, 4), "output")), (0,), (1,),
    )  # fmt: skip
    tensors = (
        Tensor("x", "float32", (1, 4), "input"), Tensor("w", "float32", (4, 4), "constant", 64),
        Tensor("y", "float32", (1, 4), "output"),
    )  # fmt: skip
    main = Graph("main", (Node("c", "cond", (0, 1), (2,), {"k": 3}, subgraphs=(1,)),), tensors, (0,), (2,))
    whole = Model("coreml", "specification 8", None, {}, (main, inner), 100)
    from edgestudio.model.inspection import analysed
    from edgestudio.model.target.check import check
    from edgestudio.model.target.failing import write_failing
    from edgestudio.model.totals.analysis import analyse

    analysis = analyse(whole, None, {})
    result = check(analysis, "coreml")
    refused = {**result, "operators": [dict(row, status="unsupported") for row in result["operators"]]}

    def judge(part: Path) -> dict[str, Any]:
        again = check(analysed(part), "coreml")
        return {**again, "operators": [dict(row, status="unsupported") for row in again["operators"]]}

    parts = write_failing(tmp_path / "net.mlpackage", analysis, refused, judge, tmp_path)
    found = {read_model(part).main.nodes[0].op: read_model(part) for part in parts}
    assert set(found) == {"cond", "magic"}
    assert [len(model.graphs) for model in (found["cond"], found["magic"])] == [2, 1]
    assert found["cond"].main.nodes[0].attributes == {"k": 3}
    assert [tensor.kind for tensor in found["cond"].main.tensors] == ["input", "constant", "output"]
    assert found["cond"].warnings == (
        "a part that was cut out of net.mlpackage: its structure without its weights, to look at and to check",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"outputs":[[2]]', '"outputs":[[9]]'),
        ('"inputs":[[0,1]]', '"inputs":[[-7]]'),
        ('"subgraphs":[[1]]', '"subgraphs":[[5]]'),
        ('"subgraphs":[[1]]', '"subgraphs":[["a"]]'),
        ('"format":"coreml"', '"format":"onnx"'),
        ('"name":["c"]', '"name":[5]'),
        ('"format":"coreml"', '"format":["x"]'),
        ('"shape":[[1,4],', '"shape":[[-1,{}],'),
        ('"attributes":[{"k":3}]', '"attributes":[3]'),
        ('{"end":true}', ""),
        ('"opsets":{}', '"opsets":3'),
        ('"kind":["input"', '"kind":["odd"'),
        ('"graphs":[{', '"graphs":[{"x":'),
    ],
)
def test_a_part_that_does_not_hold_together_is_refused(tmp_path: Path, old: str, new: str) -> None:
    from edgestudio.model.formats.graph_part import write_node
    from edgestudio.wire.errors import ModelError

    inner = Graph("b", (Node("m", "n", (0,), (0,)),), (Tensor("a", "float32", (1, 4), "input"),), (0,), (0,))
    tensors = tuple(Tensor(name, "float32", (1, 4), "input") for name in "xwy")
    main = Graph("main", (Node("c", "cond", (0, 1), (2,), {"k": 3}, subgraphs=(1,)),), tensors, (0, 1), (2,))
    path = tmp_path / "part.json"
    write_node(tmp_path / "net.mlmodel", Model("coreml", None, None, {}, (main, inner), 1), (0, 0), path)
    assert read_model(path).main.nodes[0].op == "cond"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError):
        read_model(path)


@pytest.mark.parametrize(
    ("op", "attributes", "status"),
    [
        ("TopK", {}, "unsupported"),
        ("Mod", {}, "unsupported"),
        ("GatherElements", {}, "unsupported"),
        ("MatMulInteger", {}, "unsupported"),
        ("ReduceMax", {"keepdims": 0}, "unsupported"),
        ("ReduceMax", {"keepdims": 1}, "partial"),
        ("Gather", {}, "partial"),
        ("Conv", {}, "supported"),
        ("GridSample", {}, "unknown"),
    ],
)
def test_what_is_known_of_hailos_compiler(op: str, attributes: dict[str, Any], status: str) -> None:
    tensors = (Tensor("x", "float32", (1, 8, 4, 4), "input"), Tensor("y", "float32", (1, 8, 1, 4)))
    graph = Graph("", (Node("n", op, (0,), (1,), attributes),), tensors, (0,), (1,))
    (row,) = operators(Model("onnx", None, None, {"": 13}, (graph,), 0), table("hailo"))
    assert (row["op"], row["status"]) == (op, status)
    assert status == "supported" or (row["reason"] and row["remedy"])
