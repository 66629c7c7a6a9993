"""Works out the shapes that a TensorFlow Lite model leaves open, by the rules of TensorFlow's operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgestudio.model.graph import Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer
from edgestudio.model.shapes.call import Call, axis_of
from edgestudio.model.shapes.results import agreed, kept_by_loop, results_of


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow from its inputs and constants; what the file says is kept.

    With `dimensions` open sizes of inputs are set, as "input:axis", and an open first one becomes 1 (one sample).
    """
    return infer(model, _Lite(), dimensions)


class _Lite:
    """TensorFlow Lite's operators."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        try:
            if node.op in _RECURRENT:
                return Results(_RECURRENT[node.op](node, shapes))
            return results_of(_translated(node, shapes, values))
        except (LookupError, TypeError, ValueError, ArithmeticError):
            return Results([])

    def arguments(self, node: Node) -> int:
        return 1 if node.op == "IF" else 0

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        return kept_by_loop(shapes, results) if node.op in ("WHILE", "STABLEHLO_WHILE") else agreed(results)

    def sees_around(self) -> bool:
        return False


def _translated(node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Call:
    """The operator in TensorFlow's terms."""
    if node.op.startswith("Flex"):
        return Call(node.op.removeprefix("Flex"), node.attributes, shapes, values)
    word = _NAMES.get(node.op, "")
    call = Call(word or _camel(node.op), node.attributes, shapes, values)
    change = _CHANGES.get(node.op)
    return call if change is None else change(call)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.removeprefix("STABLEHLO_").split("_"))


def _window(call: Call) -> Call:
    """Strides and dilations by name as a list for each dimension."""
    given, letters = call.attributes, "dhw" if len(call.shape(0)) == 5 else "hw"
    attributes = {
        "padding": given.get("padding"),
        "strides": [1, *(given.get(f"stride_{x}") or 1 for x in letters), 1],
        "dilations": [1, *(given.get(f"dilation_{x}_factor") or 1 for x in letters), 1],
        "ksize": [1, given.get("filter_height") or 1, given.get("filter_width") or 1, 1],
    }
    return call._replace(attributes=attributes)


def _convolution(call: Call) -> Call:
    """Weights are (out, height, width, in); of 3-D convolutions they are as in TensorFlow."""
    out, *kernel, channels = call.shape(1)
    return _window(call._replace(shapes=[call.shapes[0], (*kernel, channels, out)]))


def _depthwise(call: Call) -> Call:
    _, *kernel, channels = call.shape(1)
    return _window(call._replace(shapes=[call.shapes[0], (*kernel, channels, 1)]))


def _dense(call: Call) -> Call:
    """All that is not the length of a row counts as rows, unless the dimensions are kept."""
    data, (units, length) = call.shape(0), call.shape(1)
    if call.attributes.get("keep_num_dims"):
        return Call("Fill", {}, [], [(*(_or_open(size) for size in data[:-1]), _or_open(units))])
    whole = 1
    for size in data:
        if not isinstance(size, int):
            whole = -1
            break
        whole *= size
    rows = data[0] if len(data) == 2 else whole // length if whole >= 0 and isinstance(length, int) else None
    return Call("Fill", {}, [], [(_or_open(rows), _or_open(units))])


def _or_open(size: Any) -> int:
    return size if isinstance(size, int) else -1


def _with_input(name: str, *, first: bool = False) -> Callable[[Call], Call]:
    """What is an option here is an input there."""

    def change(call: Call) -> Call:
        given = call.attributes.get(name)
        numbers = tuple(given) if isinstance(given, list) else (given,)
        shapes, values = list(call.shapes), list(call.values)
        at = 0 if first else len(shapes)
        shapes.insert(at, (len(numbers),))
        values.insert(at, numbers)
        return call._replace(shapes=shapes, values=values)

    return change


def _reshape(call: Call) -> Call:
    """The new shape is an input, or an option in files that have none."""
    if len(call.values) > 1 and call.values[1] is not None:
        return call
    if len(call.values) > 1 and call.shapes[1] is not None and not call.attributes.get("new_shape"):
        raise LookupError("shape")
    return _with_input("new_shape")(call._replace(shapes=call.shapes[:1], values=call.values[:1]))


def _gather(call: Call) -> Call:
    axis = axis_of(call.attributes.get("axis") or 0, len(call.shape(0)))
    attributes = {"batch_dims": call.attributes.get("batch_dims")}
    return Call("GatherV2", attributes, [*call.shapes[:2], ()], [*call.values[:2], (axis,)])


def _renamed(**names: str) -> Callable[[Call], Call]:
    """Options with the names that they have there."""
    return lambda call: call._replace(
        attributes={there: call.attributes.get(here) for there, here in names.items()}
    )


def _embedding(call: Call) -> Call:
    return Call("GatherV2", {}, [call.shapes[1], call.shapes[0]], [None, None])


def _cast(call: Call) -> Call:
    return call._replace(attributes={"DstT": call.attributes.get("out_data_type")})


def _placed(call: Call) -> Call:
    """StableHLO's concatenation has the axis as an option."""
    return _with_input("dimension")(call)._replace(op="ConcatV2")


def _dot(call: Call) -> Call:
    """StableHLO's general product: batch dimensions, then what is left of either side."""
    given, left, right = call.attributes, call.shape(0), call.shape(1)
    batch = given.get("lhs_batching_dimensions") or []
    rows = [
        at for at in range(len(left)) if at not in batch + (given.get("lhs_contracting_dimensions") or [])
    ]
    gone = (given.get("rhs_batching_dimensions") or []) + (given.get("rhs_contracting_dimensions") or [])
    columns = [size for at, size in enumerate(right) if at not in gone]
    sizes = [*(left[at] for at in batch), *(left[at] for at in rows), *columns]
    return Call("Fill", {}, [], [tuple(_or_open(size) for size in sizes)])


def _sequence(matrix: int, both: int | None = None) -> Callable[[Node, Sequence[Shape]], list[Shape]]:
    """A recurrent layer gives as many features as its matrix `matrix` has rows, backwards `both` as well."""

    def results(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
        data, units = shapes[0], _units(shapes, matrix)
        if data is None or units is None:
            return []
        if both is None:
            return [(*data[:-1], units)]
        back = _units(shapes, both)
        if node.attributes.get("merge_outputs"):
            return [] if back is None else [(*data[:-1], units + back)]
        return [(*data[:-1], units), (*data[:-1], back)]

    return results


def _units(shapes: Sequence[Shape], matrix: int) -> int | None:
    """Rows of the projection behind an LSTM's matrices where it has one, else of the matrix."""
    found = shapes[matrix] if matrix < len(shapes) else None
    return found[0] if found and isinstance(found[0], int) else None


def _lstm(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    projection = shapes[16] if len(shapes) > 16 else None
    return _sequence(2 if projection is None else 16)(node, shapes)


_RECURRENT: dict[str, Callable[[Node, Sequence[Shape]], list[Shape]]] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm, "LSTM": _lstm, "UNIDIRECTIONAL_SEQUENCE_RNN": _sequence(1),
    "RNN": _sequence(1), "SVDF": lambda node, shapes: [_svdf(node, shapes)],
    "BIDIRECTIONAL_SEQUENCE_LSTM": _sequence(2, 19), "BIDIRECTIONAL_SEQUENCE_RNN": _sequence(1, 5),
}  # fmt: skip


def _svdf(node: Node, shapes: Sequence[Shape]) -> Shape:
    data, rows = shapes[0], _units(shapes, 1)
    rank = int(node.attributes.get("rank") or 1)
    return None if data is None or rows is None else (*data[:-1], rows // rank)


_NAMES = {
    "CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2dNative", "CONV_3D": "Conv3D",
    "TRANSPOSE_CONV": "Conv2DBackpropInput", "CONV_3D_TRANSPOSE": "Conv3DBackpropInputV2", "MAX_POOL_2D": "MaxPool",
    "AVERAGE_POOL_2D": "AvgPool", "L2_POOL_2D": "AvgPool", "BATCH_MATMUL": "BatchMatMulV2", "MEAN": "Mean",
    "SUM": "Sum", "REDUCE_MAX": "Max", "REDUCE_MIN": "Min", "REDUCE_PROD": "Prod", "REDUCE_ANY": "Any",
    "REDUCE_ALL": "All", "PADV2": "PadV2", "TOPK_V2": "TopKV2", "ARG_MAX": "ArgMax", "ARG_MIN": "ArgMin",
    "LOGISTIC": "Sigmoid", "RELU_N1_TO_1": "Relu6", "RELU_0_TO_1": "Relu6", "PRELU": "Relu", "FAKE_QUANT": "Identity",
    "HARD_SWISH": "HardSwish", "LOCAL_RESPONSE_NORMALIZATION": "LRN", "L2_NORMALIZATION": "L2Normalization",
    "SELECT": "Select", "SELECT_V2": "SelectV2", "SPLIT": "Split", "SPLIT_V": "SplitV", "REVERSE_V2": "ReverseV2",
    "DIV": "RealDiv", "ADD": "AddV2", "CUMSUM": "Cumsum", "RFFT2D": "RFFT2D", "BROADCAST_ARGS": "BroadcastArgs",
    "NON_MAX_SUPPRESSION_V4": "NonMaxSuppressionV4", "NON_MAX_SUPPRESSION_V5": "NonMaxSuppressionV5",
    "STABLEHLO_LOGISTIC": "Sigmoid", "STABLEHLO_MULTIPLY": "Mul", "STABLEHLO_DIVIDE": "RealDiv",
    "STABLEHLO_SUBTRACT": "Sub", "STABLEHLO_EXPONENTIAL": "Exp", "STABLEHLO_NEGATE": "Neg", "STABLEHLO_COSINE": "Cos",
    "STABLEHLO_POWER": "Pow", "STABLEHLO_REMAINDER": "Mod", "STABLEHLO_CONVERT": "Cast", "STABLEHLO_COMPARE": "Less",
    "STABLEHLO_AND": "LogicalAnd", "STABLEHLO_OR": "LogicalOr", "STABLEHLO_SELECT": "Select", "DENSIFY": "Identity",
    "UNSORTED_SEGMENT_SUM": "UnsortedSegmentSum", "COMPLEX_ABS": "ComplexAbs", "STABLEHLO_CBRT": "Sqrt",
    "SPACE_TO_BATCH_ND": "SpaceToBatchND", "BATCH_TO_SPACE_ND": "BatchToSpaceND", "STABLEHLO_CLAMP": "ClipByValue",
}  # fmt: skip
"""Names there of operators that are not spelt alike."""
_CHANGES: dict[str, Callable[[Call], Call]] = {
    "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _dense, "CONV_3D": _window,
    "MAX_POOL_2D": _window, "AVERAGE_POOL_2D": _window, "L2_POOL_2D": _window, "CAST": _cast,
    "CONCATENATION": lambda call: _with_input("axis")(call)._replace(op="ConcatV2"), "RESHAPE": _reshape,
    "GATHER": _gather, "EMBEDDING_LOOKUP": _embedding, "SPLIT": _renamed(num_split="num_splits"),
    "UNPACK": _renamed(axis="axis", num="num"), "STABLEHLO_CONCATENATE": _placed, "STABLEHLO_DOT_GENERAL": _dot,
    "STABLEHLO_TRANSPOSE": _with_input("permutation"),
}  # fmt: skip
