"""Works out the shapes between layers of a Core ML neural network, which its file does not hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgestudio.model.formats.coreml_network_rules import CHANGES
from edgestudio.model.graph import Dimension, Node
from edgestudio.model.inference import Results, Shape, Values
from edgestudio.model.shapes.call import Call
from edgestudio.model.shapes.results import results_of

_SAME = {
    "activation", "batchnorm", "scale", "bias", "softmax", "unary", "lrn", "mvn", "l2normalize", "dropout", "clip",
    "copy", "softmaxND",
    "layerNormalization", "gelu", "tanh", "erf",
}  # fmt: skip
_ELEMENTWISE = {"add", "multiply", "average", "max", "min"}


def results(node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
    """Shapes and small numbers of a layer's outputs; nothing when too little is known."""
    change = CHANGES.get(node.op)
    count = max(len(node.outputs), 1)
    if change is None:
        return Results([output_shape(node, shapes)] * count)
    try:
        found = change(Call(node.op, node.attributes, shapes, values))
        return Results(found) if isinstance(found, list) else results_of(found)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return Results([])


def output_shape(node: Node, inputs: Sequence[Shape]) -> Shape:
    """Shape of a layer's outputs, None when it is of another kind or its input is not known.

    Images are (…, channels, height, width), the last three of whatever rank the input has.
    """
    first = inputs[0] if inputs else None
    if first is None:
        return None
    if node.op in _SAME:
        return first
    if node.op in _ELEMENTWISE:
        return max((shape for shape in inputs if shape is not None), key=_known_elements)
    wide = _ARRAY_RULES.get(node.op)
    if wide is not None:
        try:
            found = wide(node.attributes, first, inputs)
        except (LookupError, TypeError, ValueError):
            return None
        if found is not None or node.op not in _RULES:
            return found
    rule = _RULES.get(node.op)
    if rule is None or len(first) < 3:
        return _dense(first, node.attributes) if node.op == "innerProduct" else None
    head, (channels, height, width) = first[:-3], first[-3:]
    if not all(isinstance(size, int) for size in (channels, height, width)):
        return None
    found = rule(node.attributes, (channels, height, width), inputs)
    return None if found is None else (*head, *found)


def _known_elements(shape: tuple[Dimension, ...]) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def _dense(shape: tuple[Dimension, ...], attributes: dict[str, Any] | Any) -> Shape:
    return (*shape[:-1], attributes["outputChannels"]) if "outputChannels" in attributes else None


def _pair(attributes: Any, name: str, default: int = 1) -> tuple[int, int]:
    values = attributes.get(name) or [default, default]
    return (values[0], values[-1]) if isinstance(values, list) else (default, default)


def _borders(attributes: Any) -> list[tuple[int, int]]:
    """Padding of height and width, from the `valid` padding's amounts."""
    valid = attributes.get("valid")
    amounts = valid.get("paddingAmounts") if isinstance(valid, dict) else None
    edges = amounts.get("borderAmounts") if isinstance(amounts, dict) else None
    return edges if isinstance(edges, list) and len(edges) == 2 else [(0, 0), (0, 0)]


def _slide(attributes: Any, sizes: tuple[int, int], default_kernel: int) -> tuple[int, int]:
    kernel, stride = _pair(attributes, "kernelSize", default_kernel), _pair(attributes, "stride")
    dilation = _pair(attributes, "dilationFactor")
    if "same" in attributes:
        return -(-sizes[0] // max(stride[0], 1)), -(-sizes[1] // max(stride[1], 1))
    borders = _borders(attributes)
    height, width = (
        (size + sum(border) - step * (window - 1) - 1) // max(jump, 1) + 1
        for size, border, step, window, jump in zip(sizes, borders, dilation, kernel, stride, strict=True)
    )
    return max(height, 0), max(width, 0)


def _convolution(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    _, height, width = image
    channels = attributes.get("outputChannels")
    if not attributes.get("isDeconvolution"):
        return (channels, *_slide(attributes, (height, width), 3))
    declared = attributes.get("outputShape")
    if isinstance(declared, list) and len(declared) == 2:
        return (channels, *declared)
    stride, kernel = _pair(attributes, "stride"), _pair(attributes, "kernelSize", 3)
    if "same" in attributes:
        return channels, height * stride[0], width * stride[1]
    borders = _borders(attributes)
    sizes = ((height - 1) * stride[0] + kernel[0], (width - 1) * stride[1] + kernel[1])
    return channels, sizes[0] - sum(borders[0]), sizes[1] - sum(borders[1])


def _pooling(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = image
    if attributes.get("globalPooling"):
        return channels, 1, 1
    if "includeLastPixel" in attributes:
        kernel, stride = _pair(attributes, "kernelSize", 3), _pair(attributes, "stride")
        pad = attributes["includeLastPixel"]
        amounts = pad.get("paddingAmounts", [0, 0]) if isinstance(pad, dict) else [0, 0]
        sizes = [
            -((window - size - 2 * border) // max(jump, 1)) + 1
            for size, border, window, jump in zip((height, width), amounts, kernel, stride, strict=False)
        ]
        return (channels, *sizes) if len(sizes) == 2 else None
    return (channels, *_slide(attributes, (height, width), 3))


def _concat(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    if any(shape is None or len(shape) < 3 or not isinstance(shape[-3], int) for shape in inputs):
        return None
    return (sum(shape[-3] for shape in inputs if shape and isinstance(shape[-3], int)), *image[1:])


def _upsample(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    factor = _pair(attributes, "scalingFactor", 2)
    return image[0], image[1] * factor[0], image[2] * factor[1]


def _dense_image(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    return attributes.get("outputChannels"), 1, 1


def _flatten(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    return math.prod(image), 1, 1


def _reshape(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    target = attributes.get("targetShape")
    return tuple(target[-3:]) if isinstance(target, list) and len(target) >= 3 else None


def _pad(attributes: Any, image: Any, inputs: Sequence[Shape]) -> Shape:
    amounts = attributes.get("paddingAmounts")
    edges = amounts.get("borderAmounts") if isinstance(amounts, dict) else None
    if not isinstance(edges, list) or len(edges) != 2:
        return None
    return image[0], image[1] + sum(edges[0]), image[2] + sum(edges[1])


def _array_dense(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    """On arrays the last axis is multiplied; an image, whose three are one vector, is left to the other rule."""
    if shape[-1] != attributes.get("inputChannels") or (
        len(shape) >= 3 and math.prod(shape[-3:]) == shape[-1]
    ):
        return None
    return (*shape[:-1], attributes["outputChannels"])


def _array_reshape(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    return tuple(attributes["targetShape"])


def _array_transpose(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    return tuple(shape[axis] for axis in attributes["axes"])


def _array_expand(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    axes = attributes["axes"]
    rank = len(shape) + len(axes)
    ones, sizes = {axis % rank for axis in axes}, iter(shape)
    return tuple(1 if axis in ones else next(sizes) for axis in range(rank))


def _array_squeeze(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    axes = attributes.get("axes")
    dropped = {axis % len(shape) for axis in axes} if axes else {i for i, s in enumerate(shape) if s == 1}
    return tuple(size for axis, size in enumerate(shape) if axis not in dropped)


def _array_product(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    other = inputs[1] if len(inputs) > 1 else (attributes["weightMatrixFirstDimension"],
                                               attributes["weightMatrixSecondDimension"])  # fmt: skip
    if other is None:
        return None
    rows = shape[-1] if attributes.get("transposeA") else shape[-2]
    columns = other[-2] if attributes.get("transposeB") else other[-1]
    head = shape[:-2] if len(shape) >= len(other) else other[:-2]
    return (*head, rows, columns)


def _array_embedding(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    return (*shape[:-1], attributes["embeddingSize"])


def _array_slice(attributes: Any, shape: Any, inputs: Sequence[Shape]) -> Shape:
    begins, ends, steps = attributes["beginIds"], attributes["endIds"], attributes["strides"]
    open_begin, open_end = attributes.get("beginMasks") or [], attributes.get("endMasks") or []
    drops = attributes.get("squeezeMasks") or []
    out = []
    for axis, size in enumerate(shape):
        start = None if axis < len(open_begin) and open_begin[axis] else begins[axis]
        stop = None if axis < len(open_end) and open_end[axis] else ends[axis]
        if not (axis < len(drops) and drops[axis]):
            out.append(len(range(*slice(start, stop, steps[axis]).indices(size))))
    return tuple(out)


_ARRAY_RULES = {
    "innerProduct": _array_dense, "reshapeStatic": _array_reshape, "transpose": _array_transpose,
    "expandDims": _array_expand, "squeeze": _array_squeeze, "batchedMatmul": _array_product,
    "embeddingND": _array_embedding, "sliceStatic": _array_slice,
}  # fmt: skip
_RULES = {
    "convolution": _convolution, "pooling": _pooling, "concat": _concat, "upsample": _upsample,
    "innerProduct": _dense_image, "flatten": _flatten, "reshape": _reshape, "padding": _pad,
}  # fmt: skip
