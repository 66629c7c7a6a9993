"""Generates ResNet-, transformer- and DenseNet-like ONNX graphs of any size, with next to no weights.

    python benchmarks/generated_graphs.py FOLDER [SIZE ...]     (default 1000 10000 50000)

The node counts are rounded to whole blocks. The graphs are for viewers: they have the right structure, names
and attributes, and weights of a few numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DENSE_BLOCK_LAYERS = 24


class Builder:
    """Collects nodes and weights, one operator a call."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        self.weights.append(numpy_helper.from_array(np.zeros(shape or (4,), np.float32), name))
        return name

    def op(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def model(self, output: str, name: str) -> onnx.ModelProto:
        shape = ["N", "C", "H", "W"]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            self.weights,
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, producer_name="generated", ir_version=8)


def resnet_like(size: int) -> onnx.ModelProto:
    """Bottleneck blocks: three convolutions with normalisation, added to what came in."""
    b = Builder()
    x = b.op(
        "Conv",
        ["input", b.weight("conv1.weight", 8, 1, 1, 1)],
        "/conv1/Conv",
        kernel_shape=[7, 7],
        strides=[2, 2],
    )
    blocks = max(1, (size - 3) // 10)
    per_stage = -(-blocks // 4)
    for index in range(blocks):
        stage, at = index // per_stage + 1, index % per_stage
        scope, module, skip = f"/layer{stage}/layer{stage}.{at}", f"layer{stage}.{at}", x
        for k in (1, 2, 3):
            kernel = [3, 3] if k == 2 else [1, 1]
            weight = b.weight(f"{module}.conv{k}.weight", 8, 1, 1, 1)
            x = b.op("Conv", [x, weight], f"{scope}/conv{k}/Conv", kernel_shape=kernel)
            moments = [b.weight(f"{module}.bn{k}.{part}", 8) for part in ("weight", "bias", "mean", "var")]
            x = b.op("BatchNormalization", [x, *moments], f"{scope}/bn{k}/BatchNormalization")
            if k < 3:
                x = b.op("Relu", [x], f"{scope}/relu{k}/Relu")
        x = b.op("Relu", [b.op("Add", [x, skip], f"{scope}/Add")], f"{scope}/relu/Relu")
    x = b.op("Flatten", [b.op("GlobalAveragePool", [x], "/avgpool/GlobalAveragePool")], "/Flatten")
    return b.model(x, "resnet_like")


def transformer_like(size: int) -> onnx.ModelProto:
    """Encoder layers with attention taken apart, and one mask that every layer reads."""
    b = Builder()
    x = "input"
    mask = b.op("Cast", ["input"], "/mask/Cast", to=TensorProto.FLOAT)
    for layer in range(max(1, round(size / 33))):
        x = _encoder_layer(b, x, mask, f"/model/layers.{layer}", f"model.layers.{layer}")
    return b.model(x, "transformer_like")


def _encoder_layer(b: Builder, x: str, mask: str, scope: str, module: str) -> str:
    def linear(value: str, part: str) -> str:
        y = b.op("MatMul", [value, b.weight(f"{module}.{part}.weight", 4, 4)], f"{scope}/{part}/MatMul")
        return b.op("Add", [y, b.weight(f"{module}.{part}.bias")], f"{scope}/{part}/Add")

    def norm(value: str, part: str) -> str:
        weights = [b.weight(f"{module}.{part}.weight"), b.weight(f"{module}.{part}.bias")]
        return b.op("LayerNormalization", [value, *weights], f"{scope}/{part}/LayerNormalization")

    skip, h, heads = x, norm(x, "ln1"), []
    for part in "qkv":
        y = linear(h, f"attn/{part}")
        y = b.op("Reshape", [y, b.weight(f"{module}.{part}.shape")], f"{scope}/attn/{part}/Reshape")
        heads.append(b.op("Transpose", [y], f"{scope}/attn/{part}/Transpose", perm=[0, 2, 1, 3]))
    keys = b.op("Transpose", [heads[1]], f"{scope}/attn/kt/Transpose", perm=[0, 1, 3, 2])
    scores = b.op("MatMul", [heads[0], keys], f"{scope}/attn/scores/MatMul")
    scores = b.op("Div", [scores, b.weight(f"{module}.scale", 1)], f"{scope}/attn/scale/Div")
    scores = b.op("Softmax", [b.op("Add", [scores, mask], f"{scope}/attn/mask/Add")], f"{scope}/attn/Softmax")
    y = b.op("MatMul", [scores, heads[2]], f"{scope}/attn/context/MatMul")
    y = b.op("Transpose", [y], f"{scope}/attn/merge/Transpose", perm=[0, 2, 1, 3])
    y = b.op("Reshape", [y, b.weight(f"{module}.o.shape")], f"{scope}/attn/merge/Reshape")
    x = b.op("Add", [linear(y, "attn/o"), skip], f"{scope}/Add_1")
    h = linear(norm(x, "ln2"), "mlp/up")
    e = b.op(
        "Erf",
        [b.op("Div", [h, b.weight(f"{module}.g1", 1)], f"{scope}/mlp/gelu/Div")],
        f"{scope}/mlp/gelu/Erf",
    )
    e = b.op("Add", [e, b.weight(f"{module}.g2", 1)], f"{scope}/mlp/gelu/Add")
    h = linear(b.op("Mul", [h, e], f"{scope}/mlp/gelu/Mul"), "mlp/down")
    return b.op("Add", [h, x], f"{scope}/Add_2")


def densenet_like(size: int) -> onnx.ModelProto:
    """Dense blocks whose every layer concatenates all layers before it: many long edges."""
    b = Builder()
    x, block = "input", 0
    while len(b.nodes) < size - 6:
        features = [x]
        for layer in range(min(DENSE_BLOCK_LAYERS, max(1, (size - len(b.nodes)) // 7))):
            scope, module = f"/denseblock{block}/denselayer{layer}", f"denseblock{block}.denselayer{layer}"
            y = b.op("Concat", list(features), f"{scope}/Concat", axis=1) if layer else x
            for k in (1, 2):
                moments = [
                    b.weight(f"{module}.norm{k}.{part}", 8) for part in ("weight", "bias", "mean", "var")
                ]
                y = b.op("BatchNormalization", [y, *moments], f"{scope}/norm{k}/BatchNormalization")
                y = b.op("Relu", [y], f"{scope}/relu{k}/Relu")
                weight = b.weight(f"{module}.conv{k}.weight", 8, 1, 1, 1)
                y = b.op("Conv", [y, weight], f"{scope}/conv{k}/Conv", kernel_shape=[2 * k - 1, 2 * k - 1])
            features.append(y)
        x = b.op("Concat", features, f"/denseblock{block}/Concat", axis=1)
        x = b.op(
            "Conv", [x, b.weight(f"t{block}", 8, 1, 1, 1)], f"/transition{block}/Conv", kernel_shape=[1, 1]
        )
        block += 1
    return b.model(x, "densenet_like")


FAMILIES: dict[str, Callable[[int], onnx.ModelProto]] = {
    "resnet": resnet_like,
    "transformer": transformer_like,
    "densenet": densenet_like,
}


def generate(folder: Path, family: str, size: int) -> Path:
    """Write one graph unless it is there already; returns its path."""
    path = folder / f"{family}_{size}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(FAMILIES[family](size), path)
    return path


def write_all(arguments: list[str]) -> int:
    """Write every family in every size."""
    if not arguments:
        print(__doc__)
        return 2
    for size in [int(text) for text in arguments[1:]] or [1_000, 10_000, 50_000]:
        for family in FAMILIES:
            print(generate(Path(arguments[0]), family, size))
    return 0


if __name__ == "__main__":
    sys.exit(write_all(sys.argv[1:]))
