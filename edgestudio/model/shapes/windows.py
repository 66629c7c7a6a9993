"""Shapes of what slides over an image or spreads it: convolutions, pooling, resizing, blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgestudio.model.graph import Dimension
from edgestudio.model.shapes.call import Call, Rule, Shape
from edgestudio.model.sizes import product, slid


def _slid(call: Call, size: Dimension, window: Dimension, step: int, dilation: int, edge: Any) -> Dimension:
    if not isinstance(size, int) or not isinstance(window, int) or step < 1:
        return None
    padding = call.attributes.get("padding")
    if padding == "SAME":
        return -(-size // step)
    before, after = edge if padding == "EXPLICIT" else (0, 0)
    is_ceil = bool(call.attributes.get("ceil"))
    return slid(size, window, step, before + after, dilation, is_ceil=is_ceil, before=before)


def _windows(call: Call, kernel: Sequence[Dimension], channels: Dimension) -> Shape:
    """What a window of these spatial sizes leaves of the first input."""
    shape = call.shape(0)
    rank = len(shape)
    if len(kernel) != rank - 2:
        raise ValueError("rank")
    steps, dilations = call.sizes("strides", rank), call.sizes("dilations", rank)
    borders = call.attributes.get("explicit_paddings") or [0] * (2 * rank)
    first = 2 if call.is_channels_first else 1
    out = list(shape)
    for position, window in enumerate(kernel):
        axis = first + position
        edge = borders[2 * axis : 2 * axis + 2]
        out[axis] = _slid(call, shape[axis], window, steps[axis], dilations[axis], edge)
    out[1 if call.is_channels_first else rank - 1] = channels
    return tuple(out)


def convolution(call: Call) -> Shape:
    """Weights are (…kernel, channels in, channels out)."""
    kernel = call.shape(1)
    return _windows(call, kernel[:-2], kernel[-1])


def depthwise(call: Call) -> Shape:
    """Weights are (…kernel, channels in, multiplier)."""
    *kernel, channels, multiplier = call.shape(1)
    return _windows(call, kernel, product([channels, multiplier]))


def transposed(call: Call) -> Shape:
    """Weights are (…kernel, channels out, channels in); `group` convolutions side by side.

    `output_shape` names the spatial sizes; `output_padding` adds to each.
    """
    shape, kernel = call.shape(0), call.shape(1)
    rank = len(shape)
    steps, dilations = call.sizes("strides", rank), call.sizes("dilations", rank)
    borders = call.attributes.get("explicit_paddings") or [0] * (2 * rank)
    given = call.attributes.get("output_shape")
    more = call.attributes.get("output_padding") or [0] * (rank - 2)
    first = 2 if call.is_channels_first else 1
    out = list(shape)
    for at, window in enumerate(kernel[:-2]):
        axis = first + at
        size, edge = shape[axis], sum(borders[2 * axis : 2 * axis + 2])
        if given:
            out[axis] = given[at]
        elif not isinstance(size, int) or not isinstance(window, int):
            out[axis] = None
        elif call.attributes.get("padding") == "SAME":
            out[axis] = size * steps[axis]
        else:
            edge = edge if call.attributes.get("padding") == "EXPLICIT" else 0
            out[axis] = (size - 1) * steps[axis] + dilations[axis] * (window - 1) + 1 - edge + more[at]
    groups = int(call.attributes.get("group") or 1)
    out[1 if call.is_channels_first else rank - 1] = product([kernel[-2], groups])
    return tuple(out)


def pooling(call: Call) -> Shape:
    """`ksize` has the window's size in every dimension."""
    shape = call.shape(0)
    windows = call.sizes("ksize", len(shape))
    first = 2 if call.is_channels_first else 1
    channels = shape[1 if call.is_channels_first else -1]
    return _windows(call, windows[first : first + len(shape) - 2], channels)


def pooling_with_places(call: Call) -> list[Shape]:
    """Pooling that also tells where each maximum was."""
    return [pooling(call)] * 2


def resized(call: Call) -> Shape:
    """The second input holds the new spatial sizes."""
    shape, sizes = call.shape(0), call.numbers(1)
    if call.is_channels_first:
        return (*shape[:2], *sizes)
    return (shape[0], *sizes, shape[-1])


def scaled(call: Call) -> Shape:
    """`scales` has a factor for each dimension."""
    return tuple(
        None if not isinstance(size, int) else int(size * factor + 1e-6)
        for size, factor in zip(call.shape(0), call.attributes["scales"], strict=True)
    )


def blocks(*, down: bool) -> Rule:
    """Space into channels (`down`) and back, in blocks of `block_size`."""

    def rule(call: Call) -> Shape:
        shape = call.shape(0)
        block = int(call.attributes["block_size"])
        first, at = (2, 1) if call.is_channels_first else (1, len(shape) - 1)
        area = block ** (len(shape) - 2)
        out: list[Dimension] = list(shape)
        for axis in range(first, first + len(shape) - 2):
            size = shape[axis]
            if isinstance(size, int):
                out[axis] = size // block if down else size * block
        channels = shape[at]
        if isinstance(channels, int):
            out[at] = channels * area if down else channels // area
        return tuple(out)

    return rule


def batch_blocks(*, to_batch: bool) -> Rule:
    """Blocks of space into the batch and back; the second input has their sizes, the third the borders."""

    def rule(call: Call) -> Shape:
        shape, block, borders = call.shape(0), call.numbers(1), call.numbers(2)
        out, area = list(shape), product(block)
        for at, by in enumerate(block):
            size, edges = shape[at + 1], borders[2 * at : 2 * at + 2]
            if isinstance(size, int):
                out[at + 1] = (size + sum(edges)) // by if to_batch else size * by - sum(edges)
        batch = shape[0]
        if isinstance(batch, int) and area is not None:
            out[0] = batch * area if to_batch else batch // area
        else:
            out[0] = None
        return tuple(out)

    return rule


def patches(call: Call) -> Shape:
    """Windows of an image laid side by side as channels."""
    shape = call.shape(0)
    windows = call.sizes("ksizes", 4)
    rates = {**call.attributes, "dilations": call.attributes.get("rates")}
    return _windows(call._replace(attributes=rates), windows[1:3], product([*windows[1:3], shape[3]]))


def cropped(call: Call) -> Shape:
    """Boxes cut out of images and resized: (boxes, height, width, channels)."""
    height, width = call.numbers(3)
    return (call.shape(1)[0], height, width, call.shape(0)[3])
