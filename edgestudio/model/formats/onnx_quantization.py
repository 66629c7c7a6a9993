"""Finds the quantisation of ONNX tensors in the operators around them: QDQ pairs and QLinear operators."""

from __future__ import annotations

from collections.abc import Callable

from edgestudio.model.building import GraphBuilder
from edgestudio.model.formats.onnx_values import TensorHeader, header_values
from edgestudio.model.graph import Node, Quantization

CHANNEL_LIMIT = 65_536
"""Scales of more channels than this are not kept; no convolution has so many."""

_BINARY = ((0, 1, 2, True), (3, 4, 5, True), (0, 6, 7, False))
# (index of the tensor, of its scale, of its zero point, whether it is an input)
_SLOTS: dict[str, tuple[tuple[int, int, int, bool], ...]] = {
    "QuantizeLinear": ((0, 1, 2, False),),
    "DequantizeLinear": ((0, 1, 2, True),),
    "QLinearConv": _BINARY,
    "QLinearMatMul": _BINARY,
    "QLinearAdd": _BINARY,
    "QLinearMul": _BINARY,
    "QLinearSigmoid": ((0, 1, 2, True), (0, 3, 4, False)),
    "QLinearLeakyRelu": ((0, 1, 2, True), (0, 3, 4, False)),
    "QLinearAveragePool": ((0, 1, 2, True), (0, 3, 4, False)),
    "QLinearGlobalAveragePool": ((0, 1, 2, True), (0, 3, 4, False)),
    "QLinearSoftmax": ((0, 1, 2, True), (0, 3, 4, False)),
    "QGemm": ((0, 1, 2, True), (3, 4, 5, True), (0, 7, 8, False)),
    "DynamicQuantizeMatMul": ((1, 2, 3, True),),
    "MatMulIntegerToFloat": ((0, 2, 4, True), (1, 3, 5, True)),
}
_SCALED_LATER = ("ConvInteger", "MatMulInteger")
"""Operators on whole numbers whose scale is a product behind them: that of the data times that of the weight."""
_ZERO_POINTS = (2, 3)
_BIAS_SLOT = {"QLinearConv": 8, "QGemm": 6}


def quantization_slots(op: str) -> frozenset[int]:
    """Which inputs of an operator are scales and zero points."""
    if op in _SCALED_LATER:
        return frozenset(_ZERO_POINTS)
    return frozenset(slot for _, scale, zero, _ in _SLOTS.get(op, ()) for slot in (scale, zero))


def attach_quantization(builder: GraphBuilder, constants: dict[int, TensorHeader]) -> None:
    """Add scale and zero point to every tensor of the graph whose neighbours give them as constants."""
    values: dict[int, tuple[float, ...] | None] = {}

    def constant(index: int) -> tuple[float, ...] | None:
        if index not in values:
            header = constants.get(index)
            held = header_values(header, CHANNEL_LIMIT) if header else builder.values.get(index)
            values[index] = held
        return values[index]

    for node in builder.nodes:
        for target, scale_slot, zero_slot, is_input in _SLOTS.get(node.op, ()):
            index = _get(node.inputs if is_input else node.outputs, target)
            scale = constant(_get(node.inputs, scale_slot))
            if index < 0 or not scale or index in builder.quantizations:
                continue
            zero_index = _get(node.inputs, zero_slot)
            zero = constant(zero_index)
            dtype = builder.dtypes[index] or (builder.dtypes[zero_index] if zero_index >= 0 else "")
            builder.quantizations[index] = Quantization(
                tuple(float(s) for s in scale),
                tuple(int(z) for z in zero) if zero else (0,) * len(scale),
                _axis(node, target) if len(scale) > 1 else None,
                dtype,
            )
        _bias(builder, node)
    if any(node.op in _SCALED_LATER for node in builder.nodes):
        _scaled_later(builder, constant)


def _scaled_later(builder: GraphBuilder, constant: Callable[[int], tuple[float, ...] | None]) -> None:
    """What dynamic quantisation leaves: whole numbers, then Cast, then Mul by a Mul of the two scales."""
    writers = {tensor: node for node in builder.nodes for tensor in node.outputs}
    readers: dict[int, list[Node]] = {}
    for node in builder.nodes:
        for tensor in node.inputs:
            readers.setdefault(tensor, []).append(node)
    for node in builder.nodes:
        weight = _get(node.inputs, 1)
        if node.op not in _SCALED_LATER or weight < 0 or weight in builder.quantizations:
            continue
        casts = [each for each in readers.get(_get(node.outputs, 0), []) if each.op == "Cast"]
        products = [
            each for cast in casts for each in readers.get(_get(cast.outputs, 0), []) if each.op == "Mul"
        ]
        factors = [writers.get(tensor) for each in products for tensor in each.inputs]
        both = next((each for each in factors if each is not None and each.op == "Mul"), None)
        scale = next((found for tensor in (both.inputs if both else ()) if (found := constant(tensor))), None)
        if scale:
            zero = constant(_get(node.inputs, _ZERO_POINTS[1]))
            channels = (0 if node.op == "ConvInteger" else 1) if len(scale) > 1 else None
            builder.quantizations[weight] = Quantization(
                tuple(float(s) for s in scale),
                tuple(int(z) for z in zero) if zero else (0,) * len(scale),
                channels,
                builder.dtypes[weight],
            )


def _bias(builder: GraphBuilder, node: Node) -> None:
    """A bias of QLinearConv has, by definition, the scale of input times weight."""
    index = _get(node.inputs, _BIAS_SLOT.get(node.op, len(node.inputs)))
    data = builder.quantizations.get(_get(node.inputs, 0))
    weight = builder.quantizations.get(_get(node.inputs, 3))
    if index >= 0 and data and weight and data.scale:
        scale = tuple(data.scale[0] * s for s in weight.scale)
        builder.quantizations[index] = Quantization(
            scale, (0,) * len(scale), 0 if len(scale) > 1 else None, "int32"
        )


def _axis(node: Node, target: int) -> int:
    if node.op in ("QuantizeLinear", "DequantizeLinear"):
        axis = node.attributes.get("axis", 1)
        return axis if isinstance(axis, int) else 1
    return 0 if node.op == "QLinearConv" else 1


def _get(indices: tuple[int, ...], slot: int) -> int:
    return indices[slot] if slot < len(indices) else -1
