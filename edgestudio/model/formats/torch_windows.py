"""Shapes of what slides over an image or spreads it, as PyTorch calls it: convolutions, pooling, resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgestudio.model.formats.torch_calls import Argument, Call, Shape
from edgestudio.model.graph import Dimension
from edgestudio.model.sizes import product, slid

Rule = Callable[[Call], Sequence[Shape]]


def convolution(call: Call) -> Sequence[Shape]:
    """By the weight, strides, padding and dilation; of a whole `convolution` the transposed form too."""
    data, weight = call.shape(0), call.shape(1)
    count = len(weight) - 2
    if len(call.arguments) > 6 and isinstance(call.arguments[6], bool) and call.arguments[6]:
        return _spread_out(call, call.number(8, 1), call.spread(7, count, 0), 5)
    stride, dilation = call.spread(3, count, 1), call.spread(5, count, 1)
    if len(call.arguments) > 4 and isinstance(call.arguments[4], str):
        sizes = [
            None if not isinstance(size, int) else -(-size // step)
            for size, step in zip(data[-count:], stride, strict=True)
        ]
        if call.arguments[4] == "same":
            return [(*data[:-count][:-1], weight[0], *sizes)]
        padding = [0] * count
    else:
        padding = call.spread(4, count, 0)
    sizes = [
        slid(size, kernel, step, 2 * pad, jump)
        for size, kernel, step, pad, jump in zip(
            data[-count:], weight[2:], stride, padding, dilation, strict=True
        )
    ]
    return [(*data[: -count - 1], weight[0], *sizes)]


def _spread_out(call: Call, groups: int, extra: list[int], dilations: int) -> Sequence[Shape]:
    data, weight = call.shape(0), call.shape(1)
    count = len(weight) - 2
    stride, padding = call.spread(3, count, 1), call.spread(4, count, 0)
    dilation = call.spread(dilations, count, 1)
    sizes: list[Dimension] = [
        None
        if not isinstance(size, int) or not isinstance(kernel, int)
        else (size - 1) * step - 2 * pad + jump * (kernel - 1) + more + 1
        for size, kernel, step, pad, jump, more in zip(
            data[-count:], weight[2:], stride, padding, dilation, extra, strict=True
        )
    ]
    channels = weight[1] * groups if isinstance(weight[1], int) else None
    return [(*data[: -count - 1], channels, *sizes)]


def transposed(call: Call) -> Sequence[Shape]:
    """A transposed convolution."""
    count = len(call.shape(1)) - 2
    return _spread_out(call, call.number(6, 1), call.spread(5, count, 0), 7)


def pooled(count: int, *, dilated: bool) -> Rule:
    """Windows over the last `count` dimensions."""

    def rule(call: Call) -> Sequence[Shape]:
        data = call.shape()
        kernel = call.spread(1, count, 1)
        given = call.arguments[2] if len(call.arguments) > 2 else None
        stride = kernel if given in (None, []) else call.spread(2, count, 1)
        padding = call.spread(3, count, 0)
        dilation = call.spread(4, count, 1) if dilated else [1] * count
        at = 5 if dilated else 4
        ceil = bool(call.arguments[at]) if len(call.arguments) > at else False
        sizes = [
            slid(size, width, step, 2 * pad, jump, is_ceil=ceil, before=pad)
            for size, width, step, pad, jump in zip(
                data[-count:], kernel, stride, padding, dilation, strict=True
            )
        ]
        return [(*data[:-count], *sizes)] * call.outputs

    return rule


def adaptive(count: int) -> Rule:
    """Pooling to given sizes."""

    def rule(call: Call) -> Sequence[Shape]:
        data, sizes = call.shape(), call.numbers(1)
        sizes = sizes * count if len(sizes) == 1 else sizes
        return [
            (
                *data[:-count],
                *(old if new is None else new for old, new in zip(data[-count:], sizes, strict=True)),
            )
        ]

    return rule


def resized(call: Call) -> Sequence[Shape]:
    """Upsampling: to given sizes, or by factors, which are real numbers."""
    data = call.shape()
    count = len(data) - 2
    sizes = call.arguments[1] if len(call.arguments) > 1 else None
    if isinstance(sizes, (list, tuple, Argument)) and sizes:
        return [(*data[:2], *call.spread(1, count, 1))]
    factors = next((item for item in call.arguments[2:] if isinstance(item, (list, tuple)) and item), None)
    if factors is None or len(factors) != count:
        raise LookupError("scale")
    return [
        (
            *data[:2],
            *(
                int(size * by) if isinstance(size, int) else None
                for size, by in zip(data[2:], factors, strict=True)
            ),
        )
    ]


def padded(call: Call) -> Sequence[Shape]:
    """Amounts from the last dimension on, two each."""
    data, amounts = list(call.shape()), call.numbers(1)
    for at in range(len(amounts) // 2):
        size, one, two = data[-1 - at], amounts[2 * at], amounts[2 * at + 1]
        data[-1 - at] = (
            size + one + two if isinstance(size, int) and one is not None and two is not None else None
        )
    return [tuple(data)]


def shuffled(call: Call) -> Sequence[Shape]:
    """Channels spread over the image."""
    *head, channels, height, width = call.shape()
    by = call.number(1)
    parts = [size * factor if isinstance(size, int) else None for size, factor in ((height, by), (width, by))]
    return [(*head, channels // (by * by) if isinstance(channels, int) else None, *parts)]


def unshuffled(call: Call) -> Sequence[Shape]:
    """The image folded into channels."""
    *head, channels, height, width = call.shape()
    by = call.number(1)
    parts = [size // by if isinstance(size, int) else None for size in (height, width)]
    return [(*head, product([channels, by * by]), *parts)]
