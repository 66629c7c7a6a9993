"""Shapes that TensorFlow's operators give to their outputs, from the shapes and numbers that they read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edgestudio.model.graph import Dimension

Shape = tuple[Dimension, ...] | None
Values = tuple[Any, ...] | None


class Call(NamedTuple):
    """One operator: its attributes, and of its inputs the shapes and, where they are small and known, the values."""

    op: str
    attributes: Mapping[str, Any]
    shapes: Sequence[Shape]
    values: Sequence[Values]

    def shape(self, slot: int) -> tuple[Dimension, ...]:
        """Shape of an input; raises LookupError when unknown."""
        found = self.shapes[slot]
        if found is None:
            raise LookupError(slot)
        return found

    def numbers(self, slot: int) -> list[Any]:
        """Values of an input, single ones None where unknown; raises LookupError when none are known."""
        found = self.values[slot]
        if found is None:
            raise LookupError(slot)
        return list(found)

    def sizes(self, name: str, count: int) -> list[int]:
        """An attribute with one number per dimension, ones where it is not given."""
        found = self.attributes.get(name)
        return (
            [int(item) for item in found] if isinstance(found, list) and len(found) == count else [1] * count
        )


Rule = Callable[[Call], Shape]


def shape_of(call: Call) -> Shape:
    """Shape of the first output, None when the operator is another or too little is known."""
    rule = _RULES.get(call.op)
    try:
        return None if rule is None else rule(call)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that all of these stretch to; None when one is unknown."""
    if any(shape is None for shape in shapes):
        return None
    rank = max(len(shape or ()) for shape in shapes)
    padded = [(1,) * (rank - len(shape or ())) + (shape or ()) for shape in shapes]
    return tuple(_stretched(sizes) for sizes in zip(*padded, strict=True))


def _stretched(sizes: Sequence[Dimension]) -> Dimension:
    known = [size for size in sizes if isinstance(size, int) and size != 1]
    return known[0] if known else (None if None in sizes else 1)


def _same(call: Call) -> Shape:
    return call.shape(0)


def _merged(call: Call) -> Shape:
    return broadcast(call.shapes)


def _is_first(call: Call) -> bool:
    return str(call.attributes.get("data_format", "")).startswith("NC")


def _slid(call: Call, size: Dimension, window: Dimension, step: int, dilation: int, edge: Any) -> Dimension:
    if not isinstance(size, int) or not isinstance(window, int) or step < 1:
        return None
    padding = call.attributes.get("padding")
    if padding == "SAME":
        return -(-size // step)
    return max(
        (size + (sum(edge) if padding == "EXPLICIT" else 0) - dilation * (window - 1) - 1) // step + 1, 0
    )


def _windows(call: Call, kernel: Sequence[Dimension], channels: Dimension) -> Shape:
    """What a window of these spatial sizes leaves of the first input."""
    shape = call.shape(0)
    rank = len(shape)
    steps, dilations = call.sizes("strides", rank), call.sizes("dilations", rank)
    borders = call.attributes.get("explicit_paddings") or [0] * (2 * rank)
    first = 2 if _is_first(call) else 1
    out = list(shape)
    for position, window in enumerate(kernel):
        axis = first + position
        edge = borders[2 * axis : 2 * axis + 2]
        out[axis] = _slid(call, shape[axis], window, steps[axis], dilations[axis], edge)
    out[1 if _is_first(call) else rank - 1] = channels
    return tuple(out)


def _convolution(call: Call) -> Shape:
    kernel = call.shape(1)
    return _windows(call, kernel[:-2], kernel[-1])


def _depthwise(call: Call) -> Shape:
    *kernel, channels, multiplier = call.shape(1)
    known = isinstance(channels, int) and isinstance(multiplier, int)
    return _windows(call, kernel, channels * multiplier if known else None)  # type: ignore[operator]


def _pooling(call: Call) -> Shape:
    shape = call.shape(0)
    windows = call.sizes("ksize", len(shape))
    first = 2 if _is_first(call) else 1
    channels = shape[1 if _is_first(call) else -1]
    return _windows(call, windows[first : first + len(shape) - 2], channels)


def _given(slot: int) -> Rule:
    """The shape is what this input holds."""
    return lambda call: tuple(None if item is None or item < 0 else int(item) for item in call.numbers(slot))


def _product(call: Call) -> Shape:
    left, right = list(call.shape(0)), list(call.shape(1))
    if call.attributes.get("transpose_a") or call.attributes.get("adj_x"):
        left[-2:] = left[:-3:-1]
    if call.attributes.get("transpose_b") or call.attributes.get("adj_y"):
        right[-2:] = right[:-3:-1]
    head = broadcast([tuple(left[:-2]), tuple(right[:-2])])
    return None if head is None else (*head, left[-2], right[-1])


def _einsum(call: Call) -> Shape:
    equation = str(call.attributes.get("equation", "")).replace(" ", "")
    terms, _, result = equation.partition("->")
    if "." in equation or not _:
        return None
    sizes: dict[str, Dimension] = {}
    for slot, term in enumerate(terms.split(",")):
        sizes.update(zip(term, call.shape(slot), strict=True))
    return tuple(sizes[letter] for letter in result)


def _axis(value: Any, rank: int) -> int:
    axis = int(value)
    if not -rank <= axis < rank:
        raise ValueError("axis")
    return axis % rank


def _concat(call: Call, parts: Sequence[int], axis_slot: int) -> Shape:
    shapes = [call.shape(slot) for slot in parts]
    axis = _axis(call.numbers(axis_slot)[0], len(shapes[0]))
    along = [shape[axis] for shape in shapes]
    whole = (
        sum(size for size in along if isinstance(size, int))
        if all(isinstance(s, int) for s in along)
        else None
    )
    merged = [next((s[i] for s in shapes if isinstance(s[i], int)), None) for i in range(len(shapes[0]))]
    return (*merged[:axis], whole, *merged[axis + 1 :])


def _concat_last(call: Call) -> Shape:
    return _concat(call, range(len(call.shapes) - 1), len(call.shapes) - 1)


def _concat_first(call: Call) -> Shape:
    return _concat(call, range(1, len(call.shapes)), 0)


def _reshape(call: Call) -> Shape:
    shape, target = call.shapes[0], call.numbers(1)
    out: list[Dimension] = [item if isinstance(item, int) and item >= 0 else None for item in target]
    if out.count(None) != 1:
        return tuple(out)
    total = math.prod(shape) if shape is not None and all(isinstance(s, int) for s in shape) else None  # type: ignore[arg-type]
    rest = math.prod(size for size in out if isinstance(size, int))
    if total is not None and rest > 0:
        out[out.index(None)] = total // rest
    return tuple(out)


def _squeeze(call: Call) -> Shape:
    shape, axes = call.shape(0), call.attributes.get("squeeze_dims") or call.attributes.get("axis")
    dropped = (
        {_axis(axis, len(shape)) for axis in axes}
        if axes
        else {i for i, size in enumerate(shape) if size == 1}
    )
    return tuple(size for position, size in enumerate(shape) if position not in dropped)


def _expand(call: Call) -> Shape:
    shape = list(call.shape(0))
    shape.insert(_axis(call.numbers(1)[0], len(shape) + 1), 1)
    return tuple(shape)


def _transpose(call: Call) -> Shape:
    shape = call.shape(0)
    return tuple(shape[int(axis)] for axis in call.numbers(1))


def _pad(call: Call) -> Shape:
    shape, amounts = call.shape(0), call.numbers(1)
    edges = [amounts[2 * i : 2 * i + 2] for i in range(len(shape))]
    return tuple(s + sum(e) if isinstance(s, int) else None for s, e in zip(shape, edges, strict=True))


def _resize(call: Call) -> Shape:
    shape = call.shape(0)
    height, width = call.numbers(1)
    return (shape[0], height, width, shape[3])


def _reduce(call: Call) -> Shape:
    shape = call.shape(0)
    axes = {_axis(axis, len(shape)) for axis in call.numbers(1)}
    if call.attributes.get("keep_dims"):
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def _pack(call: Call) -> Shape:
    shape = list(call.shape(0))
    shape.insert(_axis(call.attributes.get("axis") or 0, len(shape) + 1), len(call.shapes))
    return tuple(shape)


def _gather(call: Call) -> Shape:
    shape, indices = call.shape(0), call.shape(1)
    axis = _axis(call.numbers(2)[0], len(shape)) if len(call.shapes) > 2 else 0
    return (*shape[:axis], *indices, *shape[axis + 1 :])


def _resource_gather(call: Call) -> Shape:
    if call.shapes[0] is None:  # a table of vectors, of which the file says the width elsewhere
        return (*call.shape(1), None)
    return (*call.shape(1), *call.shape(0)[1:])


def _split(call: Call) -> Shape:
    shape, count = list(call.shape(1)), int(call.attributes["num_split"])
    axis = _axis(call.numbers(0)[0], len(shape))
    size = shape[axis]
    shape[axis] = size // count if isinstance(size, int) else None
    return tuple(shape)


def _slice(call: Call) -> Shape:
    shape, begin, size = call.shape(0), call.numbers(1), call.numbers(2)
    ends = zip(shape, begin, size, strict=True)
    return tuple(
        (whole - start if isinstance(whole, int) else None) if width == -1 else width
        for whole, start, width in ends
    )


def sliced_ranges(call: Call, shape: Sequence[Dimension]) -> list[tuple[str, slice | int, Dimension]]:
    """What a strided slice does with each dimension: keep a range, pick one ("drop"), or add one ("new")."""
    begin, end, step = call.numbers(1), call.numbers(2), call.numbers(3)
    masks = {name: int(call.attributes.get(f"{name}_mask") or 0) for name in
             ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}  # fmt: skip
    used = sum(1 for i in range(len(begin)) if not (masks["new_axis"] | masks["ellipsis"]) >> i & 1)
    found: list[tuple[str, slice | int, Dimension]] = []
    at = 0
    for i in range(len(begin)):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            found += [("keep", slice(None), size) for size in shape[at : at + len(shape) - used]]
            at += len(shape) - used
        elif masks["new_axis"] & bit:
            found.append(("new", slice(None), 1))
        elif masks["shrink_axis"] & bit:
            found.append(("drop", int(begin[i]), shape[at]))
            at += 1
        else:
            start = None if masks["begin"] & bit else begin[i]
            stop = None if masks["end"] & bit else end[i]
            found.append(("keep", slice(start, stop, step[i]), shape[at]))
            at += 1
    return found + [("keep", slice(None), size) for size in shape[at:]]


def _strided(call: Call) -> Shape:
    out: list[Dimension] = []
    for what, part, size in sliced_ranges(call, call.shape(0)):
        if what == "new":
            out.append(1)
        elif what == "keep" and isinstance(part, slice):
            is_whole = part.start is None and part.stop is None and part.step in (None, 1, -1)
            out.append(
                len(range(*part.indices(size))) if isinstance(size, int) else (None if not is_whole else size)
            )
    return tuple(out)


def _tile(call: Call) -> Shape:
    return tuple(
        size * times if isinstance(size, int) and isinstance(times, int) else None
        for size, times in zip(call.shape(0), call.numbers(1), strict=True)
    )


def _blocks(*, down: bool) -> Rule:
    def rule(call: Call) -> Shape:
        batch, height, width, channels = call.shape(0)
        block = int(call.attributes["block_size"])
        if not (isinstance(height, int) and isinstance(width, int) and isinstance(channels, int)):
            return None
        if down:
            return batch, height // block, width // block, channels * block * block
        return batch, height * block, width * block, channels // (block * block)

    return rule


def _same_rank_vector(call: Call) -> Shape:
    return (len(call.shape(0)),)


def _best(call: Call) -> Shape:
    shape = call.shape(0)
    axis = _axis(call.numbers(1)[0], len(shape))
    return (*shape[:axis], *shape[axis + 1 :])


_SAME = (
    "Relu Relu6 LeakyRelu Elu Selu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax Exp Log Log1p Expm1 Sqrt Rsqrt "
    "Square Abs Neg Sign Floor Ceil Round Rint Erf Erfc Sin Cos Tan Atan Reciprocal Inv LogicalNot Identity IdentityN "
    "Snapshot StopGradient PreventGradient CheckNumerics Cast BiasAdd BiasAddV1 FusedBatchNorm FusedBatchNormV2 "
    "FusedBatchNormV3 _FusedBatchNormEx BatchNormWithGlobalNormalization LRN FakeQuantWithMinMaxVars "
    "FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 "
    "ClipByValue ReadVariableOp ZerosLike OnesLike Cumsum ReverseV2 ReverseSequence IsNan IsFinite IsInf Dropout Enter "
    "Exit Switch Merge NextIteration RefEnter Gelu MirrorPadGrad EnsureShape"
)
_MERGED = (
    "Add AddV2 AddN Sub Mul Div RealDiv FloorDiv FloorMod Mod DivNoNan MulNoNan TruncateDiv Maximum Minimum Pow "
    "SquaredDifference Atan2 Less LessEqual Greater GreaterEqual Equal NotEqual LogicalAnd LogicalOr SelectV2 "
    "Xdivy Xlogy"
)
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same), **dict.fromkeys(_MERGED.split(), _merged),
    "Select": lambda call: call.shape(1), "Conv2D": _convolution, "Conv3D": _convolution,
    "_FusedConv2D": _convolution, "DepthwiseConv2dNative": _depthwise, "_FusedDepthwiseConv2dNative": _depthwise,
    "MaxPool": _pooling, "AvgPool": _pooling, "MaxPool3D": _pooling, "AvgPool3D": _pooling,
    "Conv2DBackpropInput": _given(0), "Conv3DBackpropInputV2": _given(0), "MatMul": _product,
    "_FusedMatMul": _product, "BatchMatMul": _product, "BatchMatMulV2": _product, "BatchMatMulV3": _product,
    "Einsum": _einsum, "ConcatV2": _concat_last, "Concat": _concat_first, "Reshape": _reshape, "Squeeze": _squeeze,
    "ExpandDims": _expand, "Transpose": _transpose, "Pad": _pad, "PadV2": _pad, "MirrorPad": _pad,
    "ResizeBilinear": _resize, "ResizeNearestNeighbor": _resize, "ResizeBicubic": _resize, "ResizeArea": _resize,
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm"), _reduce),
    "Pack": _pack, "GatherV2": _gather, "Gather": _gather, "ResourceGather": _resource_gather, "Split": _split,
    "Slice": _slice, "StridedSlice": _strided, "Tile": _tile, "Shape": _same_rank_vector, "Fill": _given(0),
    "BroadcastTo": _given(1), "SpaceToDepth": _blocks(down=True), "DepthToSpace": _blocks(down=False), "ArgMax": _best,
    "ArgMin": _best, "Rank": lambda call: (), "Size": lambda call: (),
}  # fmt: skip
