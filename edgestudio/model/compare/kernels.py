"""Kernels of convolutions and matrix products in one order of dimensions, whatever format they come from.

The order is that of PyTorch: outputs, inputs of a group, then the places of the window. Layouts:
ONNX https://onnx.ai/onnx/operators/, TensorFlow https://www.tensorflow.org/api_docs/python/tf/nn,
TensorFlow Lite https://ai.google.dev/edge/litert/models/ops_compatibility, OpenVINO
https://docs.openvino.ai/2025/documentation/openvino-ir-format/operation-sets/operation-specs.html,
Core ML https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgestudio.model.arrays import Array
from edgestudio.model.graph import Node
from edgestudio.model.operator_words import meaning

KINDS = {"conv", "conv transpose", "dense"}
_INPUTS_FIRST = {"onnx", "torchscript", "torch-export", "coreml", "openvino"}
"""Formats that keep the kernel of a transposed convolution as inputs, outputs, window."""
_TENSORFLOW = {"savedmodel", "graphdef", "keras"}


def canonical(of: str, node: Node, kernel: Array) -> Array | None:
    """`kernel` of a `node` of a model of format `of` as outputs, inputs, window; None where that is not known."""
    kind = meaning(node)
    if kind == "dense":
        return _dense(of, node, kernel)
    if kernel.ndim < 3:
        return None
    if of == "tflite":
        return _tflite(node, kernel)
    if of in _TENSORFLOW:
        return _tensorflow(node, kernel)
    if kind == "conv transpose":
        return _turned(node, kernel) if of in _INPUTS_FIRST else None
    if node.op == "GroupConvolution":  # groups, outputs, inputs, window
        return kernel.reshape(-1, *kernel.shape[2:]) if kernel.ndim >= 4 else None
    return kernel


def _dense(of: str, node: Node, kernel: Array) -> Array | None:
    if kernel.ndim > 2:
        kernel = kernel.reshape([size for size in kernel.shape if size > 1] or [1])
    if kernel.ndim != 2:
        return None
    given = node.attributes
    is_outputs_first = of == "tflite" and node.op == "FULLY_CONNECTED"
    is_outputs_first |= node.op in ("innerProduct", "linear", "aten::linear") or node.op.startswith(
        "aten.linear"
    )
    for key in ("transB", "transpose_b", "transpose_y", "adj_y", "transposeB"):
        is_outputs_first |= bool(given.get(key, False))
    alpha = given.get("alpha", 1.0) if node.op == "Gemm" else 1.0
    scaled = kernel if alpha == 1.0 or not isinstance(alpha, float) else kernel * alpha
    return scaled if is_outputs_first else scaled.T


def _tflite(node: Node, kernel: Array) -> Array | None:
    if node.op == "DEPTHWISE_CONV_2D":
        return kernel.transpose(3, 0, 1, 2) if kernel.ndim == 4 else None
    if node.op.startswith("CONV_3D"):  # window, then inputs and outputs or the other way round
        order = (4, 3, 0, 1, 2) if node.op == "CONV_3D" else (3, 4, 0, 1, 2)
        return kernel.transpose(order) if kernel.ndim == 5 else None
    return np.moveaxis(kernel, -1, 1)


def _tensorflow(node: Node, kernel: Array) -> Array:
    window = range(kernel.ndim - 2)
    if "Depthwise" in node.op:  # window, channels, outputs of each
        turned = kernel.transpose(*(at + len(window) for at in range(2)), *window)
        return turned.reshape(-1, 1, *turned.shape[2:])
    first, second = (kernel.ndim - 2, kernel.ndim - 1)
    is_turned = meaning(node) == "conv transpose"
    return kernel.transpose(*((first, second) if is_turned else (second, first)), *window)


def _turned(node: Node, kernel: Array) -> Array | None:
    if node.op == "GroupConvolutionBackpropData":
        groups, kernel = kernel.shape[0], kernel.reshape(-1, *kernel.shape[2:])
    else:
        groups = _groups(node)
    inputs, outputs = kernel.shape[:2]
    if groups < 1 or inputs % groups:
        return None
    parted = kernel.reshape(groups, inputs // groups, outputs, *kernel.shape[2:])
    return np.swapaxes(parted, 1, 2).reshape(groups * outputs, inputs // groups, *kernel.shape[2:])


def _groups(node: Node) -> int:
    place = {"aten::_convolution": "argument 8", "aten::conv_transpose2d": "argument 6"}.get(node.op, "")
    keys: tuple[Any, ...] = ("group", "groups", "nGroups", place)
    found = next((node.attributes[key] for key in keys if key in node.attributes), 1)
    return found if isinstance(found, int) and not isinstance(found, bool) else 1
