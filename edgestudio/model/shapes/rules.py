"""Which rule gives the shapes of which operator, by TensorFlow's names."""

from __future__ import annotations

from edgestudio.model.shapes import arrangement as moved
from edgestudio.model.shapes import windows as slid
from edgestudio.model.shapes.call import Call, Rows, Rule, Shape
from edgestudio.model.sizes import product


def shapes_of(call: Call) -> list[Shape]:
    """Shapes of the outputs as far as they follow; empty when the operator is another or too little is known."""
    rule = RULES.get(call.op)
    try:
        found = None if rule is None else rule(call)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return []
    return found if isinstance(found, list) else [] if found is None else [found]


def shape_of(call: Call) -> Shape:
    """Shape of the first output, None when the operator is another or too little is known."""
    return next(iter(shapes_of(call)), None)


def _same_for_all(call: Call) -> list[Shape]:
    """Operators that hand on each input as an output, or the first one several times."""
    return list(call.shapes) if call.op == "IdentityN" else [call.shape(0)] * 2


def _merge(call: Call) -> list[Shape]:
    """What comes out of a branch or a loop has the sizes that its ways in agree on; the second output is a number."""
    first, *others = [shape for shape in call.shapes if shape is not None]
    if any(len(other) != len(first) for other in others):
        return []
    agreed = zip(*([first, *others]), strict=True)
    return [tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in agreed), ()]


def _normalized(call: Call) -> list[Shape]:
    shape = call.shape(0)
    channels = (shape[1 if call.is_channels_first else -1],) if shape else ()
    return [shape, *([channels] * 5)]


def _declared(call: Call) -> Shape:
    """Of a variable the shape that it was declared with; what it is read by has the same."""
    return tuple(size if size >= 0 else None for size in call.attributes["shape"])


def _stacked_rows(call: Call) -> Shape:
    """All tensors of a list as one; what is not known of the list stands in the second input."""
    rows = call.values[0]
    length, element = rows if isinstance(rows, Rows) else (call.attributes.get("num_elements"), None)
    if element is None:
        element = tuple(size if size >= 0 else None for size in call.numbers(1))
    return (length if isinstance(length, int) and length >= 0 else None, *element)


def _row(call: Call) -> Shape:
    rows = call.values[0]
    known: Shape = rows[1] if isinstance(rows, Rows) else None
    if known is not None:
        return known
    return tuple(size if size >= 0 else None for size in call.numbers(2))


def _rank(call: Call) -> Shape:
    return (len(call.shape(0)),)


def _places(call: Call) -> Shape:
    return (None, len(call.shape(0)))


def _some(call: Call) -> Shape:
    return (None,)


def _suppressed(call: Call) -> list[Shape]:
    """Non-maximum suppression that pads to a number of boxes: indices, (scores,) how many."""
    most = (int(call.number(2)),)
    return [most, *([most] if call.op.endswith("V5") else []), ()]


def _suppressed_together(call: Call) -> list[Shape]:
    batch, most = call.shape(0)[0], int(call.number(3))
    return [(batch, most, 4), (batch, most), (batch, most), (batch,)]


def _diagonal(call: Call) -> Shape:
    shape = call.shape(0)
    return (*shape, shape[-1])


def _segments(call: Call) -> Shape:
    return (call.number(2), *call.shape(0)[len(call.shape(1)) :])


def _updated_rows(call: Call) -> Shape:
    return (*call.shape(0)[: len(call.shape(0)) - 1], product([1, call.shape(1)[-1]]))


def _pairs(call: Call) -> Shape:
    """Attention: for each query a row as wide as the values."""
    return (*call.shape(0)[:-1], call.shape(2)[-1])


def _spectrum(call: Call) -> Shape:
    """A Fourier transform of reals keeps one more than half of the last axis."""
    lengths = call.numbers(1)
    shape = call.shape(0)
    head = shape[: len(shape) - len(lengths)]
    return (*head, *lengths[:-1], lengths[-1] // 2 + 1)


_SAME = (
    "Relu Relu6 LeakyRelu Elu Selu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax Exp Log Log1p Expm1 Sqrt Rsqrt "
    "Square Abs Neg Sign Floor Ceil Round Rint Erf Erfc Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh "
    "Reciprocal Inv LogicalNot Identity Invert Real Imag ComplexAbs Conj Lgamma Digamma Bitcast Bucketize Roll "
    "Snapshot StopGradient PreventGradient CheckNumerics Cast BiasAdd BiasAddV1 L2Normalization MatrixSetDiag "
    "BatchNormWithGlobalNormalization LRN FakeQuantWithMinMaxVars Quantize Dequantize Swish HardSwish Requantize "
    "FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 "
    "ClipByValue ReadVariableOp ZerosLike OnesLike Cumsum Cumprod ReverseV2 ReverseSequence IsNan IsFinite IsInf "
    "Dropout Enter Exit NextIteration RefEnter RefExit RefNextIteration Gelu MirrorPadGrad EnsureShape MatrixBandPart "
    "FFT IFFT FFT2D IFFT2D TensorScatterUpdate TensorScatterAdd InplaceUpdate MatrixInverse Cholesky LoopCond "
    "RandomShuffle AdjustContrastv2 RGBToHSV HSVToRGB UpperBound DynamicUpdateSlice ScatterElements"
)
_MERGED = (
    "Add AddV2 AddN Sub Mul Div RealDiv FloorDiv FloorMod Mod DivNoNan MulNoNan TruncateDiv TruncateMod Maximum "
    "Minimum Pow SquaredDifference Atan2 Less LessEqual Greater GreaterEqual Equal NotEqual LogicalAnd LogicalOr "
    "LogicalXor SelectV2 Xdivy Xlogy BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift PRelu Polygamma Zeta"
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), moved.like(0)), **dict.fromkeys(_MERGED.split(), moved.merged),
    **dict.fromkeys(("IdentityN", "Switch", "RefSwitch"), _same_for_all),
    **dict.fromkeys(("Merge", "RefMerge"), _merge),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "_FusedBatchNormEx"), _normalized),
    "Select": moved.like(1), "Conv2D": slid.convolution, "Conv3D": slid.convolution,
    "_FusedConv2D": slid.convolution, "DepthwiseConv2dNative": slid.depthwise,
    "_FusedDepthwiseConv2dNative": slid.depthwise, "MaxPool": slid.pooling, "AvgPool": slid.pooling,
    "MaxPool3D": slid.pooling, "AvgPool3D": slid.pooling, "MaxPoolWithArgmax": slid.pooling_with_places,
    "Conv2DBackpropInput": moved.given(0), "Conv3DBackpropInputV2": moved.given(0), "ConvTranspose": slid.transposed,
    "Dilation2D": slid.convolution,
    **dict.fromkeys(("MatMul", "_FusedMatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"),
                    moved.product_of_matrices),
    "Einsum": moved.einsum, "ConcatV2": moved.concatenated_last, "Concat": moved.concatenated_first,
    "Reshape": moved.reshaped, "Squeeze": moved.squeezed, "ExpandDims": moved.expanded, "Transpose": moved.permuted,
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), moved.padded),
    **{f"Resize{kind}": slid.resized for kind in ("Bilinear", "NearestNeighbor", "Bicubic", "Area")},
    "Scaled": slid.scaled, "CropAndResize": slid.cropped, "ExtractImagePatches": slid.patches,
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm"), moved.reduced),
    "Pack": moved.packed, "Unpack": moved.unpacked, "GatherV2": moved.gathered, "Gather": moved.gathered,
    "GatherNd": moved.gathered_places, "ResourceGather": moved.gathered_from_variable, "Split": moved.split_evenly,
    "SplitV": moved.split_by_sizes, "Slice": moved.sliced, "StridedSlice": moved.strided, "Tile": moved.tiled,
    **dict.fromkeys(("Variable", "VariableV2", "VarHandleOp"), _declared), "Shape": _rank,
    "TensorListStack": _stacked_rows, "TensorListGetItem": _row,
    "ShapeN": lambda call: [(None if s is None else len(s),) for s in call.shapes],
    "Fill": moved.given(0), "BroadcastTo": moved.stretched, "SpaceToDepth": slid.blocks(down=True),
    "DepthToSpace": slid.blocks(down=False), "SpaceToBatchND": slid.batch_blocks(to_batch=True),
    "BatchToSpaceND": slid.batch_blocks(to_batch=False), "ArgMax": moved.best, "ArgMin": moved.best,
    "Rank": lambda call: (), "Size": lambda call: (), "L2Loss": lambda call: (), "TopKV2": moved.ranked,
    "OneHot": moved.one_hot, "Range": moved.counted, "Where": _places, "Unique": lambda call: [(None,), call.shape(0)],
    "LinSpace": lambda call: (call.number(2),), "SparseToDense": moved.given(1), "ScatterNd": moved.given(2),
    **dict.fromkeys(("RandomStandardNormal", "RandomUniform", "TruncatedNormal", "RandomUniformInt"), moved.given(0)),
    "Multinomial": lambda call: (call.shape(0)[0], call.number(1)), "MatrixDiag": _diagonal,
    "NonMaxSuppressionV4": _suppressed, "NonMaxSuppressionV5": _suppressed,
    **dict.fromkeys(("NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3"), _some),
    "CombinedNonMaxSuppression": _suppressed_together, "Attention": _pairs, "RFFT": _spectrum, "RFFT2D": _spectrum,
    **{f"UnsortedSegment{kind}": _segments for kind in ("Sum", "Max", "Min", "Prod")},
    "BroadcastArgs": lambda call: max(call.shape(0), call.shape(1)),
    "SegmentSum": lambda call: (None, *call.shape(0)[1:]), "Dense": _updated_rows,
}  # fmt: skip
