"""Models that are unusual on purpose, made on the spot: what a person may open besides well-behaved classifiers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LONG = "ein-ausserordentlich-langer-dateiname-für-ein-kleines-modell-das-niemand-so-nennen-sollte-v2-final"
RIGHT_TO_LEFT = "نموذج-تصنيف-الصور"
CHINESE = "语音唤醒模型-第二版"


def _value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(abs(len(name))).normal(0, 0.1, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def _save(path: Path, graph: onnx.GraphProto, *domains: str) -> Path:
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="made here")
    model.ir_version = 8
    onnx.save(model, path)
    return path


def two_inputs(path: Path) -> Path:
    """A picture of open size and a vector, added after a convolution and a matrix."""
    nodes = [
        helper.make_node("Conv", ["image", "stem.weight"], ["features"], "stem/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["metadata", "side.weight"], ["side"], "side/MatMul"),
        helper.make_node("Add", ["flat", "side"], ["score"], "join"),
    ]
    inputs = [_value("image", ["batch", 3, "height", "width"]), _value("metadata", ["batch", 12])]
    weights = [_weight("stem.weight", 8, 3, 3, 3), _weight("side.weight", 12, 8)]
    graph = helper.make_graph(nodes, "two inputs", inputs, [_value("score", ["batch", 8])], weights)
    return _save(path, graph)


def token_ids(path: Path) -> Path:
    """Integers of open length in, as text comes; a mean of embeddings out."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"], "embed"),
        helper.make_node("ReduceMean", ["embedded"], ["mean"], "mean", axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["logits"], "head"),
    ]
    ids = _value("input_ids", ["batch", "sequence"], TensorProto.INT64)
    weights = [_weight("table", 500, 32), _weight("head", 32, 4)]
    return _save(path, helper.make_graph(nodes, "tokens", [ids], [_value("logits", ["batch", 4])], weights))


def sequence_output(path: Path) -> Path:
    """Its only output is a sequence of tensors."""
    nodes = [helper.make_node("SplitToSequence", ["x"], ["parts"], "split", axis=1)]
    out = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    return _save(path, helper.make_graph(nodes, "sequence", [_value("x", [1, 6])], [out]))


def audio(path: Path) -> Path:
    """A second of sound at 16 kHz through 1-D convolutions."""
    nodes, before = [], "audio"
    weights = []
    for index, (channels, out) in enumerate(((1, 8), (8, 16), (16, 16))):
        weights.append(_weight(f"c{index}.weight", out, channels, 9))
        nodes.append(
            helper.make_node("Conv", [before, f"c{index}.weight"], [f"c{index}"], f"conv{index}", strides=[4])
        )
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"))
        before = f"r{index}"
    nodes.append(helper.make_node("ReduceMean", [before], ["embedding"], "mean", axes=[2], keepdims=0))
    graph = helper.make_graph(
        nodes, "audio", [_value("audio", [1, 1, 16000])], [_value("embedding", [1, 16])], weights
    )
    return _save(path, graph)


def custom_only(path: Path) -> Path:
    """One operator of a domain that nobody else knows."""
    nodes = [helper.make_node("FusedDetector", ["x"], ["boxes"], "detector", domain="com.example.vision")]
    graph = helper.make_graph(nodes, "custom", [_value("x", [1, 3, 64, 64])], [_value("boxes", [1, 100, 4])])
    return _save(path, graph, "com.example.vision")


def many_outputs(path: Path, count: int = 300) -> Path:
    """One input, hundreds of outputs."""
    nodes = [
        helper.make_node("Mul", ["x", f"w{index}"], [f"output_{index:03d}"], f"scale_{index:03d}")
        for index in range(count)
    ]
    outputs = [_value(f"output_{index:03d}", [1, 4]) for index in range(count)]
    weights = [
        numpy_helper.from_array(np.full((4,), index, np.float32), f"w{index}") for index in range(count)
    ]
    return _save(path, helper.make_graph(nodes, "many", [_value("x", [1, 4])], outputs, weights))


def long_names(path: Path) -> Path:
    """Names of tensors and operators that fill any column."""
    name = (
        "encoder.layers.11.self_attention.query_key_value_projection.quantized_weight_transposed_for_kernel"
    )
    nodes = [
        helper.make_node("MatMul", ["إدخال", name], ["隐藏层输出"], f"/{name.replace('.', '/')}/MatMul"),
        helper.make_node("Relu", ["隐藏层输出"], [f"{name}.output"], "激活"),
    ]
    graph = helper.make_graph(
        nodes, "names", [_value("إدخال", ["batch_size_of_this_very_long_symbolic_dimension", 16])],
        [_value(f"{name}.output", ["batch_size_of_this_very_long_symbolic_dimension", 16])],
        [_weight(name, 16, 16)],
    )  # fmt: skip
    return _save(path, graph)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "two-inputs": two_inputs,
    "token-ids": token_ids,
    "sequence-output": sequence_output,
    "audio": audio,
    "custom-only": custom_only,
    "many-outputs": many_outputs,
}


def make_all(folder: Path) -> dict[str, Path]:
    """Write every unusual model into `folder`; their paths by name."""
    made = {name: make(folder / f"{name}.onnx") for name, make in MAKERS.items()}
    for name in (LONG, RIGHT_TO_LEFT, CHINESE):
        made[name] = long_names(folder / f"{name}.onnx")
        # Each a file of its own: the library knows models by their content.
        model = onnx.load(made[name])
        model.doc_string = name
        onnx.save(model, made[name])
    return made
