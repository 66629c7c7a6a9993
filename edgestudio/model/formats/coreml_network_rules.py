"""Layers of a Core ML neural network that the one set of shape rules knows, in its terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgestudio.model.graph import Dimension
from edgestudio.model.inference import Shape
from edgestudio.model.shapes.call import Call

Change = Callable[[Call], "Call | list[Shape]"]


def _as(op: str) -> Change:
    return lambda call: call._replace(op=op)


def _with(op: str, key: str, default: Any = None, **renamed: str) -> Change:
    """A parameter of the layer is a further input of the rule; others have another name there."""

    def change(call: Call) -> Call:
        found = call.attributes.get(key)
        row = found if isinstance(found, list) else [default if found is None else found]
        attributes = {there: call.attributes.get(here) for there, here in renamed.items()}
        return Call(op, attributes, [call.shapes[0], (len(row),)], [call.values[0], tuple(row)])

    return change


def _joined(call: Call) -> Call:
    axis = (int(call.attributes.get("axis") or 0),)
    return Call("ConcatV2", {}, [*call.shapes, (1,)], [*call.values, axis])


def _reduced(call: Call) -> Call:
    axes = call.attributes.get("axes")
    if call.attributes.get("reduceAll") or not axes:
        axes = list(range(len(call.shape(0))))
    keep = {"keep_dims": call.attributes.get("keepDims")}
    return Call("Sum", keep, [call.shapes[0], (len(axes),)], [None, tuple(axes)])


def _best(call: Call) -> Call:
    axis = (int(call.attributes.get("axis") or 0),)
    keep = {"keep_dims": not call.attributes.get("removeDim")}
    return Call("Sum", keep, [call.shapes[0], (1,)], [None, axis])


def _split(call: Call) -> Call:
    axis, sizes = (int(call.attributes.get("axis") or 0),), call.attributes.get("splitSizes")
    if sizes:
        return Call("SplitV", {}, [call.shapes[0], (len(sizes),), (1,)], [None, tuple(sizes), axis])
    count = call.attributes.get("numSplits") or call.attributes.get("nOutputs")
    axis = (-3,) if call.op == "split" else axis
    return Call("Split", {"num_split": count}, [(1,), call.shapes[0]], [axis, call.values[0]])


def _made(key: str) -> Change:
    return lambda call: Call("Fill", {}, [], [tuple(call.attributes[key])])


def _loaded(call: Call) -> Call:
    shape = tuple(call.attributes["shape"])
    return Call("Reshape", {}, [*call.shapes[:1], (len(shape),)], [*call.values[:1], shape])


def _channels_first(call: Call, sizes: Sequence[Any]) -> list[Shape]:
    return [(*call.shape(0)[: -len(sizes)], *sizes)]


def _target(call: Call) -> list[Shape]:
    return _channels_first(call, call.attributes["targetSize"])


def _blocks(call: Call) -> Call:
    op = "SpaceToDepth" if call.attributes.get("mode") in (None, "SPACE_TO_DEPTH") else "DepthToSpace"
    shape = call.shape(0)
    if len(shape) < 4:
        raise ValueError("rank")
    return call._replace(
        op=op, attributes={"block_size": call.attributes.get("blockSize"), "data_format": "NCHW"}
    )


def _space(call: Call, kernel: Sequence[int]) -> dict[str, Any]:
    """Steps, spacing and borders of a layer in three dimensions."""
    given = call.attributes
    axes = ("Depth", "Height", "Width")
    kind = given.get("paddingType") or "CUSTOM"
    borders = [
        given.get(f"customPadding{side}") or 0 for side in ("Front", "Back", "Top", "Bottom", "Left", "Right")
    ]
    return {
        "padding": "EXPLICIT" if kind == "CUSTOM" else kind, "data_format": "NCDHW",
        "strides": [1, 1, *(given.get(f"stride{axis}") or 1 for axis in axes)],
        "dilations": [1, 1, *(given.get(f"dilation{axis}") or 1 for axis in axes)],
        "explicit_paddings": [0, 0, 0, 0, *borders], "ksize": [1, 1, *kernel],
        "group": given.get("nGroups") or 1, "output_shape": given.get("outputShape"),
    }  # fmt: skip


def _kernel(call: Call) -> list[int]:
    return [int(call.attributes[f"kernel{axis}"]) for axis in ("Depth", "Height", "Width")]


def _convolution(call: Call) -> Call:
    kernel, out = _kernel(call), call.attributes["outputChannels"]
    attributes = _space(call, kernel)
    if call.attributes.get("isDeconvolution"):
        weight: tuple[Dimension, ...] = (*kernel, out // attributes["group"], None)
        return Call("ConvTranspose", attributes, [call.shapes[0], weight], [None] * 2)
    return Call("Conv3D", attributes, [call.shapes[0], (*kernel, None, out)], [None] * 2)


def _pooling(call: Call) -> Call:
    return Call("MaxPool", _space(call, _kernel(call)), [call.shapes[0]], [None])


def _recurrent(call: Call) -> list[Shape]:
    """Sequence and batch, then features and two ones; the states keep one step."""
    given, shape = call.attributes, call.shape(0)
    ways = 2 if call.op == "biDirectionalLSTM" else 1
    nested = given.get("params")
    keeps = given.get("sequenceOutput") or (isinstance(nested, dict) and nested.get("sequenceOutput"))
    units = given["outputVectorSize"]
    out = (shape[0] if keeps else 1, *shape[1:2], units * ways, *shape[3:])
    return [out, *([(1, *shape[1:2], units, *shape[3:])] * 4)]


def _reduced_image(call: Call) -> list[Shape]:
    *head, channels, height, width = call.shape(0)
    axes = call.attributes.get("axis") or "CHW"
    sizes = zip("CHW", (channels, height, width), strict=True)
    return [(*head, *(1 if letter in axes else size for letter, size in sizes))]


def _sliced_image(call: Call) -> list[Shape]:
    given, shape = call.attributes, list(call.shape(0))
    axis = {"HEIGHT_AXIS": -2, "WIDTH_AXIS": -1}.get(str(given.get("axis")), -3)
    size = shape[axis]
    bounds = slice(given.get("startIndex") or 0, given.get("endIndex"), given.get("stride") or 1)
    shape[axis] = len(range(*bounds.indices(size))) if isinstance(size, int) else None
    return [tuple(shape)]


def _cropped(call: Call) -> list[Shape]:
    """By amounts, or to the size of a second input."""
    *head, height, width = call.shape(0)
    if len(call.shapes) > 1:
        return [(*head, *call.shape(1)[-2:])]
    amounts = call.attributes.get("cropAmounts")
    edges = amounts.get("borderAmounts") if isinstance(amounts, dict) else None
    sizes = zip((height, width), edges or [(0, 0), (0, 0)], strict=True)
    return [(*head, *(size - sum(edge) if isinstance(size, int) else None for size, edge in sizes))]


def _by_size(call: Call) -> list[Shape]:
    shape = list(call.shape(0))
    shape[int(call.attributes.get("axis") or 0)] = call.attributes["size"]
    return [tuple(shape)]


def _slice(call: Call) -> Call | list[Shape]:
    """On a row of numbers, such as a shape, it takes numbers; on an image channels, lines or columns."""
    if len(call.shape(0)) != 1:
        return _sliced_image(call)
    given = call.attributes
    bounds = (given.get("startIndex") or 0, given.get("endIndex") or 0, given.get("stride") or 1)
    rows = [(bound,) for bound in bounds]
    return Call("StridedSlice", {}, [call.shapes[0], *[(1,)] * 3], [call.values[0], *rows])


def _flattened(call: Call) -> Call:
    shape, axis = call.shape(0), int(call.attributes.get("axis") or 0)
    rows = 1
    for size in shape[: axis if axis >= 0 else axis + len(shape)]:
        rows = rows * size if isinstance(size, int) and rows >= 0 else -1
    return Call("Reshape", {}, [shape, (2,)], [None, (rows, -1)])


_NUMBERS = {
    "addBroadcastable": "AddV2", "multiplyBroadcastable": "Mul", "subtractBroadcastable": "Sub",
    "divideBroadcastable": "RealDiv", "floorDivBroadcastable": "FloorDiv", "maxBroadcastable": "Maximum",
    "minBroadcastable": "Minimum", "modBroadcastable": "FloorMod", "whereBroadcastable": "SelectV2",
}  # fmt: skip
"""Layers that also compute the small numbers that shapes are made of."""
_SAME = (
    "ceil floor sign round exp2 sin cos tan asin acos atan sinh cosh asinh acosh atanh logicalNot clampedReLU reverse "
    "reverseSeq cumSum matrixBandPart lowerTriangular upperTriangular fillLike randomNormalLike randomUniformLike "
    "randomBernoulliLike scatter scatterND scatterAlongAxis argSort"
)
_MERGED = (
    "equal notEqual lessThan lessEqual greaterThan greaterEqual logicalOr logicalXor logicalAnd modBroadcastable "
    "minBroadcastable maxBroadcastable addBroadcastable powBroadcastable divideBroadcastable floorDivBroadcastable "
    "multiplyBroadcastable subtractBroadcastable whereBroadcastable"
)
CHANGES: dict[str, Change] = {
    **dict.fromkeys(_SAME.split(), _as("Relu")),
    **dict.fromkeys(_MERGED.split(), lambda call: call._replace(op=_NUMBERS.get(call.op, "Pow"))),
    "concatND": _joined, "splitND": _split, "split": _split, "stack": _as("Pack"), "getShape": _as("Shape"),
    "gather": lambda call: Call("GatherV2", {}, [*call.shapes[:2], (1,)],
                                [*call.values[:2], (int(call.attributes.get("axis") or 0),)]),
    "gatherND": lambda call: call._replace(op="GatherNd", attributes={}), "gatherAlongAxis": _as("Select"),
    **dict.fromkeys(("reduceL1", "reduceL2", "reduceMax", "reduceMin", "reduceSum", "reduceProd", "reduceMean",
                     "reduceLogSum", "reduceSumSquare", "reduceLogSumExp"), _reduced),
    "argMax": _best, "argMin": _best, "tile": _with("Tile", "reps"), "permute": _with("Transpose", "axis"),
    "constantPad": _with("Pad", "padAmounts"), "rankPreservingReshape": _with("Reshape", "targetShape"),
    "oneHot": _with("OneHot", "oneHotVectorSize", axis="axis"), "topK": _with("TopKV2", "K", 1, axis="axis"),
    "reshapeDynamic": lambda call: call._replace(op="Reshape", attributes={"zero_copies": True}),
    "reshapeLike": _as("Select"), "broadcastToLike": _as("Select"), "broadcastToDynamic": _as("BroadcastTo"),
    "fillDynamic": _as("Fill"), "flattenTo2D": _flattened, "convolution3d": _convolution, "pooling3d": _pooling,
    "globalPooling3d": lambda call: _channels_first(call, [1, 1, 1]), "reorganizeData": _blocks,
    "fillStatic": _made("targetShape"), "broadcastToStatic": _made("targetShape"), "loadConstantND": _loaded,
    "loadConstant": lambda call: [(1, 1, *call.attributes["shape"])], "resizeBilinear": _target, "cropResize": _target,
    **dict.fromkeys(("uniDirectionalLSTM", "biDirectionalLSTM", "gru", "simpleRecurrent"), _recurrent),
    "reduce": _reduced_image, "slice": _slice, "crop": _cropped, "sliceBySize": _by_size,
}  # fmt: skip
