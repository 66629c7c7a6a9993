"""Follows what onnx's own inference leaves open, such as sizes that a graph divides, by the one set of shape rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgestudio.model.graph import Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer
from edgestudio.model.shapes.call import Call, axis_of
from edgestudio.model.shapes.results import agreed, results_of


def complete(model: Model, dimensions: Mapping[str, int]) -> Model:
    """`model` with the shapes that follow once its sizes are set; what is known already is kept."""
    written = {tensor for node in model.main.nodes for tensor in node.outputs if tensor >= 0}
    tensors = [model.main.tensors[index] for index in written]
    if all(each.shape is not None and all(isinstance(s, int) for s in each.shape) for each in tensors):
        return model
    return infer(model, _Onnx(), dimensions)


class _Onnx:
    """ONNX's operators, and the usual ones of ONNX Runtime."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        try:
            call = Call(_NAMES.get(node.op, node.op), node.attributes, shapes, values)
            change = _CHANGES.get(node.op)
            found = call if change is None else change(call)
            return Results(found) if isinstance(found, list) else results_of(found)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            return Results([])

    def arguments(self, node: Node) -> int:
        return len(node.inputs) if node.op in ("If", "Scan", "SequenceMap") else 0

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        if node.op == "Loop":
            before, after = list(shapes[2:]), list(results[0][1:]) if results else []
            return [a if at < len(before) and a == before[at] else None for at, a in enumerate(after)]
        return [] if node.op in ("Scan", "SequenceMap") else agreed(results)

    def sees_around(self) -> bool:
        return True


def _given(call: Call, name: str, slot: int) -> list[Any] | None:
    """A list that newer opsets read from an input and older ones from an attribute; None where there is none."""
    found = call.attributes.get(name)
    if isinstance(found, list):
        return found
    if slot < len(call.shapes) and (call.shapes[slot] is not None or call.values[slot] is not None):
        return call.numbers(slot)
    return None


def _with(call: Call, op: str, *rows: Sequence[Any], **attributes: Any) -> Call:
    """The rule's call: the first input, then these numbers."""
    added = [tuple(row) for row in rows]
    return Call(op, attributes, [call.shapes[0], *((len(row),) for row in added)], [call.values[0], *added])


def _window(call: Call, kernel: Sequence[int] = ()) -> Call:
    given, count = call.attributes, len(call.shape(0)) - 2
    pads = given.get("pads") or [0] * (2 * count)
    auto = str(given.get("auto_pad") or "NOTSET")
    attributes = {
        "padding": "SAME" if auto.startswith("SAME") else "VALID" if auto == "VALID" else "EXPLICIT",
        "strides": [1, 1, *(given.get("strides") or [1] * count)],
        "dilations": [1, 1, *(given.get("dilations") or [1] * count)],
        "explicit_paddings": [0, 0, 0, 0, *(pads[at + side * count] for at in range(count) for side in (0, 1))],
        "data_format": "NCHW", "ksize": [1, 1, *kernel], "ceil": bool(given.get("ceil_mode")),
    }  # fmt: skip
    return call._replace(attributes=attributes)


def _convolution(slot: int) -> Callable[[Call], Call]:
    def change(call: Call) -> Call:
        out, channels, *kernel = call.shape(slot)
        return _window(call._replace(op="Conv2D", shapes=[call.shapes[0], (*kernel, channels, out)]))

    return change


def _transposed(call: Call) -> Call:
    channels, out, *kernel = call.shape(1)
    given = call.attributes
    extra = {"group": given.get("group") or 1, "output_shape": given.get("output_shape"),
             "output_padding": given.get("output_padding")}  # fmt: skip
    attributes = {**_window(call).attributes, **extra}
    return Call("ConvTranspose", attributes, [call.shapes[0], (*kernel, out, channels)], [None] * 2)


def _pooled(call: Call) -> Call:
    return _window(call._replace(op="MaxPoolWithArgmax"), call.attributes["kernel_shape"])


def _pooled_whole(call: Call) -> list[Shape]:
    shape = call.shape(0)
    return [(*shape[:2], *[1] * (len(shape) - 2))]


def _dense(call: Call) -> list[Shape]:
    left, right = call.shape(0), call.shape(1)
    rows = left[1] if call.attributes.get("transA") else left[0]
    return [(rows, right[0] if call.attributes.get("transB") else right[1])]


def _reshape(call: Call) -> Call:
    target = call.attributes.get("shape")
    zero = {"zero_copies": not call.attributes.get("allowzero")}
    return _with(call, "Reshape", target if isinstance(target, list) else call.numbers(1), **zero)


def _squeeze(call: Call) -> Call:
    return _with(call, "Squeeze", squeeze_dims=_given(call, "axes", 1))


def _flatten(call: Call) -> Call:
    shape, axis = call.shape(0), int(call.attributes.get("axis", 1))
    rows = 1
    for size in shape[: axis if axis >= 0 else axis + len(shape)]:
        rows = rows * size if isinstance(size, int) and rows >= 0 else -1
    return _with(call, "Reshape", [rows, -1])


def _split(call: Call) -> Call:
    axis, sizes = int(call.attributes.get("axis", 0)), _given(call, "split", 1)
    if sizes:
        return _with(call, "SplitV", sizes, [axis])
    count = call.attributes["num_outputs"]
    whole = call.shape(0)[axis]
    width = -(-int(whole) // count) if isinstance(whole, int) else None
    if width is None:
        raise LookupError("size")
    return _with(call, "SplitV", [*[width] * (count - 1), -1], [axis])


def _slice(call: Call) -> Call:
    rank, given = len(call.shape(0)), call.attributes
    if "starts" in given:
        rows = [given["starts"], given["ends"], None]
        axes = given.get("axes") or list(range(len(given["starts"])))
    else:
        rows = [_bounds(call, slot) for slot in (1, 2)] + [_given(call, "steps", 4)]
        axes = _given(call, "axes", 3) or list(range(len(rows[0] or ())))
    masks = {"begin_mask": (1 << rank) - 1, "end_mask": (1 << rank) - 1}
    begin: list[Any] = [0] * rank
    end: list[Any] = [0] * rank
    step: list[Any] = [1] * rank
    for at, axis in enumerate(axes):
        place = axis_of(axis, rank)
        start, stop, stride = (None if row is None else row[at] for row in rows)
        begin[place], end[place], step[place] = start, stop, 1 if rows[2] is None else stride
        masks["begin_mask"] &= ~(1 << place)
        if not (
            isinstance(step[place], int) and step[place] < 0 and isinstance(stop, int) and stop < -(1 << 31)
        ):
            masks["end_mask"] &= ~(1 << place)
    return _with(call, "StridedSlice", begin, end, step, **masks)


def _bounds(call: Call, slot: int) -> list[Any]:
    if call.values[slot] is not None:
        return call.numbers(slot)
    (count,) = call.shape(slot)
    return [None] * int(count or 0)


def _pad(call: Call) -> Call:
    pads, rank = _given(call, "pads", 1) or [], len(call.shape(0))
    axes = _given(call, "axes", 3) or list(range(rank))
    edges = [0] * (2 * rank)
    for at, axis in enumerate(axes):
        place = axis_of(axis, rank)
        edges[2 * place : 2 * place + 2] = pads[at], pads[at + len(axes)]
    if call.attributes.get("mode") not in (None, "constant"):  # the numbers at the border are others then
        call = call._replace(values=[None, *call.values[1:]])
    return _with(call, "Pad", edges)


def _resized(call: Call) -> Call:
    """To sizes, or by factors; of all dimensions, or of those that are named."""
    rank = len(call.shape(0))
    if call.attributes.get("keep_aspect_ratio_policy") not in (None, "stretch"):
        raise LookupError("sizes")
    slots = {"Upsample": (1, None), "Resize": (2, 3)}[call.op]
    if call.op == "Resize" and len(call.shapes) == 2:
        slots = (1, None)
    sizes = call.values[slots[1]] if slots[1] is not None and slots[1] < len(call.values) else None
    axes = [axis_of(axis, rank) for axis in call.attributes.get("axes") or range(rank)]
    if sizes:
        out = list(call.shape(0))
        for axis, size in zip(axes, sizes, strict=True):
            out[axis] = size
        return call._replace(op="Fill", values=[tuple(-1 if size is None else size for size in out)])
    scales: list[Any] = [1] * rank
    given = call.attributes.get("scales") or call.numbers(slots[0])
    for axis, factor in zip(axes, given, strict=True):
        scales[axis] = factor
    return call._replace(op="Scaled", attributes={"scales": scales})


def _reduced(call: Call) -> Call:
    axes = _given(call, "axes", 1)
    keep = bool(call.attributes.get("keepdims", 1))
    if not axes:
        axes = [] if call.attributes.get("noop_with_empty_axes") else list(range(len(call.shape(0))))
    return _with(call, _REDUCED.get(call.op, "Mean"), axes, keep_dims=keep)


def _best(call: Call) -> Call:
    keep = bool(call.attributes.get("keepdims", 1))
    return _with(call, "Mean", [call.attributes.get("axis", 0)], keep_dims=keep)


def _ranked(call: Call) -> Call:
    count = call.attributes.get("k")
    return _with(call, "TopKV2", [count or call.number(1)], axis=call.attributes.get("axis", -1))


def _shape(call: Call) -> Call:
    start, end = call.attributes.get("start"), call.attributes.get("end")
    if not start and end is None:
        return call
    return Call("Shape", {}, [call.shape(0)[start:end]], [None])


def _constant(call: Call) -> Call:
    given = call.attributes
    value = given.get("value")
    if isinstance(value, dict):
        numbers = value.get("values")
        return Call("Identity", {}, [tuple(value["shape"])], [None if numbers is None else tuple(numbers)])
    for name, is_list in (
        ("value_int", False),
        ("value_float", False),
        ("value_ints", True),
        ("value_floats", True),
    ):
        if name in given:
            row = tuple(given[name]) if is_list else (given[name],)
            return Call("Identity", {}, [(len(row),) if is_list else ()], [row])
    raise LookupError("value")


def _filled(call: Call) -> Call:
    value = call.attributes.get("value")
    filler = value.get("values") if isinstance(value, dict) else None
    return Call("Fill", {}, [call.shapes[0], ()], [call.values[0], tuple(filler or (0,))])


def _cast(call: Call) -> Call:
    return call._replace(op="Cast", attributes={"DstT": "int" if call.attributes.get("to") in (6, 7) else ""})


def _attended(call: Call) -> list[Shape]:
    """For each query a row as wide as the values; three dimensions hold all heads side by side."""
    query, value = call.shape(0), call.shape(2)
    heads, pairs = call.attributes.get("q_num_heads"), call.attributes.get("kv_num_heads")
    width = value[-1]
    if len(query) == 3 and isinstance(width, int) and heads and pairs:
        width = width // pairs * heads
    return [(*query[:-1], width)]


def _remainder(call: Call) -> Call:
    return call._replace(op="FloorMod", values=[None, None] if call.attributes.get("fmod") else call.values)


def _recurrent(call: Call) -> list[Shape]:
    data, given = call.shape(0), call.attributes
    hidden, ways = given["hidden_size"], 2 if given.get("direction") == "bidirectional" else 1
    steps, batch = (data[1], data[0]) if given.get("layout") else (data[0], data[1])
    out: Shape = (batch, steps, ways, hidden) if given.get("layout") else (steps, ways, batch, hidden)
    state: Shape = (batch, ways, hidden) if given.get("layout") else (ways, batch, hidden)
    return [out, state, state]


def _packed(call: Call) -> list[Shape]:
    return [(*call.shape(0)[:-1], call.attributes["N"])]


def _blocks(call: Call) -> Call:
    return call._replace(attributes={"block_size": call.attributes["blocksize"], "data_format": "NCHW"})


def _one_hot(call: Call) -> Call:
    return _with(call, "OneHot", [int(call.number(1))], axis=call.attributes.get("axis", -1))


def _ordered(call: Call) -> Call:
    order = call.attributes.get("perm")
    return _with(call, "Transpose", order) if order else call._replace(shapes=call.shapes[:1])


_REDUCED = {"ReduceMax": "Max", "ReduceMin": "Min", "ReduceSum": "Sum", "ReduceProd": "Prod"}
_SAME = (
    "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LpNormalization RMSNormalization "
    "Celu Clip Dropout HardSigmoid Hardmax LRN Mish PRelu Shrink ThresholdedRelu QuantizeLinear DequantizeLinear Trilu "
    "CumSum Gelu FastGelu BiasGelu QuickGelu SkipLayerNormalization SimplifiedLayerNormalization RotaryEmbedding Swish "
    "SkipSimplifiedLayerNormalization MeanVarianceNormalization ScatterND ScatterElements BiasAdd QLinearSigmoid "
    "QLinearLeakyRelu QLinearSoftmax MultiHeadAttention Bernoulli"
)
_NAMES = {
    **dict.fromkeys(_SAME.split(), "Relu"), "And": "LogicalAnd", "Or": "LogicalOr", "Not": "LogicalNot",
    "Div": "RealDiv",
    "LessOrEqual": "LessEqual", "GreaterOrEqual": "GreaterEqual", "Sum": "AddN", "Max": "Maximum",
    "Min": "Minimum", "Mean": "AddN", "Where": "SelectV2", "Expand": "BroadcastTo",
    "GatherElements": "Select", "FusedMatMul": "MatMul", "MatMulInteger": "MatMul",
    "Xor": "LogicalXor", "GatherND": "GatherNd",
}  # fmt: skip
_CHANGES: dict[str, Callable[[Call], Call | list[Shape]]] = {
    "Attention": _attended, "Mod": _remainder, "NonMaxSuppression": lambda call: [(None, 3)],
    "NonZero": lambda call: [(len(call.shape(0)), None)], "Unique": lambda call: [],
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger"), _convolution(1)), "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed, **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooled),
    **{f"Global{kind}Pool": _pooled_whole for kind in ("Average", "Max", "Lp")}, "Gemm": _dense, "Reshape": _reshape,
    "Squeeze": _squeeze, "Flatten": _flatten, "Split": _split, "Slice": _slice, "Pad": _pad, "Resize": _resized,
    "Upsample": _resized, "ArgMax": _best, "ArgMin": _best, "TopK": _ranked, "Shape": _shape, "Constant": _constant,
    "ConstantOfShape": _filled, "Cast": _cast, **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Transpose": _ordered,
    "MatMulNBits": _packed, "DepthToSpace": _blocks, "SpaceToDepth": _blocks, "OneHot": _one_hot,
    "Concat": lambda call: call._replace(op="ConcatV2", shapes=[*call.shapes, ()],
                                         values=[*call.values, (call.attributes["axis"],)]),
    "Gather": lambda call: call._replace(op="GatherV2", shapes=[*call.shapes[:2], ()], attributes={},
                                         values=[*call.values[:2], (axis_of(call.attributes.get("axis", 0),
                                                                            len(call.shape(0))),)]),
    "Expand": lambda call: call._replace(attributes={"both_ways": True}),
    "Unsqueeze": lambda call: _with(call, "ExpandDims", _given(call, "axes", 1) or []),
    "QLinearMatMul": lambda call: call._replace(op="MatMul", shapes=[call.shapes[0], call.shapes[3]]),
    "FusedMatMul": lambda call: call._replace(attributes={"transpose_a": call.attributes.get("transA"),
                                                          "transpose_b": call.attributes.get("transB")}),
    **{f"Reduce{kind}": _reduced for kind in ("Max", "Min", "Mean", "Sum", "Prod", "L1", "L2", "LogSum", "LogSumExp",
                                              "SumSquare")},
}  # fmt: skip
