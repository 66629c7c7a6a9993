"""Shapes that PyTorch's operators give to their results, from the shapes and numbers that they are called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgestudio.model.formats import torch_windows as windows
from edgestudio.model.formats.torch_calls import Argument, Call, Shape
from edgestudio.model.graph import Dimension
from edgestudio.model.shapes.call import Call as Equation
from edgestudio.model.shapes.rules import shapes_of as shapes_by_rule
from edgestudio.model.sizes import broadcast, product

Rule = Callable[[Call], Sequence[Shape]]


def shapes_of(op: str, call: Call) -> Sequence[Shape]:
    """Shapes of the outputs; empty when the operator is another or too little is known."""
    rule = RULES.get(op)
    try:
        return () if rule is None else rule(call)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return ()


def _same(call: Call) -> Sequence[Shape]:
    return [call.shape()] * call.outputs


def _merged(call: Call) -> Sequence[Shape]:
    shapes = [item.shape for item in call.arguments if isinstance(item, Argument)]
    return [broadcast(shapes)]


def _linear(call: Call) -> Sequence[Shape]:
    return [(*call.shape(0)[:-1], call.shape(1)[0])]


def _matmul(first: int = 0) -> Rule:
    def rule(call: Call) -> Sequence[Shape]:
        left, right = call.shape(first), call.shape(first + 1)
        if not left or not right:
            raise ValueError("scalars")
        if len(left) == 1 or len(right) == 1:
            rows, columns = left[:-1], right[-1:] if len(right) > 1 else ()
            heads = right[:-2] if len(left) == 1 else ()
            return [(*heads, *rows, *columns)]
        return [(*(broadcast([left[:-2], right[:-2]]) or ()), left[-2], right[-1])]

    return rule


def _flattened(call: Call) -> Sequence[Shape]:
    data = call.shape()
    rank = len(data)
    start, end = call.number(1, 0) % max(rank, 1), call.number(2, -1) % max(rank, 1)
    return [(*data[:start], product(data[start : end + 1]), *data[end + 1 :])]


def _unflattened(call: Call) -> Sequence[Shape]:
    data, axis, sizes = call.shape(), call.number(1), call.numbers(2)
    axis %= len(data)
    inner = Call([Argument((data[axis],)), sizes], {}, 1)
    return [(*data[:axis], *(_viewed(inner)[0] or ()), *data[axis + 1 :])]


def _viewed(call: Call) -> Sequence[Shape]:
    data, target = call.shape(), call.numbers(1)
    if -1 not in target:
        return [tuple(target)]
    total, rest = product(data), product([size for size in target if size != -1])
    open_size = total // rest if isinstance(total, int) and isinstance(rest, int) and rest else None
    return [tuple(open_size if size == -1 else size for size in target)]


def _permuted(call: Call) -> Sequence[Shape]:
    data = call.shape()
    order = call.spread(1, len(data), 0)
    return [tuple(data[axis] for axis in order)]


def _swapped(call: Call) -> Sequence[Shape]:
    data = list(call.shape())
    one, two = (call.number(1), call.number(2)) if len(call.arguments) > 2 else (-1, -2)
    if len(data) > 1:
        data[one], data[two] = data[two], data[one]
    return [tuple(data)]


def _joined(call: Call) -> Sequence[Shape]:
    shapes = [shape for shape in call.items() if shape != (0,)]
    axis = call.number(1, 0)
    out = list(shapes[0])
    sizes = [shape[axis] for shape in shapes]
    out[axis] = (
        sum(size for size in sizes if isinstance(size, int))
        if all(isinstance(s, int) for s in sizes)
        else None
    )
    return [tuple(out)]


def _stacked(call: Call) -> Sequence[Shape]:
    shapes = call.items()
    axis = call.number(1, 0)
    axis = axis + len(shapes[0]) + 1 if axis < 0 else axis
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _reduced(call: Call) -> Sequence[Shape]:
    data = call.shape()
    given = call.arguments[1] if len(call.arguments) > 1 else None
    if given is None or isinstance(given, bool) or (isinstance(given, list) and not given):
        return [()] * call.outputs
    axes = {axis % len(data) for axis in call.numbers(1) if axis is not None} if data else set()
    keeps = len(call.arguments) > 2 and call.arguments[2] is True
    return [
        tuple(1 if at in axes else size for at, size in enumerate(data) if keeps or at not in axes)
    ] * call.outputs


def _opened(call: Call) -> Sequence[Shape]:
    data, axis = call.shape(), call.number(1)
    axis = axis + len(data) + 1 if axis < 0 else axis
    return [(*data[:axis], 1, *data[axis:])]


def _closed(call: Call) -> Sequence[Shape]:
    data = call.shape()
    if len(call.arguments) < 2:
        if any(not isinstance(size, int) for size in data):
            raise LookupError("sizes")
        return [tuple(size for size in data if size != 1)]
    axes = {axis % len(data) for axis in call.numbers(1) if axis is not None}
    return [tuple(size for at, size in enumerate(data) if at not in axes or size != 1)]


def _embedded(call: Call) -> Sequence[Shape]:
    return [(*call.shape(1), call.shape(0)[-1])]


def _selected(call: Call) -> Sequence[Shape]:
    data = list(call.shape())
    del data[call.number(1)]
    return [tuple(data)]


def _sliced(call: Call) -> Sequence[Shape]:
    data = list(call.shape())
    axis = call.number(1, 0)
    size = data[axis]
    start, step = call.number(2, 0), call.number(4, 1)
    end = call.number(3, 1 << 62)
    if isinstance(size, int):
        data[axis] = len(range(*slice(start, end, step).indices(size)))
    elif not (start == 0 and end >= 1 << 31 and step == 1):
        data[axis] = None
    return [tuple(data)]


def _narrowed(call: Call) -> Sequence[Shape]:
    data = list(call.shape())
    data[call.number(1)] = call.number(3)
    return [tuple(data)]


def _expanded(call: Call) -> Sequence[Shape]:
    data, target = call.shape(), call.numbers(1)
    padded: list[Dimension] = [*([1] * (len(target) - len(data))), *data]
    return [tuple(old if new == -1 else new for old, new in zip(padded, target, strict=True))]


def _repeated(call: Call) -> Sequence[Shape]:
    data, times = call.shape(), call.numbers(1)
    padded: list[Dimension] = [*([1] * (len(times) - len(data))), *data]
    return [tuple(product([old, new]) for old, new in zip(padded, times, strict=True))]


def _like_other(call: Call) -> Sequence[Shape]:
    return [call.shape(1)]


def _recurrent(states: int) -> Rule:
    """LSTM, GRU and RNN: data, states, weights, has_biases, layers, dropout, train, bidirectional, batch_first."""

    def rule(call: Call) -> Sequence[Shape]:
        flags = [
            item
            for item in call.arguments
            if isinstance(item, (bool, int, float)) and not isinstance(item, Argument)
        ]
        data, (_, layers, _, _, both, first) = call.shape(), flags[-6:]
        matrices = [
            item for argument in call.arguments[1:] if isinstance(argument, Argument)
            for item in argument.items or (argument.shape,) if item is not None and len(item) == 2
        ]  # fmt: skip
        hidden = matrices[1][-1]
        ways = 2 if both else 1
        state = (int(layers) * ways, data[0 if first else 1], hidden)
        return [(*data[:-1], product([hidden, ways])), *([state] * states)]

    return rule


def _counted(call: Call) -> Sequence[Shape]:
    """arange: the end, or start, end and step, before what says the type."""
    given = list(call.arguments)
    slots = given[: next((at for at, item in enumerate(given) if item is None), len(given))][:3]
    start = call.number(0) if len(slots) > 1 else 0
    end = call.number(1 if len(slots) > 1 else 0)
    return [(len(range(start, end, call.number(2) if len(slots) > 2 else 1)),)]


def _heads(call: Call) -> Sequence[Shape]:
    batch, rows, width = call.shape(0)
    return [(batch, rows, width), (batch, rows, call.shape(1)[1])]


def _made(call: Call) -> Sequence[Shape]:
    return [tuple(call.numbers(0))]


def _ranked(call: Call) -> Sequence[Shape]:
    data = list(call.shape())
    data[call.number(2, -1)] = call.number(1)
    return [tuple(data)] * 2


def _einsum(call: Call) -> Sequence[Shape]:
    shapes = call.items(1)
    rule = Equation("Einsum", {"equation": call.arguments[0]}, shapes, [None] * len(shapes))
    return shapes_by_rule(rule)


def _attended(call: Call) -> Sequence[Shape]:
    return [(*call.shape(0)[:-1], call.shape(2)[-1])] * call.outputs


_SAME = (
    "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "elu", "selu", "gelu", "silu",
    "silu_", "mish", "sigmoid", "sigmoid_", "tanh", "hardswish", "hardswish_", "hardsigmoid", "softmax", "log_softmax",
    "softplus", "exp", "log", "sqrt", "rsqrt", "neg", "abs", "sin", "cos", "erf", "floor", "ceil", "round", "clamp",
    "clamp_", "clamp_min", "clamp_max", "dropout", "dropout_", "feature_dropout", "batch_norm", "layer_norm",
    "group_norm", "instance_norm",
    "contiguous", "clone", "detach", "to", "type_as", "float", "half", "int", "bool", "alias", "cumsum", "flip", "roll",
    "quantize_per_tensor", "quantize_per_channel", "dequantize", "zeros_like", "ones_like", "rand_like", "randn_like",
    "empty_like", "full_like", "masked_fill", "masked_fill_", "logical_not", "bitwise_not", "sign", "square",
    "reciprocal", "nan_to_num", "sort", "constant_pad", "normalize", "fill_", "copy_", "threshold", "prelu", "glu_",
    "_to_copy", "lift_fresh", "lift_fresh_copy", "log1p", "expm1", "tril", "triu", "sinh", "cosh", "atan", "softsign",
)  # fmt: skip
_MERGED = (
    "add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "floor_divide", "true_divide", "pow", "maximum",
    "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "where", "remainder", "fmod", "atan2",
    "addcmul", "addcdiv", "lerp", "bitwise_and", "bitwise_or", "__and__", "__or__",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same), **dict.fromkeys(_MERGED, _merged),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "_convolution", "convolution"), windows.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), windows.transposed),
    **{f"max_pool{rank}d": windows.pooled(rank, dilated=True) for rank in (1, 2, 3)},
    **{f"max_pool{rank}d_with_indices": windows.pooled(rank, dilated=True) for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": windows.pooled(rank, dilated=False) for rank in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{rank}d": windows.adaptive(rank) for kind in ("avg", "max") for rank in (1, 2, 3)},
    "linear": _linear, "matmul": _matmul(), "mm": _matmul(), "bmm": _matmul(), "addmm": _matmul(1), "baddbmm":
    _matmul(1),
    "flatten": _flattened, "view": _viewed, "reshape": _viewed, "_unsafe_view": _viewed, "permute": _permuted,
    "transpose": _swapped, "t": _swapped, "numpy_T": _swapped, "swapaxes": _swapped, "cat": _joined, "concat":
    _joined, "stack": _stacked,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "norm", "std",
    "var", "all", "any"),
                    _reduced),
    "unsqueeze": _opened, "unsqueeze_": _opened, "squeeze": _closed, "squeeze_": _closed, "embedding":
    _embedded, "select": _selected,
    "slice": _sliced, "narrow": _narrowed, "expand": _expanded, "repeat": _repeated, "expand_as": _like_other,
    "view_as": _like_other, "reshape_as": _like_other, "constant_pad_nd": windows.padded, "pad": windows.padded,
    "reflection_pad2d": windows.padded,
    "reflection_pad1d": windows.padded, "replication_pad2d": windows.padded, "replication_pad1d": windows.padded,
    **{f"upsample_{kind}": windows.resized for kind in ("nearest1d", "nearest2d", "nearest3d", "bilinear2d",
                                                  "bicubic2d", "linear1d", "trilinear3d")},
    "lstm": _recurrent(2), "gru": _recurrent(1), "rnn_tanh": _recurrent(1), "rnn_relu": _recurrent(1),
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn", "full"), _made), "pixel_shuffle": windows.shuffled,
    "pixel_unshuffle": windows.unshuffled, "topk": _ranked, "einsum": _einsum,
    "arange": _counted, "unflatten": _unflattened, "_transformer_encoder_layer_fwd": _same,
    "_native_multi_head_attention": _heads,
    "scaled_dot_product_attention": _attended, "quantized.linear": _linear, "quantized.linear_relu": _linear,
    "quantized.linear_dynamic": _linear, "quantized.add": _merged, "quantized.mul": _merged,
    "quantized.add_relu": _merged,
}  # fmt: skip
