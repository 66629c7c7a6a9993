"""Works out the output shape of Keras layers, which older files do not hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgestudio.model.graph import Dimension

Shape = tuple[Dimension, ...] | None

_SAME = {
    "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Dropout", "SpatialDropout1D", "SpatialDropout2D",
    "BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization", "GaussianNoise",
    "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Rescaling", "Normalization", "Masking", "Identity",
    "MultiHeadAttention", "RandomFlip", "RandomRotation",
}  # fmt: skip
_MERGE = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"}


def output_shape(
    op: str, attributes: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]
) -> Shape:
    """Shape of the layer's output, batch first; None when the layer or its input is not known."""
    first = inputs[0] if inputs else None
    if first is None:
        return None
    if op in _SAME:
        return first
    if op in _MERGE:
        shapes = [shape for shape in inputs if shape is not None]
        return max(shapes, key=lambda shape: math.prod(size for size in shape if isinstance(size, int)))
    rule = _RULES.get(op)
    try:
        return rule(attributes, first, [*inputs, *weights]) if rule is not None else None
    except (TypeError, IndexError, KeyError, ValueError):
        return None


def _axes(attributes: Mapping[str, Any], shape: tuple[Dimension, ...]) -> tuple[slice, int]:
    """Where the spatial sizes and where the channels are."""
    if attributes.get("data_format") == "channels_first":
        return slice(2, len(shape)), 1
    return slice(1, len(shape) - 1), len(shape) - 1


def _tuple(value: Any, count: int) -> list[int]:
    values = value if isinstance(value, list) else [value] * count
    return [int(item) for item in values]


def _build(
    attributes: Mapping[str, Any], shape: tuple[Dimension, ...], spatial: list[Dimension], channels: Any
) -> Shape:
    if attributes.get("data_format") == "channels_first":
        return (shape[0], channels, *spatial)
    return (shape[0], *spatial, channels)


def _slid(attributes: Mapping[str, Any], sizes: Sequence[Dimension], window: Any) -> list[Dimension]:
    count = len(sizes)
    windows = _tuple(window, count)
    strides = _tuple(attributes.get("strides") or (window if "pool_size" in attributes else 1), count)
    dilations = _tuple(attributes.get("dilation_rate") or 1, count)
    is_same = attributes.get("padding") in ("same", "causal")
    found: list[Dimension] = []
    for size, width, stride, dilation in zip(sizes, windows, strides, dilations, strict=True):
        if not isinstance(size, int):
            found.append(None)
        elif is_same:
            found.append(-(-size // stride))
        else:
            found.append((size - dilation * (width - 1) - 1) // stride + 1)
    return found


def _convolution(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    spatial, _channels = _axes(attributes, shape)
    return _build(
        attributes, shape, _slid(attributes, shape[spatial], attributes["kernel_size"]), attributes["filters"]
    )


def _depthwise(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    spatial, channels = _axes(attributes, shape)
    count = shape[channels]
    out = count * (attributes.get("depth_multiplier") or 1) if isinstance(count, int) else None
    return _build(attributes, shape, _slid(attributes, shape[spatial], attributes["kernel_size"]), out)


def _transposed(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    spatial, _channels = _axes(attributes, shape)
    sizes = shape[spatial]
    kernels, strides = (
        _tuple(attributes["kernel_size"], len(sizes)),
        _tuple(attributes.get("strides") or 1, len(sizes)),
    )
    is_same = attributes.get("padding") == "same"
    found: list[Dimension] = [
        None if not isinstance(size, int) else size * stride + (0 if is_same else max(kernel - stride, 0))
        for size, kernel, stride in zip(sizes, kernels, strides, strict=True)
    ]
    return _build(attributes, shape, found, attributes["filters"])


def _pooled(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    spatial, channels = _axes(attributes, shape)
    return _build(
        attributes, shape, _slid(attributes, shape[spatial], attributes["pool_size"]), shape[channels]
    )


def _global(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    _spatial, channels = _axes(attributes, shape)
    if attributes.get("keepdims"):
        return _build(attributes, shape, [1] * (len(shape) - 2), shape[channels])
    return shape[0], shape[channels]


def _dense(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    return (*shape[:-1], attributes["units"])


def _flat(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    return shape[0], math.prod(sizes) if len(sizes) == len(shape) - 1 else None


def _reshaped(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    target = list(attributes["target_shape"])
    total = _flat(attributes, shape, ())
    if -1 in target and total is not None and isinstance(total[1], int):
        rest = math.prod(size for size in target if size != -1)
        target[target.index(-1)] = total[1] // max(rest, 1)
    return (shape[0], *(size if size >= 0 else None for size in target))


def _joined(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], inputs: Sequence[Shape]) -> Shape:
    axis = attributes.get("axis", -1)
    shapes = [other for other in inputs if other is not None and len(other) == len(shape)]
    sizes = [other[axis] for other in shapes]
    whole = (
        sum(size for size in sizes if isinstance(size, int))
        if all(isinstance(s, int) for s in sizes)
        else None
    )
    out = list(shape)
    out[axis] = whole
    return tuple(out)


def _padded(
    attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape], sign: int = 1
) -> Shape:
    spatial, channels = _axes(attributes, shape)
    sizes = shape[spatial]
    amounts = attributes.get("padding", attributes.get("cropping"))
    pairs = amounts if isinstance(amounts, list) else [amounts] * len(sizes)
    found: list[Dimension] = []
    for size, pair in zip(sizes, pairs if len(sizes) > 1 else [pairs], strict=True):
        total = sum(pair) if isinstance(pair, list) else 2 * int(pair)
        found.append(size + sign * total if isinstance(size, int) else None)
    return _build(attributes, shape, found, shape[channels])


def _cropped(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], inputs: Sequence[Shape]) -> Shape:
    return _padded(attributes, shape, inputs, -1)


def _enlarged(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    spatial, channels = _axes(attributes, shape)
    factors = _tuple(attributes.get("size") or 2, len(shape[spatial]))
    found: list[Dimension] = [
        size * factor if isinstance(size, int) else None
        for size, factor in zip(shape[spatial], factors, strict=True)
    ]
    return _build(attributes, shape, found, shape[channels])


def _recurrent(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    units = attributes["units"]
    if attributes.get("layer") and attributes.get("merge_mode", "concat") == "concat":
        units *= 2
    return (*shape[:2], units) if attributes.get("return_sequences") else (shape[0], units)


def _embedded(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    return (*shape, attributes["output_dim"])


def _repeated(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    return shape[0], attributes["n"], *shape[1:]


def _permuted(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], _: Sequence[Shape]) -> Shape:
    return (shape[0], *(shape[axis] for axis in attributes["dims"]))


_RULES: dict[str, Callable[[Mapping[str, Any], tuple[Dimension, ...], Sequence[Shape]], Shape]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **{f"{kind}Pooling{rank}D": _pooled for kind in ("Max", "Average") for rank in (1, 2, 3)},
    **{f"Global{kind}Pooling{rank}D": _global for kind in ("Max", "Average") for rank in (1, 2, 3)},
    **{f"ZeroPadding{rank}D": _padded for rank in (1, 2, 3)},
    **{f"Cropping{rank}D": _cropped for rank in (1, 2, 3)},
    **{f"UpSampling{rank}D": _enlarged for rank in (1, 2, 3)},
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "Bidirectional"), _recurrent),
    "Dense": _dense, "Flatten": _flat, "Reshape": _reshaped, "Concatenate": _joined, "Embedding": _embedded,
    "RepeatVector": _repeated, "Permute": _permuted,
}  # fmt: skip
