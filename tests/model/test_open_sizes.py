"""Open sizes that are set go through a whole model, in each format by the same rules."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgestudio.model.formats import (
    coreml_network_shapes,
    coreml_program_shapes,
    coreml_shapes,
    onnx_rules,
    openvino_shapes,
    tflite_shapes,
)
from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.inspection import analysed, inspect_file
from edgestudio.model.shapes.call import Call
from edgestudio.model.shapes.numbers import all_values, values_of
from edgestudio.model.shapes.rules import shapes_of
from tests.model import made


def _lite(path: Path) -> Path:
    """?x?x?x2 -> convolution with steps of 2, its shape taken apart, resized to twice as much, mean, a dense layer."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    types, codes = schema.TensorType, schema.BuiltinOperator
    whole, graph = schema.ModelT(), schema.SubGraphT()
    whole.version, whole.buffers, whole.operatorCodes = 3, [schema.BufferT()], []
    graph.tensors, graph.operators, graph.name = [], [], b"main"

    def tensor(
        name: str, sizes: list[int], kind: int = types.FLOAT32, value: np.ndarray | None = None
    ) -> int:
        made = schema.TensorT()
        made.name, made.type, made.hasRank, made.buffer = name.encode(), kind, True, 0
        made.shape = [max(size, 1) for size in sizes]
        made.shapeSignature = sizes if -1 in sizes else None
        if value is not None:
            content = schema.BufferT()
            content.data = np.frombuffer(value.tobytes(), np.uint8)
            whole.buffers.append(content)
            made.buffer = len(whole.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def numbers(name: str, *values: int) -> int:
        return tensor(name, [len(values)], types.INT32, np.array(values, np.int32))

    def add(code: int, reads: list[int], write: int, options: Any = None, version: int = 1) -> int:
        named = schema.OperatorCodeT()
        named.builtinCode = named.deprecatedBuiltinCode = code
        named.version = version
        whole.operatorCodes.append(named)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(whole.operatorCodes) - 1, reads, [write]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        graph.operators.append(made)
        return write

    x = tensor("x", [-1, -1, -1, 2])
    weight = tensor("w", [4, 3, 3, 2], value=np.ones((4, 3, 3, 2), np.float32))
    bias = tensor("b", [4], value=np.zeros(4, np.float32))
    convolved, shaped = schema.Conv2DOptionsT(), schema.ShapeOptionsT()
    shaped.outType = types.INT32
    convolved.strideH = convolved.strideW = 2
    convolved.padding = schema.Padding.SAME
    c = add(codes.CONV_2D, [x, weight, bias], tensor("c", [-1, -1, -1, 4]), convolved)
    s = add(codes.SHAPE, [c], tensor("s", [4], types.INT32), shaped)
    taken = schema.StridedSliceOptionsT()
    hw = add(codes.STRIDED_SLICE, [s, numbers("one", 1), numbers("three", 3), numbers("step", 1)],
             tensor("hw", [2], types.INT32), taken)  # fmt: skip
    doubled = add(codes.MUL, [hw, numbers("two", 2)], tensor("d", [2], types.INT32), schema.MulOptionsT())
    r = add(
        codes.RESIZE_BILINEAR, [c, doubled], tensor("r", [-1, -1, -1, 4]), schema.ResizeBilinearOptionsT()
    )
    m = add(codes.MEAN, [r, numbers("axes", 1, 2)], tensor("m", [-1, 4]), schema.ReducerOptionsT())
    dense = tensor("v", [3, 4], value=np.ones((3, 4), np.float32))
    y = add(codes.FULLY_CONNECTED, [m, dense], tensor("y", [-1, 3]), schema.FullyConnectedOptionsT())
    graph.inputs, graph.outputs = [x], [y, r]
    whole.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_sizes_go_through_a_tflite_model_as_its_own_runtime_finds_them(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    path = _lite(tmp_path / "open.tflite")
    unset = inspect_file(path)
    assert (unset["macs"], unset["macs_unknown"]) == (None, {"CONV_2D": 1})
    found = analysed(path, {"x:0": 2, "x:1": 9, "x:2": 14})
    assert found.macs == 2 * (5 * 7 * 4 * 18 + 12)
    assert found.peak_activation_bytes is not None
    runner = Interpreter(str(path))
    runner.resize_tensor_input(runner.get_input_details()[0]["index"], [2, 9, 14, 2])
    runner.allocate_tensors()
    shown = {tensor.name: tensor.shape for tensor in found.model.main.tensors}
    for detail in runner.get_output_details():
        runner.set_tensor(runner.get_input_details()[0]["index"], np.zeros((2, 9, 14, 2), np.float32))
        runner.invoke()
        assert shown[detail["name"]] == runner.get_tensor(detail["index"]).shape


_LAYERS = """<?xml version="1.0"?>
<net name="open" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,2,?,?" element_type="f32"/>
 <output><port id="0" precision="FP32"><dim>-1</dim><dim>2</dim><dim>-1</dim><dim>-1</dim></port></output></layer>
<layer id="1" name="w" type="Const" version="opset1"><data element_type="f32" shape="4, 2, 3, 3" offset="0"
 size="288"/>
 <output><port id="0" precision="FP32"><dim>4</dim><dim>2</dim><dim>3</dim><dim>3</dim></port></output></layer>
<layer id="2" name="c" type="Convolution" version="opset1">
 <data strides="2, 2" dilations="1, 1" pads_begin="1, 1" pads_end="1, 1" auto_pad="explicit"/>
 <input><port id="0"/><port id="1"/></input><output><port id="2" precision="FP32"><dim>-1</dim><dim>4</dim>
 <dim>-1</dim><dim>-1</dim></port></output></layer>
<layer id="3" name="t" type="Const" version="opset1"><data element_type="i64" shape="3" offset="288" size="24"/>
 <output><port id="0" precision="I64"><dim>3</dim></port></output></layer>
<layer id="4" name="r" type="Reshape" version="opset1"><data special_zero="true"/>
 <input><port id="0"/><port id="1"/></input>
 <output><port id="2" precision="FP32"><dim>-1</dim><dim>4</dim><dim>-1</dim></port></output></layer>
<layer id="5" name="y" type="MatMul" version="opset1"><data transpose_a="false" transpose_b="true"/>
 <input><port id="0"/><port id="1"/></input>
 <output><port id="2" precision="FP32"><dim>-1</dim><dim>4</dim><dim>4</dim></port></output></layer>
<layer id="6" name="out" type="Result" version="opset1"><input><port id="0"/></input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="4" to-port="0"/>
<edge from-layer="3" from-port="0" to-layer="4" to-port="1"/>
<edge from-layer="4" from-port="2" to-layer="5" to-port="0"/>
<edge from-layer="4" from-port="2" to-layer="5" to-port="1"/>
<edge from-layer="5" from-port="2" to-layer="6" to-port="0"/></edges></net>"""


def test_sizes_go_through_an_openvino_model(tmp_path: Path) -> None:
    path = tmp_path / "open.xml"
    path.write_text(_LAYERS)
    path.with_suffix(".bin").write_bytes(bytes(288) + struct.pack("<3q", 0, 4, -1))
    assert inspect_file(path)["macs"] is None
    found = analysed(path, {"x:2": 9, "x:3": 14})
    assert found.macs == 5 * 7 * 4 * 18 + 4 * 4 * 35
    assert [tensor.shape for tensor in found.model.main.tensors if tensor.name == "r"] == [(1, 4, 35)]
    path.with_suffix(".bin").write_bytes(bytes(288))  # the numbers of the reshaping are cut off
    assert inspect_file(path, {"x:2": 9, "x:3": 14})["macs"] is None


def test_sizes_go_through_an_ml_program_and_the_bodies_of_its_loops() -> None:
    def tensor(
        name: str, shape: tuple[int | None, ...] | None, kind: Any = "activation", **more: Any
    ) -> Tensor:
        return Tensor(name, more.pop("dtype", "float32"), shape, kind, **more)

    inner = (tensor("i", (), dtype="int32"), tensor("h", (None, 4)), tensor("w", (4, 4), "constant"),
             tensor("h2", (None, 4)), tensor("i2", (), dtype="int32"))  # fmt: skip
    body = Graph("while_loop", (Node("l", "linear", (1, 2), (3,)), Node("a", "add", (0,), (4,), {"y": 1})), inner,
                 (0, 1), (4, 3))  # fmt: skip
    test = Graph("while_loop", (Node("t", "less", (0, 2), (3,)),),
                 (tensor("i", (), dtype="int32"), tensor("h", (None, 4)),
                  tensor("n", (), "constant", dtype="int32", values=(7,)), tensor("go", (), dtype="bool")),
                 (0, 1), (3,))  # fmt: skip
    main = Graph("mlProgram", (
        Node("s", "slice_by_index", (0,), (1,), {"begin": [0, 0], "end": [0, 4], "begin_mask": [True, True],
                                                 "end_mask": [True, True]}),
        Node("loop", "while_loop", (2, 1), (3, 4), subgraphs=(1, 2)),
    ), (tensor("x", (None, 4), "input"), tensor("s", (None, 4)),
        tensor("zero", (), "constant", dtype="int32", values=(0,)), tensor("n", (), dtype="int32"),
        tensor("y", (None, 4), "output")), (0,), (4,))  # fmt: skip
    model = Model("coreml", None, None, {}, (main, test, body), 0, {"type": "mlProgram"})
    from edgestudio.model.totals.analysis import analyse

    bound = coreml_shapes.infer_shapes(model, {"x:0": 3})
    assert bound.main.tensors[4].shape == (3, 4)
    assert analyse(bound, bound, {"x:0": 3}).macs == 7 * 3 * 16


_IMAGE = (1, 8, 9, 14)
_CASES: list[tuple[Any, str, dict[str, Any], list[Any], list[Any], list[Any]]] = [
    ("lite", "DEPTHWISE_CONV_2D", {"padding": "VALID", "stride_h": 1, "stride_w": 2}, [(1, 9, 14, 8), (1, 3, 3, 16)],
     [],
     [(1, 7, 6, 16)]),
    ("lite", "CONV_3D", {"padding": "SAME", "stride_d": 2, "stride_h": 1, "stride_w": 1},
     [(1, 5, 6, 7, 2), (3, 3, 3, 2, 4)], [], [(1, 3, 6, 7, 4)]),
    ("lite", "FULLY_CONNECTED", {"keep_num_dims": True}, [(2, 5, 8), (3, 8)], [], [(2, 5, 3)]),
    ("lite", "FULLY_CONNECTED", {"keep_num_dims": False}, [(2, 5, 8), (3, 8)], [], [(10, 3)]),
    ("lite", "SPLIT", {"num_splits": 2}, [(), (4, 6)], [(1,), None], [(4, 3), (4, 3)]),
    ("lite", "SPLIT_V", {"num_splits": 2}, [(4, 6), (2,), ()], [None, (2, -1), (1,)], [(4, 2), (4, 4)]),
    ("lite", "SPACE_TO_BATCH_ND", {}, [(1, 4, 6, 3), (2,), (2, 2)], [None, (2, 2), (0, 0, 1, 1)], [(4, 2, 4, 3)]),
    ("lite", "UNIDIRECTIONAL_SEQUENCE_LSTM", {"time_major": False}, [(1, 5, 8), (6, 8), (6, 8)], [], [(1, 5, 6)]),
    ("lite", "BIDIRECTIONAL_SEQUENCE_RNN", {"merge_outputs": True},
     [(1, 5, 8), (6, 8), (6, 6), (6,), (1, 6), (7, 8)], [], [(1, 5, 13)]),
    ("lite", "FlexConv3D", {"strides": [1, 1, 1, 1, 1], "padding": "SAME"}, [(1, 5, 6, 7, 2), (3, 3, 3, 2, 4)], [],
     [(1, 5, 6, 7, 4)]),
    ("lite", "GATHER", {"axis": 1, "batch_dims": 1}, [(2, 5, 3), (2, 4)], [], [(2, 4, 3)]),
    ("ov", "GroupConvolution", {"strides": [1, 1], "auto_pad": "same_upper"}, [_IMAGE, (2, 6, 4, 3, 3)], [],
     [(1, 12, 9, 14)]),
    ("ov", "ConvolutionBackpropData", {"strides": [2, 2], "pads_begin": [1, 1], "pads_end": [1, 1],
                                       "output_padding": [1, 1]}, [_IMAGE, (8, 5, 3, 3)], [], [(1, 5, 18, 28)]),
    ("ov", "MaxPool", {"kernel": [2, 2], "strides": [2, 2], "rounding_type": "ceil"}, [_IMAGE], [],
     [(1, 8, 5, 7), (1, 8, 5, 7)]),
    ("ov", "Slice", {}, [(2, 9, 4), (1,), (1,), (1,), (1,)], [None, (1,), (-1,), (3,), (1,)], [(2, 3, 4)]),
    ("ov", "StridedSlice", {"begin_mask": [1, 0], "end_mask": [1, 0], "shrink_axis_mask": [0, 1]},
     [(2, 9, 4), (2,), (2,)], [None, (0, 3), (0, 4)], [(2, 4)]),
    ("ov", "Interpolate", {"shape_calculation_mode": "scales"}, [_IMAGE, (2,), (2,)], [None, (2.0, 0.5), (2, 3)],
     [(1, 8, 18, 7)]),
    ("ov", "LSTMSequence", {"hidden_size": 6, "direction": "bidirectional"}, [(1, 5, 8)], [],
     [(1, 2, 5, 6), (1, 2, 6), (1, 2, 6)]),
    ("ov", "SpaceToBatch", {}, [(1, 3, 4, 6), (4,), (4,), (4,)], [None, (1, 1, 2, 2), (0, 0, 0, 1), (0, 0, 0, 1)],
     [(4, 3, 2, 4)]),
    ("ov", "VariadicSplit", {}, [(2, 9), (), (2,)], [None, (1,), (4, -1)], [(2, 4), (2, 5)]),
    ("mil", "conv", {"pad_type": "custom", "pad": [1, 1, 0, 2], "strides": [2, 1], "dilations": [1, 2], "groups": 1},
     [_IMAGE, (4, 8, 3, 3)], [], [(1, 4, 5, 12)]),
    ("mil", "conv_transpose", {"pad_type": "valid", "strides": [2, 2], "groups": 2}, [_IMAGE, (8, 3, 2, 2)], [],
     [(1, 6, 18, 28)]),
    ("mil", "avg_pool", {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "same"}, [_IMAGE], [], [(1, 8, 5, 7)]),
    ("mil", "reshape", {"computed": ["shape"]}, [(2, 12), (3,)], [None, (0, 3, -1)], [(2, 3, 4)]),
    ("mil", "upsample_bilinear", {"scale_factor_height": 2.0, "scale_factor_width": 3}, [_IMAGE], [], [(1, 8, 18, 42)]),
    ("mil", "lstm", {"direction": "bidirectional", "output_sequence": True},
     [(5, 1, 8), (1, 12), (24, 8), (24, 6)], [], [(5, 1, 12), (1, 12), (1, 12)]),
    ("mil", "slice_by_index", {"end": [0, 3], "stride": [1, 2], "end_mask": [True, False], "computed": ["begin"]},
     [(4, 9), (2,)], [None, (1, -7)], [(3, 1)]),
    ("mil", "pad", {"pad": [1, 2]}, [(2, 3)], [], [(2, 6)]),
    ("mil", "einsum", {"equation": "nchw,nwhu->nchu"}, [(1, 2, 3, 4), (1, 4, 3, 5)], [], [(1, 2, 3, 5)]),
    ("mil", "topk", {"k": 2, "axis": 1}, [(3, 9, 4)], [], [(3, 2, 4), (3, 2, 4)]),
    ("mil", "reduce_mean", {"axes": [2, 3], "keep_dims": False}, [_IMAGE], [], [(1, 8)]),
    ("net", "convolution3d", {"outputChannels": 4, "kernelDepth": 1, "kernelHeight": 3, "kernelWidth": 3,
                              "strideHeight": 2, "strideWidth": 2, "paddingType": "SAME"}, [(1, 2, 5, 6, 7)], [],
     [(1, 4, 5, 3, 4)]),
    ("net", "addBroadcastable", {}, [(1, 8, 1), (5, 1, 3)], [], [(5, 8, 3)]),
    ("net", "splitND", {"axis": 1, "splitSizes": [2, 3]}, [(4, 5)], [], [(4, 2), (4, 3)]),
    ("net", "crop", {"cropAmounts": {"borderAmounts": [[1, 0], [0, 2]]}}, [_IMAGE], [], [(1, 8, 8, 12)]),
    ("net", "gru", {"outputVectorSize": 6, "sequenceOutput": True}, [(5, 1, 8, 1, 1)], [],
     [(5, 1, 6, 1, 1), (1, 1, 6, 1, 1)]),
    ("net", "slice", {"startIndex": 1, "endIndex": -1, "axis": "WIDTH_AXIS"}, [_IMAGE], [], [(1, 8, 9, 12)]),
]  # fmt: skip
_DIALECTS = {
    "lite": tflite_shapes._Lite().results, "ov": openvino_shapes._OpenVino().results,
    "mil": coreml_program_shapes.results, "net": coreml_network_shapes.results,
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "op", "attributes", "shapes", "values", "expected"), _CASES)
def test_an_operator_of_each_format(
    dialect: str,
    op: str,
    attributes: dict[str, Any],
    shapes: list[Any],
    values: list[Any],
    expected: list[Any],
) -> None:
    node = Node("made", op, outputs=tuple(range(len(expected))), attributes=attributes)
    found = _DIALECTS[dialect](node, shapes, values or [None] * len(shapes))
    assert list(found.shapes)[: len(expected)] == expected


@pytest.mark.parametrize("dialect", _DIALECTS)
def test_what_is_not_known_stays_open_and_raises_nothing(dialect: str) -> None:
    for case in _CASES:
        for shapes in ([None] * len(case[3]), [], [()] * len(case[3])):
            node = Node("made", case[1], outputs=(0,), attributes={})
            found = _DIALECTS[dialect](node, shapes, [None] * len(shapes))
            assert all(shape is None or isinstance(shape, tuple) for shape in found.shapes)


def test_small_numbers_keep_their_places_in_tables() -> None:
    table = (1, 2, 3, 4)
    assert all_values(Call("Split", {"num_split": 2}, [(), (2, 2)], [(1,), table])) == [(1, 3), (2, 4)]
    assert values_of(Call("Pack", {"axis": 1}, [(2,), (2,)], [(1, 2), (3, 4)])) == (1, 3, 2, 4)
    assert values_of(Call("ConcatV2", {}, [(2, 1), (2, 1), ()], [(1, 2), None, (1,)])) == (1, None, 2, None)
    begin_end_step = [(0, 1), (2, 2), (1, 1)]
    assert values_of(Call("StridedSlice", {}, [(2, 2), *[(2,)] * 3], [table, *begin_end_step])) == (2, 4)
    assert values_of(Call("Pad", {}, [(2,), (1, 2)], [(5, 6), (1, 0)])) == (0, 5, 6)
    segments = Call("UnsortedSegmentProd", {}, [(4,), (4,), ()], [(1, 12, 4, 8), (0, 1, 2, 2), (3,)])
    assert values_of(segments) == (1, 12, 32)


def test_a_list_of_tensors_keeps_its_length_through_a_loop() -> None:
    rows = values_of(Call("TensorListReserve", {}, [(2,), ()], [(-1, 4), (7,)]))
    assert rows == (7, None)
    filled = values_of(Call("TensorListSetItem", {}, [(), (), (3, 4)], [rows, (0,), None]))
    assert shapes_of(Call("TensorListStack", {}, [(), (2,)], [filled, (-1, 4)])) == [(7, 3, 4)]


def _heads(path: Path) -> Path:
    """?x?x8 split into heads of a width that the graph divides, which onnx's own inference does not follow."""
    numbers = {"two": [2], "four": [4], "zero": [0], "minus": [-1]}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["width"]),
        helper.make_node("Div", ["width", "four"], ["head"]),
        helper.make_node("Concat", ["zero", "minus", "four", "head"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["h"]),
        helper.make_node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["h"], ["u"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "u"], ["y"]),
    ]
    weights = {name: np.array(value, np.int64) for name, value in numbers.items()}
    return made.onnx_model(path, nodes, {"x": ["n", "t", 8]}, {"y": [None] * 4}, weights)


def test_sizes_that_an_onnx_graph_divides_are_followed(tmp_path: Path) -> None:
    path = _heads(tmp_path / "heads.onnx")
    assert inspect_file(path)["macs"] is None
    found = analysed(path, {"n": 3, "t": 5})
    assert found.macs == 3 * 4 * 5 * 5 * 2
    assert found.peak_activation_bytes is not None


@pytest.mark.parametrize(
    ("op", "attributes", "shapes", "values", "expected"),
    [
        ("Resize", {"axes": [2, 3]}, [_IMAGE, None, None, (2,)], [None, None, None, (5, 6)], [(1, 8, 5, 6)]),
        ("Resize", {}, [_IMAGE, None, (4,)], [None, None, (1.0, 1.0, 2.0, 0.5)], [(1, 8, 18, 7)]),
        ("Slice", {}, [(9, 4), (1,), (1,), (1,), (1,)], [None, (-1,), (-(1 << 40),), (0,), (-2,)], [(5, 4)]),
        ("Slice", {"starts": [1], "ends": [-1], "axes": [1]}, [(9, 4)], [None], [(9, 2)]),
        ("ConvTranspose", {"group": 2, "strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
         [_IMAGE, (8, 3, 3, 3)], [], [(1, 6, 18, 28)]),
        ("Split", {"num_outputs": 3, "axis": 1}, [(2, 8)], [None], [(2, 3), (2, 3), (2, 2)]),
        ("ReduceSum", {"keepdims": 0}, [(2, 3, 4), (1,)], [None, (-1,)], [(2, 3)]),
        ("Attention", {"q_num_heads": 4, "kv_num_heads": 2}, [(1, 5, 32), (1, 7, 16), (1, 7, 12)], [], [(1, 5, 24)]),
        ("LSTM", {"hidden_size": 6, "direction": "bidirectional"}, [(5, 2, 8)], [], [(5, 2, 2, 6), (2, 2, 6)]),
        ("Einsum", {"equation": "...ij,...jk"}, [(3, 1, 2, 5), (4, 5, 6)], [], [(3, 4, 2, 6)]),
        ("Pad", {}, [(3, 4), (2,), (), (1,)], [None, (1, 2), None, (1,)], [(3, 7)]),
        ("NonZero", {}, [(3, 4)], [], [(2, None)]),
    ],
)  # fmt: skip
def test_an_operator_of_onnx(
    op: str, attributes: dict[str, Any], shapes: list[Any], values: list[Any], expected: list[Any]
) -> None:
    found = onnx_rules._Onnx().results(
        Node("made", op, attributes=attributes), shapes, values or [None] * len(shapes)
    )
    assert list(found.shapes)[: len(expected)] == expected
