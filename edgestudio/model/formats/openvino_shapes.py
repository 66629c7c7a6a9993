"""Works out the shapes that an OpenVINO IR leaves open, by the one set of rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgestudio.model.formats.openvino_bodies import LOOPS, gathered, handed, rounds
from edgestudio.model.graph import Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer
from edgestudio.model.shapes.call import Call, axis_of
from edgestudio.model.shapes.results import agreed, results_of


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    With `dimensions` open sizes of inputs are set, as "input:axis", and an open first one becomes 1 (one sample).
    """
    return infer(model, _OpenVino(), dimensions, handed)


class _OpenVino:
    """OpenVINO's operators."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        try:
            if node.op in _RECURRENT:
                return Results(_recurrent(node, shapes))
            call = Call(_NAMES.get(node.op, node.op), node.attributes, shapes, values)
            change = _CHANGES.get(node.op)
            return results_of(call if change is None else change(call))
        except (LookupError, TypeError, ValueError, ArithmeticError):
            return Results([])

    def arguments(self, node: Node) -> int:
        return 0  # what is handed to a body is named by a map of ports

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        trips = rounds(node, shapes, values) if node.op in LOOPS else None
        return agreed(gathered(node, results, trips))

    def sees_around(self) -> bool:
        return False


def listed(value: Any) -> list[int]:
    """An attribute that lists numbers; of one alone the reader makes a number."""
    if isinstance(value, list):
        return [int(item) for item in value]
    return [int(value)] if isinstance(value, int) else []


def _window(call: Call, kernel: Sequence[int] = ()) -> Call:
    """Strides, dilations and borders with an entry for every dimension."""
    given, count = call.attributes, len(call.shape(0)) - 2
    begins, ends = (listed(given.get(name)) or [0] * count for name in ("pads_begin", "pads_end"))
    auto = str(given.get("auto_pad") or "explicit")
    edges = [edge for pair in zip(begins, ends, strict=True) for edge in pair]
    attributes = {
        "padding": "SAME" if auto.startswith("same") else "VALID" if auto == "valid" else "EXPLICIT",
        "strides": [1, 1, *(listed(given.get("strides")) or [1] * count)],
        "dilations": [1, 1, *(listed(given.get("dilations")) or [1] * count)],
        "explicit_paddings": [0, 0, 0, 0, *edges], "data_format": "NCHW", "ksize": [1, 1, *kernel],
        "ceil": str(given.get("rounding_type", "")).startswith("ceil"),
    }  # fmt: skip
    return call._replace(attributes=attributes)


def _convolution(call: Call) -> Call:
    """Weights are (out, in, …kernel)."""
    out, channels, *kernel = call.shape(1)
    return _window(call._replace(op="Conv2D", shapes=[call.shapes[0], (*kernel, channels, out)]))


def _grouped(call: Call) -> Call:
    groups, out, channels, *kernel = call.shape(1)
    outs = groups * out if isinstance(groups, int) and isinstance(out, int) else None
    return _window(call._replace(op="Conv2D", shapes=[call.shapes[0], (*kernel, channels, outs)]))


def _transposed(call: Call) -> Call:
    """Weights are (in, out, …kernel), with groups before them."""
    shape = call.shape(1)
    group = shape[0] if call.op.startswith("Group") else 1
    channels, out, *kernel = shape[-len(call.shape(0)) :]
    changed = _window(call)
    sizes = list(call.numbers(2)) if len(call.shapes) > 2 else None
    extra = {
        "group": group,
        "output_shape": sizes,
        "output_padding": listed(call.attributes.get("output_padding")),
    }
    return Call(
        "ConvTranspose",
        {**changed.attributes, **extra},
        [call.shapes[0], (*kernel, out, channels)],
        [None] * 2,
    )


def _pooling(call: Call) -> Call:
    """The newer operator also tells where the maxima are."""
    return _window(call._replace(op="MaxPoolWithArgmax"), listed(call.attributes.get("kernel")))


def _adaptive(call: Call) -> Call:
    return call._replace(op="ResizeBilinear", attributes={"data_format": "NCHW"})


def _with_axis(op: str, *, default: int = 0, first: bool = False) -> Callable[[Call], Call]:
    """The axis is an attribute here and an input there."""

    def change(call: Call) -> Call:
        axis = int(call.attributes.get("axis", default))
        shapes, values = [*call.shapes, ()], [*call.values, (axis,)]
        if first:
            shapes, values = [(), *call.shapes], [(axis,), *call.values]
        return call._replace(op=op, shapes=shapes, values=values)

    return change


def _split(call: Call) -> Call:
    return Call("Split", {"num_split": call.attributes["num_splits"]}, call.shapes[::-1], call.values[::-1])


def _variadic(call: Call) -> Call:
    order = (0, 2, 1)
    return Call("SplitV", {}, [call.shapes[at] for at in order], [call.values[at] for at in order])


def _strided(call: Call) -> Call:
    """Masks are lists with a one where the bound is left out, not bits."""
    masks = {
        f"{there}_mask": sum(bit << at for at, bit in enumerate(listed(call.attributes.get(f"{here}_mask"))))
        for here, there in (("begin", "begin"), ("end", "end"), ("ellipsis", "ellipsis"), ("new_axis", "new_axis"),
                            ("shrink_axis", "shrink_axis"))
    }  # fmt: skip
    shapes, values = list(call.shapes), list(call.values)
    if len(shapes) < 4:
        count = call.shape(1)[0]
        shapes.append((count,))
        values.append((1,) * int(count or 0))
    return call._replace(attributes=masks, shapes=shapes, values=values)


def _slice(call: Call) -> Call:
    """Bounds for the axes that are named, whole ranges for the others."""
    data, starts = call.shape(0), call.shape(1)[0]
    axes = call.numbers(4) if len(call.shapes) > 4 else list(range(int(starts or 0)))
    rank = len(data)
    bounds: list[list[Any]] = [[0] * rank, [(1 << 31) - 1] * rank, [1] * rank]
    open_begin, open_end = (1 << rank) - 1, (1 << rank) - 1
    for at, axis in enumerate(axes):
        place = axis_of(axis, rank)
        open_begin &= ~(1 << place)
        open_end &= ~(1 << place)
        for slot, row in enumerate(bounds):
            row[place] = None if call.values[slot + 1] is None else call.numbers(slot + 1)[at]
        step, stop = bounds[2][place], bounds[1][place]
        if isinstance(step, int) and step < 0 and isinstance(stop, int) and stop <= -(1 << 31):
            open_end |= 1 << place
    attributes = {"begin_mask": open_begin, "end_mask": open_end}
    sizes = [(rank,)] * 3
    return Call("StridedSlice", attributes, [data, *sizes], [call.values[0], *(tuple(row) for row in bounds)])


def _pad(call: Call) -> Call:
    pairs = zip(call.numbers(1), call.numbers(2), strict=True)
    edges = tuple(edge for pair in pairs for edge in pair)
    filler = call.values[3:4] or [(0,)]
    return Call("PadV2", {}, [call.shapes[0], (len(edges),), ()], [call.values[0], edges, *filler])


def _interpolated(call: Call) -> Call:
    """Sizes or factors of the axes that are named; borders are added before."""
    shape, given = call.shape(0), call.attributes
    begins, ends = listed(given.get("pads_begin")), listed(given.get("pads_end"))
    out = list(shape)
    for at, (one, two) in enumerate(zip(begins, ends, strict=False)):
        size = out[at]
        out[at] = size + one + two if isinstance(size, int) else size
    by_scale = given.get("shape_calculation_mode") == "scales"
    slot = 2 if by_scale and _has_both(call) else 1
    axes = (
        call.numbers(3 if _has_both(call) else 2)
        if len(call.shapes) > (3 if _has_both(call) else 2)
        else None
    )
    if axes is None:
        axes = listed(given.get("axes")) or list(range(len(shape)))
    for axis, number in zip(axes, call.numbers(slot), strict=True):
        size = out[axis_of(axis, len(shape))]
        if by_scale:
            number = int(size * number + 1e-6) if isinstance(size, int) else None
        out[axis_of(axis, len(shape))] = number
    return Call("Fill", {}, [], [tuple(-1 if size is None else size for size in out)])


def _has_both(call: Call) -> bool:
    """True for the older operator, which has sizes and factors: 4 inputs, or 3 of which the third is no axis."""
    third = call.values[2] if len(call.values) > 2 else None
    return len(call.shapes) > 3 or (third is not None and any(isinstance(item, float) for item in third))


def _gather(call: Call) -> Call:
    shape, axis = call.shape(0), call.number(2)
    return call._replace(op="GatherV2", values=[*call.values[:2], (axis_of(axis, len(shape)),)])


def _cast(call: Call) -> Call:
    target = str(call.attributes.get("destination_type", ""))
    return call._replace(op="Cast", attributes={"DstT": "int" if target[:1] in "iu" else "float"})


def _reshape(call: Call) -> Call:
    return call._replace(attributes={"zero_copies": call.attributes.get("special_zero") is True})


def _broadcast(call: Call) -> Call:
    return call._replace(
        op="BroadcastTo", attributes={"both_ways": call.attributes.get("mode") == "bidirectional"}
    )


def _blocks(op: str) -> Callable[[Call], Call]:
    return lambda call: call._replace(
        op=op, attributes={"block_size": call.attributes["block_size"], "data_format": "NCHW"}
    )


def _space_batch(call: Call) -> Call:
    """Every dimension has a block and borders here; that of the batch is one."""
    block = call.numbers(1)
    edges = [one + two for one, two in zip(call.numbers(2), call.numbers(3), strict=True)]
    is_down = call.op == "SpaceToBatch"
    sizes = [
        -1 if not isinstance(size, int) else (size + edge) // by if is_down else size * by - edge
        for size, edge, by in zip(call.shape(0), edges, block, strict=True)
    ]
    area, batch = math.prod(block), call.shape(0)[0]
    sizes[0] = -1 if not isinstance(batch, int) else batch * area if is_down else batch // area
    return Call("Fill", {}, [], [tuple(sizes)])


def _suppressed(call: Call) -> Call:
    return call._replace(op="Fill", values=[(-1, 3)])


_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_RECURRENT = {f"{kind}{what}" for kind in _GATES for what in ("Cell", "Sequence")}


def _recurrent(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    """Sequences give (batch, directions, steps, hidden) and the states; cells give the states."""
    data, hidden = shapes[0], int(node.attributes["hidden_size"])
    if data is None:
        return []
    states = 2 if node.op.startswith("LSTM") else 1
    if node.op.endswith("Cell"):
        return [(data[0], hidden)] * states
    ways = 2 if node.attributes.get("direction") == "bidirectional" else 1
    return [(data[0], ways, data[1], hidden), *([(data[0], ways, hidden)] * states)]


_NAMES = {
    "Multiply": "Mul", "Subtract": "Sub", "Divide": "RealDiv", "Power": "Pow", "Negative": "Neg",
    "Clamp": "ClipByValue",
    "HSwish": "HardSwish", "HSigmoid": "Sigmoid", "HardSigmoid": "Sigmoid", "SoftMax": "Softmax", "MVN": "Identity",
    "NormalizeL2": "Identity", "BatchNormInference": "Identity", "FakeQuantize": "Identity", "GRN": "Identity",
    "PRelu": "Relu", "SoftPlus": "Softplus", "Mish": "Relu", "ReLU": "Relu", "CumSum": "Cumsum", "ShapeOf": "Shape",
    "ReadValue": "Identity", "Assign": "Identity", "GroupNormalization": "Identity", "Ceiling": "Ceil",
    "ConvertLike": "Identity", "FakeConvert": "Identity", "NonZero": "Where",
    "ReduceMean": "Mean", "ReduceSum": "Sum", "ReduceMax": "Max", "ReduceMin": "Min", "ReduceProd": "Prod",
    "ReduceL1": "Sum", "ReduceL2": "Sum", "ReduceLogicalAnd": "All", "ReduceLogicalOr": "Any",
    "Unsqueeze": "ExpandDims",
    "GatherND": "GatherNd", "ScatterUpdate": "ScatterElements", "ScatterNDUpdate": "ScatterElements",
    "ScatterElementsUpdate": "ScatterElements", "TopK": "TopKV2", "ScaledDotProductAttention": "Attention",
    "Select": "SelectV2", "BitwiseNot": "Invert",
}  # fmt: skip
_CHANGES: dict[str, Callable[[Call], Call]] = {
    "Convolution": _convolution, "GroupConvolution": _grouped, "ConvolutionBackpropData": _transposed,
    "GroupConvolutionBackpropData": _transposed, "MaxPool": _pooling, "AvgPool": _pooling, "BinaryConvolution":
    _convolution, "AdaptiveAvgPool": _adaptive, "AdaptiveMaxPool": _adaptive, "Concat": _with_axis("ConcatV2"),
    "Split": _split, "VariadicSplit": _variadic, "StridedSlice": _strided, "Slice": _slice, "Pad": _pad,
    "Interpolate": _interpolated, "Gather": _gather, "Convert": _cast, "Reshape": _reshape, "Broadcast": _broadcast,
    "SpaceToDepth": _blocks("SpaceToDepth"), "DepthToSpace": _blocks("DepthToSpace"), "SpaceToBatch": _space_batch,
    "BatchToSpace": _space_batch, "NonMaxSuppression": _suppressed, "GatherElements":
    lambda call: call._replace(op="Select"),
}  # fmt: skip
