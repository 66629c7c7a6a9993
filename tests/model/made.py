"""Makes small model files for tests, with the libraries that write them for users, or by hand where none is here."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def onnx_model(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    weights: dict[str, np.ndarray] | None = None,
    **options: Any,
) -> Path:
    """Write an ONNX model of float inputs and outputs."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    options.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    model = helper.make_model(graph, producer_name="made", **options)
    onnx.save(model, path)
    return path


def convolution(path: Path, batch: Any = "N") -> Path:
    """Conv 3->8 3x3 on 16x16, Relu, global pooling, Gemm to 10: 8*16*16*27 + 80 MACs, 224 + 90 parameters."""
    rng = np.random.default_rng(0)
    weights = {
        "conv.weight": rng.standard_normal((8, 3, 3, 3), np.float32),
        "conv.bias": np.zeros(8, np.float32),
        "fc.weight": rng.standard_normal((8, 10), np.float32),
        "fc.bias": np.zeros(10, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], "/stem/conv/Conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], "/stem/act/Relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "/pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["p"], ["f"], "/Flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], "/fc/Gemm"),
    ]
    return onnx_model(path, nodes, {"x": [batch, 3, 16, 16]}, {"y": [batch, 10]}, weights)


def safetensors(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Write float32 arrays."""
    header: dict[str, Any] = {"__metadata__": {"made": "here"}}
    data = b""
    for name, value in tensors.items():
        raw = value.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def openvino(path: Path, *, has_weights: bool = True) -> Path:
    """A 1x4 input, a constant 4x2 weight and their product."""
    path.write_text(
        """<?xml version="1.0"?>
<net name="made" version="11">
  <layers>
    <layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,4" element_type="f32"/>
      <output><port id="0" precision="FP32" names="x"><dim>1</dim><dim>4</dim></port></output></layer>
    <layer id="1" name="w" type="Const" version="opset1">
      <data element_type="f32" shape="4, 2" offset="0" size="32"/>
      <output><port id="0" precision="FP32"><dim>4</dim><dim>2</dim></port></output></layer>
    <layer id="2" name="product" type="MatMul" version="opset1"><data transpose_a="false" transpose_b="false"/>
      <input><port id="0"/><port id="1"/></input>
      <output><port id="2" precision="FP32" names="y"><dim>1</dim><dim>2</dim></port></output></layer>
    <layer id="3" name="y/result" type="Result" version="opset1"><input><port id="0"/></input></layer>
  </layers>
  <edges>
    <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
    <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
    <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
  </edges>
  <rt_info><Runtime_version value="2026.4.1"/></rt_info>
</net>""",
        encoding="utf-8",
    )
    if has_weights:
        path.with_suffix(".bin").write_bytes(bytes(32))
    return path


def torch_export(path: Path) -> Path:
    """One linear layer 4 -> 2 with a symbolic batch, in the form that torch.export.save writes."""
    program = {
        "graph_module": {
            "graph": {
                "inputs": [{"as_tensor": {"name": name}} for name in ("p_fc_weight", "p_fc_bias", "x")],
                "outputs": [{"as_tensor": {"name": "linear"}}],
                "nodes": [
                    {
                        "target": "torch.ops.aten.linear.default",
                        "inputs": [
                            {"name": "input", "arg": {"as_tensor": {"name": "x"}}, "kind": 1},
                            {"name": "weight", "arg": {"as_tensor": {"name": "p_fc_weight"}}, "kind": 1},
                            {"name": "bias", "arg": {"as_tensor": {"name": "p_fc_bias"}}, "kind": 1},
                        ],
                        "outputs": [{"as_tensor": {"name": "linear"}}],
                        "metadata": {
                            "nn_module_stack": "L__self__,,made.Net;L__self___fc,fc,torch.nn.Linear"
                        },
                    }
                ],
                "tensor_values": {
                    "p_fc_weight": {"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 4}]},
                    "p_fc_bias": {"dtype": 7, "sizes": [{"as_int": 2}]},
                    "x": {"dtype": 7, "sizes": [{"as_expr": {"expr_str": "s0"}}, {"as_int": 4}]},
                    "linear": {"dtype": 7, "sizes": [{"as_expr": {"expr_str": "s0"}}, {"as_int": 2}]},
                },
            },
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "p_fc_weight"}, "parameter_name": "fc.weight"}},
                    {"parameter": {"arg": {"name": "p_fc_bias"}, "parameter_name": "fc.bias"}},
                    {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
                ],
                "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "linear"}}}}],
            },
        },
        "opset_version": {"aten": 10},
        "schema_version": {"major": 8, "minor": 1},
        "torch_version": "2.6.0",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/models/model.json", json.dumps(program))
        archive.writestr("archive/data/weights/weight_0", bytes(32))
        archive.writestr("archive/version", "0")
    return path


def hostile_pickle(mark: Path) -> bytes:
    """A pickle that would run `os.system` when it is loaded."""
    command = f"touch {mark}"
    return b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(command)) + command.encode() + b"\x85R."


def state_dict(path: Path) -> Path:
    """The zip that torch.save writes for a dict of one float32 tensor of shape (2, 3)."""
    data = (
        b"\x80\x02}X\x09\x00\x00\x00fc.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86"
        b"\x89ccollections\nOrderedDict\n)RtRs."
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", bytes(24))
        archive.writestr("archive/version", "3")
    return path


LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def torch_pickle(tensors: dict[str, tuple[str, int, tuple[int, ...], tuple[int, ...]]], count: int) -> bytes:
    """The pickle of a dict of float32 tensors: storage, offset, shape and strides of each."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def sizes(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"K" + bytes((value,)) for value in values) + b"t"

    data = b"\x80\x02}"
    for name, (key, offset, shape, strides) in tensors.items():
        data += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        data += text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + b"K" + bytes((count,))
        data += b"tQK" + bytes((offset,)) + sizes(shape) + sizes(strides)
        data += b"\x89ccollections\nOrderedDict\n)RtRs"
    return data + b"."
