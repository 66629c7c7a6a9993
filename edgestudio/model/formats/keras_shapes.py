"""Works out the output shape of Keras layers, which older files do not hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgestudio.model.graph import Dimension, Model, Node
from edgestudio.model.inference import Results, Values, infer
from edgestudio.model.sizes import broadcast, product

Shape = tuple[Dimension, ...] | None

_SAME = {
    "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Dropout", "SpatialDropout1D", "SpatialDropout2D",
    "BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization", "GaussianNoise",
    "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Rescaling", "Normalization", "Masking", "Identity",
    "MultiHeadAttention", "RandomFlip", "RandomRotation",
}  # fmt: skip
_MERGE = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"}


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from the sizes of its inputs."""
    return infer(model, _Layers(), dimensions)


class _Layers:
    """The layers of Keras; nested models are graphs of their own."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        return Results([output_shape(node.op, node.attributes, shapes, ())])

    def arguments(self, node: Node) -> int:
        return len(node.inputs) if node.op == "TimeDistributed" else 0

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        found = list(results[0]) if results else []
        given = shapes[0] if shapes else None
        if node.op == "TimeDistributed":
            return [
                None if out is None or given is None else (given[0], given[1], *out[1:]) for out in found[:1]
            ]
        return found

    def sees_around(self) -> bool:
        return False


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


def _each_step(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], inputs: Sequence[Shape]) -> Shape:
    """A layer that is called at each step: its own rule without the axis of the steps."""
    inner = output_shape(str(attributes["layer"]), attributes, [(shape[0], *shape[2:])], inputs[1:])
    return None if inner is None else (inner[0], shape[1], *inner[1:])


def _convolved_steps(
    attributes: Mapping[str, Any], shape: tuple[Dimension, ...], inputs: Sequence[Shape]
) -> Shape:
    inner = _convolution(attributes, (shape[0], *shape[2:]), inputs)
    if inner is None:
        return None
    return (inner[0], shape[1], *inner[1:]) if attributes.get("return_sequences") else inner


def _equation(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], inputs: Sequence[Shape]) -> Shape:
    """EinsumDense: the letters of the result, with their sizes in the data and the kernel."""
    terms, _, result = str(attributes["equation"]).replace(" ", "").partition("->")
    data, _, kernel = terms.partition(",")
    sizes: dict[str, Dimension] = {}
    weights = next((other for other in inputs[1:] if other is not None and len(other) == len(kernel)), None)
    for letters, known in (
        (kernel, weights),
        (data.lstrip("."), shape[len(shape) - len(data.lstrip(".")) :]),
    ):
        sizes.update(zip(letters, known or (), strict=False))
    head = shape[: len(shape) - len(data.lstrip("."))] if data.startswith("...") else ()
    return (*head, *(sizes[letter] for letter in result.lstrip(".")))


def _same_as_query(_: Mapping[str, Any], shape: tuple[Dimension, ...], __: Sequence[Shape]) -> Shape:
    return shape


_REDUCING = {
    "reduce_mean",
    "reduce_sum",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_std",
    "reduce_variance",
}
_ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "truediv", "maximum", "minimum", "pow", "abs", "exp", "log", "sqrt",
    "rsqrt", "square", "relu", "relu6", "sigmoid", "tanh", "softmax", "swish", "silu", "gelu", "negative", "cast",
    "clip_by_value", "leaky_relu", "softplus", "sin", "cos", "round", "floor", "mul", "sub", "rsub", "radd", "rmul",
    "rtruediv", "neg", "identity", "stop_gradient", "l2_normalize", "dropout", "erf",
}  # fmt: skip


def _function(attributes: Mapping[str, Any], shape: tuple[Dimension, ...], inputs: Sequence[Shape]) -> Shape:
    """A function of TensorFlow that the model calls as a layer."""
    word = str(attributes["function"]).rpartition(".")[2].strip("_")
    if word in _ELEMENTWISE:
        return broadcast(inputs)
    if word in _REDUCING:
        given = attributes.get("axis")
        axes = range(len(shape)) if given is None else given if isinstance(given, list) else [given]
        dropped = {axis % len(shape) for axis in axes}
        kept = bool(attributes.get("keepdims"))
        return tuple(
            1 if at in dropped else size for at, size in enumerate(shape) if kept or at not in dropped
        )
    if word == "reshape":
        target = list(attributes["shape"])
        rest = product([size for size in target if size != -1])
        total = product(shape[1:]) if target[0] == -1 else None
        if target[0] == -1 and total == rest:
            return (shape[0], *target[1:])
        return tuple(None if size == -1 else size for size in target)
    if word == "transpose":
        return tuple(shape[axis] for axis in attributes["perm"])
    if word == "expand_dims":
        axis = attributes["axis"] % (len(shape) + 1)
        return (*shape[:axis], 1, *shape[axis:])
    return None


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
    "TimeDistributed": _each_step, "EinsumDense": _equation, "TFOpLambda": _function,
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolved_steps),
    **dict.fromkeys(("GroupQueryAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention"), _same_as_query),
    "RepeatVector": _repeated, "Permute": _permuted,
}  # fmt: skip
