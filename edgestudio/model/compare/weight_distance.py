"""How far the weights of two operators are apart, whatever order, type and folding their formats keep them in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, zip_longest
from typing import Any

import numpy as np

from edgestudio.model.arrays import Array
from edgestudio.model.compare.folded import (
    NORMALISATION,
    TENSORFLOWS_LEAST_EPSILON,
    Effective,
    Tail,
    effective,
    kernel_places,
)
from edgestudio.model.compare.kernels import KINDS
from edgestudio.model.compare.matching import Shape
from edgestudio.model.compare.recurrent import gated
from edgestudio.model.graph import Tensor
from edgestudio.model.operator_words import WEIGHTED, meaning
from edgestudio.model.totals.constants import Weights

_NOTHING = Tensor("", "", None)
_SURE = 0.02
"""Fingerprints nearer than this are of the same weight, also when it was quantised."""
_ROUNDING = 1e-5
"""Other formats round weights on their way; what is nearer than this, relative to their length, is the same."""
_TURNED_AXES = 4
"""Dimensions of a weight whose every order is tried, where operators do not say what it is."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the weights of two operators have come to: rows of what differs, and those whose values are not known."""

    changed: list[dict[str, Any]]
    unread: list[str]


def kernel_changes(a: Weights, b: Weights, i: int, j: int, tails: tuple[Tail, Tail]) -> Found | None:
    """How kernel and bias of two operators differ with everything in their tails multiplied in; None if unknown."""
    first, second = effective(a, i, tails[0].nodes), effective(b, j, tails[1].nodes)
    if first is None or second is None:
        return None
    stored = [
        [weights.stored(place) for place in kernel_places(weights, at)] for weights, at in ((a, i), (b, j))
    ]
    row: dict[str, Any] = {"name": (stored[1] or stored[0])[0].name}
    types = [side[0].dtype for side in stored if side]
    if len(set(types)) > 1:
        row["dtype"] = types
    kernels = _alike(first.kernel), _alike(second.kernel)
    if kernels[0].shape != kernels[1].shape:
        return Found([{**row, "shape": [list(each.kernel.shape) for each in (first, second)]}], [])
    apart = distance(*kernels)
    if apart["relative"] > _ROUNDING and meaning(a.graph.nodes[i]) == "dense":
        apart = min((apart, *_reordered(a, b, i, j, kernels)), key=lambda each: each["relative"])
    if apart["relative"] > _ROUNDING:
        row |= apart | _explained(a, b, i, j, tails)
    rows = [row] if len(row) > 1 else []
    shift = distance(first.bias, second.bias)
    if shift["relative"] > _ROUNDING and shift["max_abs"] > _ROUNDING * _reach(first, second):
        held = [side[1].name for side in stored[::-1] if len(side) > 1]
        name = next(iter(held), f"bias of {row['name']}")
        biases = [side[1].dtype for side in stored if len(side) > 1]
        said = {"dtype": biases} if len(set(biases)) > 1 else {}
        rows.append({"name": name, **said, **shift, **{key: row[key] for key in ("epsilon",) if key in row}})
    return Found(rows, [])


def weight_changes(a: Weights, b: Weights, i: int, j: int, *, same_format: bool) -> Found:
    """Each weight of operator `i` of `a` that is not that of operator `j` of `b`: its type, shape, distance.

    Distances are `max_abs, relative, cosine`.
    """
    node = a.graph.nodes[i]
    left, right = a.places(node), b.places(b.graph.nodes[j])
    if not same_format and meaning(node) not in WEIGHTED:
        left = [each for each in left if _is_real(a.stored(each))]
        right = [each for each in right if _is_real(b.stored(each))]
        if len(left) != len(
            right
        ):  # limits and factors are attributes in one format and constants in another
            left = [each for each in left if a.stored(each).shape not in ((), (1,))]
            right = [each for each in right if b.stored(each).shape not in ((), (1,))]
    changed: list[dict[str, Any]] = []
    unread: list[str] = []
    for one, two in zip_longest(left, right):
        old = None if one is None else a.stored(one)
        new = None if two is None else b.stored(two)
        name = (new or old or _NOTHING).name
        if one is None or two is None:  # a bias that a format or a fused operator adds
            found = {"shape": [_listed(old), _listed(new)]} if same_format else {}
        else:
            found = _change(a, b, one, two, is_exact=same_format)
        if found.pop("unread", False):
            unread.append(name)
        if found:
            changed.append({"name": name, **found})
    return Found(changed, unread)


def recurrent_changes(a: Weights, b: Weights, i: int, j: int) -> Found:
    """How the weights of two recurrent layers differ, whatever order their gates are in."""
    first, second = gated(a, i), gated(b, j)
    names = [tensor.name for tensor in b.of(b.graph.nodes[j])][:3]
    if first is None or second is None or first.inputs.shape != second.inputs.shape:
        return Found([], names)
    turned = min(first.orders(), key=lambda each: distance(each.inputs, second.inputs)["relative"])
    sides = ((turned.inputs, second.inputs), (turned.states, second.states), (turned.bias, second.bias))
    rows = []
    for at, (one, two) in enumerate(sides):
        apart = distance(one, two)
        if apart["relative"] > _ROUNDING:
            rows.append({"name": names[min(at, len(names) - 1)], **apart})
    return Found(rows, [])


def refined(
    pairs: list[tuple[int, int]], a: Weights, b: Weights, tails: tuple[dict[int, Tail], dict[int, Tail]]
) -> list[tuple[int, int]]:
    """The same pairs with operators of one kind and size exchanged where their weights tell which is which.

    Branches of a network come in another order in another format; nothing but their weights sets them apart.
    """
    partner = dict(pairs)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, j in pairs:
        node, weights = a.graph.nodes[i], b.of(b.graph.nodes[j])[:1]
        if meaning(node) in KINDS and weights and weights[0].shape is not None:
            size = int(np.prod([each for each in weights[0].shape if isinstance(each, int)], dtype=np.int64))
            groups.setdefault((meaning(node), size), []).append(i)
    for members in groups.values():
        if len(members) < 2:
            continue
        others = [partner[i] for i in members]
        left = [_fingerprint(effective(a, i, tails[0][i].nodes)) for i in members]
        right = [_fingerprint(effective(b, j, tails[1][j].nodes)) for j in others]
        free = set(range(len(others)))
        chosen: dict[int, int] = {}
        for at, print_a in enumerate(left):
            near = [(_apart(print_a, right[to]), to != at, to) for to in free]
            apart, _, to = min(near, default=(1.0, True, -1))
            if apart < _SURE:
                chosen[at] = to
                free.discard(to)
        unsure = [at for at in range(len(members)) if at not in chosen]
        chosen.update(zip(unsure, sorted(free), strict=True))
        partner.update({members[at]: others[to] for at, to in chosen.items()})
    return sorted(partner.items())


def _fingerprint(found: Effective | None) -> Array | None:
    """Numbers that do not depend on the order of dimensions: norm, sum, extremes of the weight as it is used."""
    values = None if found is None else found.kernel
    if values is None or not values.size:
        return None
    return np.array([np.linalg.norm(values), np.abs(values).sum(), values.max(), values.min(), values.sum()])


def _apart(first: Array | None, second: Array | None) -> float:
    if first is None or second is None:
        return 1.0
    return float(np.max(np.abs(first - second) / np.maximum(np.abs(first), np.abs(first).max() * 1e-2)))


def _reordered(
    a: Weights, b: Weights, i: int, j: int, kernels: tuple[Array, Array]
) -> Iterator[dict[str, float]]:
    """Distances with the inputs in another order: what is flattened before has its channels first or last."""
    for weights, at in ((a, i), (b, j)):
        sizes = _flattened(weights, at, kernels[0].shape[-1])
        if not sizes:
            continue
        parted = kernels[0].reshape(kernels[0].shape[0], *sizes)
        for order in permutations(range(1, len(sizes) + 1)):
            yield distance(parted.transpose(0, *order).reshape(kernels[0].shape), kernels[1])


def _flattened(weights: Weights, i: int, count: int) -> tuple[int, ...]:
    """The sizes that were flattened into the inputs of a matrix product, () where there were none."""
    tensor = weights.graph.nodes[i].inputs[0]
    for _ in range(6):
        shape = weights.graph.tensors[tensor].shape or ()
        sizes = tuple(size for size in shape[1:] if isinstance(size, int) and size > 1)
        if 2 <= len(sizes) <= _TURNED_AXES and int(np.prod(sizes, dtype=np.int64)) == count:
            return sizes
        writer = weights.writer(tensor)
        if writer is None or not writer.inputs or writer.inputs[0] < 0:
            return ()
        tensor = writer.inputs[0]
    return ()


def _explained(a: Weights, b: Weights, i: int, j: int, tails: tuple[Tail, Tail]) -> dict[str, Any]:
    """Why kernels differ a little: `epsilon` of a normalisation that was folded in, before and after."""
    given: list[float] = []

    def raised(epsilon: float) -> float:
        given.append(epsilon)
        return max(epsilon, TENSORFLOWS_LEAST_EPSILON)

    if (NORMALISATION in tails[0].words) == (NORMALISATION in tails[1].words):
        return {}
    first, second = effective(a, i, tails[0].nodes, raised), effective(b, j, tails[1].nodes, raised)
    if first is None or second is None or max(given) >= TENSORFLOWS_LEAST_EPSILON:
        return {}
    kernels = _alike(first.kernel), _alike(second.kernel)
    if kernels[0].shape != kernels[1].shape or distance(*kernels)["relative"] > _ROUNDING:
        return {}
    values = [max(given), TENSORFLOWS_LEAST_EPSILON]
    return {"epsilon": values if NORMALISATION in tails[0].words else values[::-1]}


def _alike(kernel: Array) -> Array:
    """A kernel without window sizes of 1: a convolution along one axis may be written along two."""
    return kernel.reshape(*kernel.shape[:2], *(size for size in kernel.shape[2:] if size > 1))


def _reach(first: Effective, second: Effective) -> float:
    """The largest number that a bias is held against: what is lost when such numbers cancel is no difference."""
    sides = [each.bias for each in (first, second)] + [np.abs(first.kernel).max(initial=0.0, keepdims=True)]
    return max(float(np.abs(side).max(initial=0.0)) for side in sides)


def _is_real(tensor: Tensor) -> bool:
    """True for numbers to compute with; shapes, axes and paddings are whole and depend on the format."""
    return tensor.dtype.startswith(("float", "bfloat", "complex")) or tensor.quantization is not None


def _change(a: Weights, b: Weights, one: int, two: int, *, is_exact: bool) -> dict[str, Any]:
    old, new = a.stored(one), b.stored(two)
    found: dict[str, Any] = {}
    if old.dtype != new.dtype:
        found["dtype"] = [old.dtype, new.dtype]
    shapes = [weights.graph.tensors[at].shape for weights, at in ((a, one), (b, two))]
    first, second = a.value(one), b.value(two)
    if first is not None and second is not None:
        if not is_exact:
            first, second = np.squeeze(first), np.squeeze(second)
        shapes = [first.shape, second.shape]
    orders = list(_orders(shapes[0], shapes[1], is_exact=is_exact))
    if shapes[0] is not None and shapes[1] is not None and not orders:
        return {**found, "shape": [_listed(old), _listed(new)]}
    if first is None or second is None or first.ndim != second.ndim:
        return {**found, "unread": True}
    distances = [
        distance(first.transpose(order), second)
        for order in orders
        if len(order) == first.ndim and first.transpose(order).shape == second.shape
    ]
    nearest = min(distances, key=lambda each: each["relative"], default=None)
    if nearest is None:
        return {**found, "unread": True}
    if nearest["relative"] > (0.0 if is_exact else _ROUNDING):
        found.update(nearest)
    return found


def _orders(old: Shape, new: Shape, *, is_exact: bool) -> Iterator[tuple[int, ...]]:
    """The ways to put the dimensions of one weight so that it has the other's shape.

    Between formats there may be several, where sizes are the same by chance; the nearest one is meant.
    """
    if old is None or new is None:
        return
    if old == new:
        yield tuple(range(len(old)))
    if is_exact or len(old) != len(new) or len(old) > _TURNED_AXES:
        return
    for order in permutations(range(len(old))):
        if order != tuple(range(len(old))) and tuple(old[at] for at in order) == new:
            yield order


def distance(first: Array, second: Array) -> dict[str, float]:
    """Largest and relative difference, and cosine, of two arrays of one shape."""
    finite = np.isfinite(first) & np.isfinite(second)
    if not finite.all():  # what is no number has no distance: it is the same, or it is not
        is_same = np.array_equal(first, second, equal_nan=True)
        apart = np.abs(first[finite] - second[finite])
        largest = float(np.max(apart, initial=0.0))
        return {
            "max_abs": largest,
            "relative": 0.0 if is_same else 1.0,
            "cosine": 1.0 if is_same else 0.0,
        }
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    product, apart = lengths[0] * lengths[1], float(np.linalg.norm(first - second))
    reach = max(lengths)
    return {
        "max_abs": float(np.max(np.abs(first - second), initial=0.0)),
        "relative": apart / (lengths[0] or reach) if reach else 0.0,
        "cosine": float(np.vdot(first, second).real) / product if product else float(not reach),
    }


def _listed(tensor: Tensor | None) -> list[Any] | None:
    return None if tensor is None or tensor.shape is None else list(tensor.shape)
