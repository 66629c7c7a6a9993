"""Weights only: stores weights in 8 or 4 bits with a scale per channel or block, and computes in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import canonical, onnx_file
from edgestudio.optimize.step import StepContext, StepReport

# DequantizeLinear takes per-axis scales from opset 13 on and 4-bit tensors from 21 on.
_OPSET = {8: 13, 4: 21}
_MICROSOFT = "com.microsoft"


class Options(BaseModel):
    """Options of `weight-only`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: Literal[4, 8] = Field(
        default=8, description="Bits per weight. 4 halves the size again and costs accuracy."
    )
    kernel: Literal["portable", "onnxruntime"] = Field(
        default="portable",
        description="`portable` writes standard ONNX for every layer; `onnxruntime` writes its fast MatMulNBits "
        "for matrix products and leaves other layers alone.",
    )
    block: Literal[16, 32, 64, 128] = Field(
        default=32, description="Weights that share a scale, for `onnxruntime`."
    )
    min_elements: int = Field(default=256, ge=32, description="Smaller weights stay in float.")


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Write `source` with its weights in few bits; raises RefusedError when its opset cannot be raised."""
    model = onnx_file.load(source)
    before = set(onnx_file.require_weights(model))
    if options.kernel == "onnxruntime":
        result, changed = _blocked(model, options)
    else:
        needed = _OPSET[options.bits]
        if onnx_file.opset(model) < needed:
            raised = context.work / "raised.onnx"
            canonical.run(source, raised, canonical.Options(opset=needed, simplify=False), context)
            model = onnx_file.load(raised)
        result, changed = model, _stored(model, options)
    onnx_file.save(result, target)
    warnings = []
    if changed == 0:
        warnings.append(
            f"0 of {len(before)} weights changed: no layer is large enough or of a kind that it covers"
        )
    return StepReport(changed, len(before), warnings=tuple(warnings))


def _stored(model: Any, options: Options) -> int:
    """Put a DequantizeLinear before every large weight, in subgraphs too; returns how many."""
    from onnx import TensorProto, helper

    changed = 0
    names = onnx_file.float_weights(model)
    # A nested graph reads weights of the graphs around it as well.
    anywhere = {
        name: (node, index)
        for graph in onnx_file.graphs(model.graph)
        for node in graph.node
        for index, name in enumerate(node.input)
    }
    for graph in onnx_file.graphs(model.graph):
        readers = anywhere | {
            name: (node, index) for node in graph.node for index, name in enumerate(node.input)
        }
        nodes = []
        for tensor in list(graph.initializer):
            wanted = tensor.name in names and np.prod(tensor.dims) >= options.min_elements
            if not wanted or tensor.data_type != TensorProto.FLOAT or tensor.name not in readers:
                continue
            axis = channel_axis(*readers[tensor.name], len(tensor.dims))
            values, scales = quantised(onnx_file.array(tensor).astype(np.float32), axis, options.bits)
            name = tensor.name
            graph.initializer.remove(tensor)
            graph.initializer.append(_packed(f"{name}_q", values, options.bits))
            graph.initializer.append(helper.make_tensor(f"{name}_s", TensorProto.FLOAT, scales.shape, scales))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [name], axis=axis))
            changed += 1
        for node in reversed(nodes):
            graph.node.insert(0, node)
    return changed


def channel_axis(node: Any, index: int, rank: int) -> int:
    """The axis of a weight along which its output channels lie."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm" and index == 1:
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        return 0 if transposed else 1
    if node.op_type == "MatMul" and index == 1:
        return rank - 1
    return 1 if node.op_type in ("LSTM", "GRU", "RNN") else 0


def quantised(
    weights: NDArray[np.float32], axis: int, bits: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric integers of `weights`, same shape, and one scale per index of `axis`, shape [n]."""
    top = 2 ** (bits - 1) - 1
    others = tuple(each for each in range(weights.ndim) if each != axis)
    scale = np.maximum(np.abs(weights).max(axis=others, keepdims=True) / top, 1e-12).astype(np.float32)
    values = np.clip(np.rint(weights / scale), -top - 1, top).astype(np.int8)
    return values, scale.ravel()


def _packed(name: str, values: NDArray[np.int8], bits: int) -> Any:
    from onnx import TensorProto

    tensor = TensorProto(name=name, dims=values.shape)
    if bits == 8:
        tensor.data_type, tensor.raw_data = TensorProto.INT8, values.tobytes()
    else:
        tensor.data_type, tensor.raw_data = TensorProto.INT4, packed_nibbles(values)
    return tensor


def packed_nibbles(values: NDArray[Any]) -> bytes:
    """4-bit integers two to a byte, the first in the low half, as ONNX stores INT4 and UINT4."""
    flat = (values.ravel().astype(np.int16) & 0xF).astype(np.uint8)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed: bytes = (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8).tobytes()
    return packed


def _blocked(model: Any, options: Options) -> tuple[Any, int]:
    """ONNX Runtime's MatMulNBits for every MatMul with a constant weight, after Gemm became MatMul and Add."""
    from onnx import TensorProto, helper, numpy_helper

    gemm_to_matmul(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    written: set[str] = set()
    changed = 0
    for node in model.graph.node:
        tensor = constants.get(node.input[1]) if node.op_type == "MatMul" and not node.domain else None
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            continue
        if np.prod(tensor.dims) < options.min_elements:
            continue
        name, (rows, columns) = tensor.name, tensor.dims
        if name not in written:
            packed, scales = blocks(onnx_file.array(tensor), options.bits, options.block)
            model.graph.initializer.append(numpy_helper.from_array(packed, f"{name}_b"))
            model.graph.initializer.append(numpy_helper.from_array(scales, f"{name}_s"))
            written.add(name)
            changed += 1
        replaced = helper.make_node(
            "MatMulNBits", [node.input[0], f"{name}_b", f"{name}_s"], list(node.output), name=node.name,
            domain=_MICROSOFT, K=rows, N=columns, bits=options.bits, block_size=options.block, accuracy_level=4,
        )  # fmt: skip
        node.CopyFrom(replaced)
    if changed and all(entry.domain != _MICROSOFT for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
    onnx_file.drop_unused_initializers(model)
    return model, changed


def blocks(
    weights: NDArray[np.float32], bits: int, block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """MatMulNBits' form of a [K, N] weight: bytes [N, blocks, block * bits / 8] and scales [N * blocks].

    Symmetric around the middle of the unsigned range, which is the operator's default zero point.
    """
    rows, columns = weights.shape
    count = -(-rows // block)
    padded = np.zeros((columns, count * block), np.float32)
    padded[:, :rows] = weights.T
    grouped = padded.reshape(columns, count, block)
    middle = 2 ** (bits - 1)
    # The extreme maps to the end of the range that has one step more.
    extreme = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=2, keepdims=True), axis=2)
    scale = np.where(extreme == 0, 1, extreme / -middle).astype(np.float32)
    values = np.clip(np.rint(grouped / scale) + middle, 0, 2 * middle - 1).astype(np.uint8)
    packed = values if bits == 8 else (values[:, :, 0::2] | (values[:, :, 1::2] << 4)).astype(np.uint8)
    return packed, scale.reshape(-1)


def gemm_to_matmul(model: Any) -> None:
    """Rewrite each plain Gemm with a constant weight as MatMul and Add, in place."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[Any] = []
    for node in model.graph.node:
        values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        plain = (
            not values.get("transA", 0) and values.get("alpha", 1.0) == 1.0 and values.get("beta", 1.0) == 1.0
        )
        if node.op_type != "Gemm" or not plain or node.input[1] not in constants:
            nodes.append(node)
            continue
        weight = onnx_file.array(constants[node.input[1]])
        name, output = f"{node.input[1]}_mm", node.output[0]
        if name not in constants:
            turned = np.ascontiguousarray(weight.T) if values.get("transB", 0) else weight
            constants[name] = numpy_helper.from_array(turned, name)
            model.graph.initializer.append(constants[name])
        has_bias = len(node.input) > 2 and node.input[2]
        product = f"{output}_mm" if has_bias else output
        nodes.append(helper.make_node("MatMul", [node.input[0], name], [product], name=f"{node.name}_MatMul"))
        if has_bias:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [output], name=f"{node.name}_Add"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx_file.drop_unused_initializers(model)
