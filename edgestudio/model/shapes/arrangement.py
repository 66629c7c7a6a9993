"""Shapes of what joins, cuts, turns or picks tensors, and of products between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from edgestudio.model.graph import Dimension
from edgestudio.model.shapes.call import Call, Rule, Shape, Sizes, axis_of, total
from edgestudio.model.sizes import broadcast, product


def product_of_matrices(call: Call) -> Shape:
    """A matrix product with leading dimensions that stretch; vectors count as a row and as a column."""
    left, right = list(call.shape(0)), list(call.shape(1))
    if call.attributes.get("transpose_a") or call.attributes.get("adj_x"):
        left[-2:] = left[:-3:-1]
    if call.attributes.get("transpose_b") or call.attributes.get("adj_y"):
        right[-2:] = right[:-3:-1]
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else []
    head = broadcast([tuple(left[:-2]), tuple(right[:-2])])
    return None if head is None else (*head, *rows, *columns)


def einsum(call: Call) -> Shape:
    """The sizes of the letters on the right; an ellipsis stands for dimensions that stretch."""
    equation = str(call.attributes.get("equation", "")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if not arrow:
        letters = sorted(re.findall(r"[A-Za-z]", terms))
        result = "..." * ("..." in terms) + "".join(x for x in letters if letters.count(x) == 1)
    sizes: dict[str, Dimension] = {}
    rests: list[Shape] = []
    for slot, term in enumerate(terms.split(",")):
        shape, (front, dots, back) = call.shape(slot), term.partition("...")
        if len(shape) < len(front) + len(back) or (not dots and len(shape) != len(front)):
            raise ValueError("equation")
        end = len(shape) - len(back)
        for letter, size in [*zip(front, shape, strict=False), *zip(back, shape[end:], strict=True)]:
            if sizes.get(letter) in (None, 1):
                sizes[letter] = size
        if dots:
            rests.append(shape[len(front) : end])
    front, dots, back = result.partition("...")
    middle = broadcast(rests) if dots and rests else ()
    return None if middle is None else (*(sizes[x] for x in front), *middle, *(sizes[x] for x in back))


def concatenated(shapes: Sequence[Sizes], axis: Any) -> Shape:
    """Shapes joined along one axis."""
    axis = axis_of(axis, len(shapes[0]))
    merged = [next((s[i] for s in shapes if isinstance(s[i], int)), None) for i in range(len(shapes[0]))]
    return (*merged[:axis], total([shape[axis] for shape in shapes]), *merged[axis + 1 :])


def concatenated_last(call: Call) -> Shape:
    """The axis is the last input."""
    return concatenated([call.shape(at) for at in range(len(call.shapes) - 1)], call.numbers(-1)[0])


def concatenated_first(call: Call) -> Shape:
    """The axis is the first input."""
    return concatenated([call.shape(at) for at in range(1, len(call.shapes))], call.numbers(0)[0])


def reshaped(call: Call) -> Shape:
    """The second input has the sizes, -1 for what is left; with `zero_copies` 0 keeps the size of its place."""
    shape, target = call.shapes[0], call.numbers(1)
    if call.attributes.get("zero_copies"):
        kept = call.shape(0) if 0 in target else ()
        target = [kept[at] if item == 0 else item for at, item in enumerate(target)]
    out: list[Dimension] = [item if isinstance(item, int) and item >= 0 else None for item in target]
    if out.count(None) != 1:
        return tuple(out)
    whole = None if shape is None else product(shape)
    rest = product([size for size in out if size is not None])
    if whole is not None and rest:
        out[out.index(None)] = whole // rest
    return tuple(out)


def squeezed(call: Call) -> Shape:
    """Without the axes of `squeeze_dims` or of the second input, or without every size of one."""
    shape, axes = call.shape(0), call.attributes.get("squeeze_dims") or call.attributes.get("axis")
    if not axes and len(call.shapes) > 1:
        axes = call.numbers(1)
    if not axes and None in shape:
        raise LookupError("sizes")
    dropped = (
        {axis_of(axis, len(shape)) for axis in axes}
        if axes
        else {i for i, size in enumerate(shape) if size == 1}
    )
    return tuple(size for position, size in enumerate(shape) if position not in dropped)


def expanded(call: Call) -> Shape:
    """Ones at the axes that the second input names, as they are in the result."""
    shape, axes = call.shape(0), call.numbers(1)
    rank = len(shape) + len(axes)
    ones, sizes = {axis_of(axis, rank) for axis in axes}, iter(shape)
    return tuple(1 if axis in ones else next(sizes) for axis in range(rank))


def permuted(call: Call) -> Shape:
    """The second input has the order, none or an empty one turns it around."""
    shape = call.shape(0)
    order = call.numbers(1) if len(call.shapes) > 1 else []
    return tuple(shape[int(axis)] for axis in order) if order else shape[::-1]


def padded(call: Call) -> Shape:
    """The second input has two amounts for each dimension."""
    shape, amounts = call.shape(0), call.numbers(1)
    edges = [amounts[2 * i : 2 * i + 2] for i in range(len(shape))]
    if len(amounts) != 2 * len(shape):
        raise ValueError("paddings")
    return tuple(total([s, *e]) for s, e in zip(shape, edges, strict=True))


def reduced(call: Call) -> Shape:
    """The second input has the axes; `keep_dims` leaves ones."""
    shape = call.shape(0)
    axes = {axis_of(axis, len(shape)) for axis in call.numbers(1)}
    if call.attributes.get("keep_dims"):
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def packed(call: Call) -> Shape:
    """Equal shapes stacked along a new axis."""
    shape = list(call.shape(0))
    shape.insert(axis_of(call.attributes.get("axis") or 0, len(shape) + 1), len(call.shapes))
    return tuple(shape)


def unpacked(call: Call) -> list[Shape]:
    """One axis taken apart."""
    shape = call.shape(0)
    axis = axis_of(call.attributes.get("axis") or 0, len(shape))
    count: Any = call.attributes.get("num") or shape[axis]
    return [(*shape[:axis], *shape[axis + 1 :])] * min(int(count), 10_000)


def gathered(call: Call) -> Shape:
    """What the second input counts off along an axis of the first; `batch_dims` leading axes belong together."""
    shape, indices = call.shape(0), call.shape(1)
    axis = axis_of(call.numbers(2)[0], len(shape)) if len(call.shapes) > 2 else 0
    batch = int(call.attributes.get("batch_dims") or 0)
    batch = batch + len(indices) if batch < 0 else batch
    return (*shape[:axis], *indices[batch:], *shape[axis + 1 :])


def gathered_from_variable(call: Call) -> Shape:
    """As `gathered`, from a variable whose shape may be elsewhere."""
    if call.shapes[0] is None:  # a table of vectors, of which the file says the width elsewhere
        return (*call.shape(1), None)
    return (*call.shape(1), *call.shape(0)[1:])


def gathered_places(call: Call) -> Shape:
    """The last axis of the indices names places in the first input."""
    shape, indices = call.shape(0), call.shape(1)
    batch, depth = int(call.attributes.get("batch_dims") or 0), indices[-1]
    return (*indices[:-1], *shape[batch + int(depth) :]) if isinstance(depth, int) else None


def split_evenly(call: Call) -> list[Shape]:
    """The axis is the first input, `num_split` the number of parts."""
    shape, count = list(call.shape(1)), int(call.attributes["num_split"])
    axis = axis_of(call.numbers(0)[0], len(shape))
    size = shape[axis]
    shape[axis] = size // count if isinstance(size, int) else None
    return [tuple(shape)] * min(count, 10_000)


def split_by_sizes(call: Call) -> list[Shape]:
    """The second input has the sizes, one of them -1 for the rest; the third is the axis."""
    shape, parts = call.shape(0), call.numbers(1)
    axis = axis_of(call.numbers(2)[0], len(shape))
    rest, whole = total([part for part in parts if part != -1]), shape[axis]
    if -1 in parts:
        open_size = whole - rest if isinstance(whole, int) and rest is not None else None
        parts = [open_size if part == -1 else part for part in parts]
    return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]


def sliced(call: Call) -> Shape:
    """The inputs have the beginnings and the sizes, -1 for all that is left."""
    shape, size = call.shape(0), call.numbers(2)
    begin = call.values[1] or [None] * len(shape)
    ends = zip(shape, begin, size, strict=True)
    return tuple(
        (whole - start if isinstance(whole, int) and start is not None else None) if width == -1 else width
        for whole, start, width in ends
    )


def sliced_ranges(call: Call, shape: Sequence[Dimension]) -> list[tuple[str, slice | int, Dimension]]:
    """What a strided slice does with each dimension: keep a range, pick one ("drop"), or add one ("new").

    A bound that is not known is the text "?".
    """
    begin, end, step = (_bounds(call, slot) for slot in (1, 2, 3))
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
            found.append(("drop", begin[i], shape[at]))
            at += 1
        else:
            start = None if masks["begin"] & bit else begin[i]
            stop = None if masks["end"] & bit else end[i]
            found.append(("keep", slice(start, stop, step[i]), shape[at]))
            at += 1
    return found + [("keep", slice(None), size) for size in shape[at:]]


def _bounds(call: Call, slot: int) -> list[Any]:
    """The numbers of an input; of one that is not known only how many there are."""
    if slot < len(call.values) and call.values[slot] is not None:
        return ["?" if item is None else int(item) for item in call.numbers(slot)]
    (count,) = call.shape(slot)
    return ["?"] * int(count or 0)


def strided(call: Call) -> Shape:
    """A strided slice, as NumPy has it."""
    out: list[Dimension] = []
    for what, part, size in sliced_ranges(call, call.shape(0)):
        if what == "new":
            out.append(1)
        elif what == "keep" and isinstance(part, slice):
            out.append(_kept(part, size))
    return tuple(out)


def _kept(part: slice, size: Dimension) -> Dimension:
    bounds = (part.start, part.stop, part.step)
    if "?" in bounds:
        return None
    if isinstance(size, int):
        return len(range(*part.indices(size)))
    is_whole = part.start in (None, 0) and part.step in (None, 1)
    return size if is_whole and (part.stop is None or part.stop >= (1 << 31) - 1) else None


def tiled(call: Call) -> Shape:
    """The second input says how often each dimension is repeated."""
    shape, times = call.shape(0), call.numbers(1)
    rank = max(len(shape), len(times))
    padded_shape = (*[1] * (rank - len(shape)), *shape)
    factors = [1] * (rank - len(times)) + times
    return tuple(product([size, by]) for size, by in zip(padded_shape, factors, strict=True))


def best(call: Call) -> Shape:
    """Where the largest or smallest is along an axis."""
    shape = call.shape(0)
    axis = axis_of(call.numbers(1)[0], len(shape)) if len(call.shapes) > 1 else 0
    return (*shape[:axis], *shape[axis + 1 :])


def ranked(call: Call) -> list[Shape]:
    """The `k` best along an axis, the last where none is named, and where they are."""
    shape = list(call.shape(0))
    axis = axis_of(call.attributes.get("axis", -1), len(shape))
    shape[axis] = call.numbers(1)[0]
    return [tuple(shape)] * 2


def one_hot(call: Call) -> Shape:
    """A new axis of the depth that the second input has."""
    shape = list(call.shape(0))
    shape.insert(axis_of(call.attributes.get("axis", -1), len(shape) + 1), call.numbers(1)[0])
    return tuple(shape)


def counted(call: Call) -> Shape:
    """A range of numbers."""
    values = call.numbers(0) + call.numbers(1) + call.numbers(2)
    if None in values:
        return (None,)
    start, stop, step = values
    return (max(-int(-(stop - start) // step), 0),)


def given(slot: int) -> Rule:
    """The shape is what this input holds."""
    return lambda call: tuple(None if item is None or item < 0 else int(item) for item in call.numbers(slot))


def stretched(call: Call) -> Shape:
    """The first input stretched to the sizes that the second holds, both ways with `both_ways`."""
    target = tuple(None if item is None or item < 0 else int(item) for item in call.numbers(1))
    return broadcast([call.shape(0), target]) if call.attributes.get("both_ways") else target


def like(slot: int) -> Rule:
    """The shape of an input."""
    return lambda call: call.shape(slot)


def merged(call: Call) -> Shape:
    """What all inputs stretch to."""
    return broadcast(call.shapes)
