"""How far the weights of two operators are apart, whatever order, type and folding their formats keep them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from edgestudio.model.arrays import Array
from edgestudio.model.formats.onnx_quantization import quantization_slots
from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.matching import WEIGHTED, Shape, is_value, word

Loaders = Mapping[str, Callable[[], Array | None]]
Folding = Callable[[Array], Array | None]
_NOTHING = Tensor("", "", None)
# Output, input, height, width as ONNX, PyTorch, Core ML have them, to the orders of TFLite, its depthwise, TensorFlow.
_ORDERS = ((0, 2, 3, 1), (1, 2, 3, 0), (2, 3, 1, 0), (2, 3, 0, 1), (1, 0))
_PASSED = ("DequantizeLinear", "DEQUANTIZE", "Identity", "Cast", "DENSIFY")
"""What may stand between a weight and the operator that uses it."""
_BATCH_NORMALISATION = ("batchnormalization", "batch_norm", "fusedbatchnormv3")
_SURE = 0.02
"""Fingerprints nearer than this are of the same weight, also when it was quantised."""
_ROUNDING = 1e-5
"""Other formats round weights on their way; what is nearer than this, relative to their length, is the same."""


class Weights:
    """The weights of one graph: which an operator uses, and their values by name from `weight_loaders`."""

    def __init__(self, graph: Graph, loaders: Loaders) -> None:
        self.graph, self._loaders = graph, loaders
        self._writers, self._readers = graph.producers(), graph.consumers()

    def of(self, node: Node) -> list[Tensor]:
        """The weights of an operator, also those that are dequantised or cast on their way to it."""
        parameters = quantization_slots(node.op)
        found = []
        for at, tensor in enumerate(node.inputs):
            seen, writer = tensor, self._writer(tensor)
            while writer is not None and writer.op in _PASSED and writer.inputs:
                seen, writer = writer.inputs[0], self._writer(writer.inputs[0])
            is_data = seen >= 0 and (
                self.graph.tensors[seen].kind == "constant"
                or (writer is not None and (is_value(writer) or writer.op.startswith("constexpr_")))
            )
            if is_data and at not in parameters:  # a scale or a zero point is told with its tensor
                found.append(self.graph.tensors[seen])
        return found

    def real(self, tensor: Tensor) -> Array | None:
        """The numbers of a weight, integers as what they stand for; None where they cannot be read."""
        loader = self._loaders.get(tensor.name)
        return None if loader is None else _real(tensor, loader())

    def normalisation(self, i: int) -> int:
        """The batch normalisation that alone reads what operator `i` writes, -1 for none."""
        outputs = self.graph.nodes[i].outputs
        readers = self._readers.get(outputs[0], []) if outputs else []
        alone = readers[0] if len(readers) == 1 else -1
        return alone if alone >= 0 and word(self.graph.nodes[alone].op) in _BATCH_NORMALISATION else -1

    def _writer(self, tensor: int) -> Node | None:
        at = self._writers.get(tensor, -1)
        return self.graph.nodes[at] if at >= 0 else None


def weight_changes(
    a: Weights, b: Weights, i: int, j: int, *, same_format: bool, partner: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Each weight of operator `i` of `a` that is not that of operator `j` of `b`: its type, shape, distance.

    Distances are `max_abs, relative, cosine`. `partner` are the matched operators: a batch normalisation behind
    `i` that has none was folded into `j`, and is folded here before its weights are compared.
    """
    node = a.graph.nodes[i]
    left, right = a.of(node), b.of(b.graph.nodes[j])
    if not same_format and word(node.op) not in WEIGHTED:
        left, right = [t for t in left if _is_real(t)], [t for t in right if _is_real(t)]
    behind = a.normalisation(i) if word(node.op) == "conv" else -1
    folding = _folding(a, behind) if behind >= 0 and behind not in partner else None
    is_exact = same_format and folding is None
    changed = []
    for place, (old, new) in enumerate(zip_longest(left, right)):
        if old is None or new is None:  # a bias that a format or a fused operator adds
            found = {"shape": [_listed(old), _listed(new)]} if is_exact else {}
        else:
            found = _change(a, b, old, new, folding and folding[min(place, 1)], is_exact=is_exact)
        if found:
            changed.append({"name": (new or old or _NOTHING).name, **found})
    return changed


def refined(pairs: list[tuple[int, int]], a: Weights, b: Weights) -> list[tuple[int, int]]:
    """The same pairs with operators of one kind and size exchanged where their weights tell which is which.

    Branches of a network come in another order in another format; nothing but their weights sets them apart.
    """
    partner = dict(pairs)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, j in pairs:
        node, weights = a.graph.nodes[i], b.of(b.graph.nodes[j])[:1]
        if word(node.op) in WEIGHTED and weights and weights[0].shape is not None:
            groups.setdefault((word(node.op), tuple(sorted(map(str, weights[0].shape)))), []).append(i)
    for members in groups.values():
        if len(members) < 2:
            continue
        others = [partner[i] for i in members]
        left = [_fingerprint(a, i, partner) for i in members]
        right = [_fingerprint(b, j, None) for j in others]
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


def _fingerprint(weights: Weights, i: int, partner: Mapping[int, int] | None) -> Array | None:
    """Numbers that do not depend on the order of dimensions: norm, sum, extremes of the weight as it is used."""
    node = weights.graph.nodes[i]
    held = weights.of(node)[:1]
    values = weights.real(held[0]) if held else None
    behind = weights.normalisation(i) if partner is not None else -1
    folding = (
        _folding(weights, behind) if partner is not None and behind >= 0 and behind not in partner else None
    )
    values = folding[0](values) if folding and values is not None else values
    if values is None or not values.size:
        return None
    return np.array([np.linalg.norm(values), np.abs(values).sum(), values.max(), values.min(), values.sum()])


def _apart(first: Array | None, second: Array | None) -> float:
    if first is None or second is None:
        return 1.0
    return float(np.max(np.abs(first - second) / np.maximum(np.abs(first), np.abs(first).max() * 1e-2)))


def _is_real(tensor: Tensor) -> bool:
    """True for numbers to compute with; shapes, axes and paddings are whole and depend on the format."""
    return tensor.dtype.startswith(("float", "bfloat")) or tensor.quantization is not None


def _change(
    a: Weights, b: Weights, old: Tensor, new: Tensor, folding: Folding | None, *, is_exact: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if old.dtype != new.dtype:
        found["dtype"] = [old.dtype, new.dtype]
    orders = list(_orders(old.shape, new.shape, is_exact=is_exact))
    if not orders:
        return {**found, "shape": [_listed(old), _listed(new)]}
    first, second = a.real(old), b.real(new)
    first = folding(first) if folding and first is not None else first
    if first is None or second is None:
        return found
    distances = [d for order in orders if (d := _distance(first, second, order)) is not None]
    nearest = min(distances, key=lambda each: each["relative"], default=None)
    if nearest is not None and nearest["relative"] > (0.0 if is_exact else _ROUNDING):
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
        if is_exact:
            return
    for order in _ORDERS:
        if len(order) == len(old) and tuple(old[at] for at in order) == new:
            yield order


def _distance(first: Array, second: Array, order: tuple[int, ...]) -> dict[str, float] | None:
    """Largest and relative difference, and cosine."""
    if first.ndim != len(order) or first.transpose(order).shape != second.shape:
        return None
    x, y = first.transpose(order), second
    lengths = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    product, apart = lengths[0] * lengths[1], float(np.linalg.norm(x - y))
    return {
        "max_abs": float(np.max(np.abs(x - y), initial=0.0)),
        "relative": apart / lengths[0] if lengths[0] else float(apart > 0),
        "cosine": float(np.dot(x.reshape(-1), y.reshape(-1))) / product if product else 1.0,
    }


def _real(tensor: Tensor, values: Array | None) -> Array | None:
    if values is None or values.dtype.kind not in "fiub":
        return None
    reals = values.astype(np.float64)
    if tensor.quantization is None or not tensor.quantization.scale:
        return reals
    scale, zero = np.array(tensor.quantization.scale), np.array(tensor.quantization.zero_point or [0])
    axis = tensor.quantization.axis
    if len(scale) > 1:
        if axis is None or not -reals.ndim <= axis < reals.ndim or reals.shape[axis] != len(scale):
            return None
        shape = [1] * reals.ndim
        shape[axis] = len(scale)
        scale = scale.reshape(shape)
        zero = zero.reshape(shape) if zero.size == scale.size else zero[:1]
    real: Array = (reals - zero) * scale
    return real


def _folding(weights: Weights, i: int) -> tuple[Folding, Folding] | None:
    """What folding batch normalisation `i` makes of the weight and the bias before it.

    w' = w * gamma / sqrt(variance + epsilon), and the bias accordingly (Jacob et al., 2018, section 3.2).
    """
    node = weights.graph.nodes[i]
    values = [weights.real(tensor) for tensor in weights.of(node)]
    if len(values) != 4 or any(each is None for each in values):
        return None
    gamma, beta, mean, variance = (np.asarray(each).reshape(-1) for each in values)
    given = node.attributes.get("epsilon", 1e-5)
    factor = gamma / np.sqrt(variance + (given if isinstance(given, float) else 1e-5))

    def weight(kernel: Array) -> Array | None:
        if kernel.shape[:1] != factor.shape:
            return None
        return np.asarray(kernel * factor.reshape(-1, *(1,) * (kernel.ndim - 1)))

    def bias(values: Array) -> Array | None:
        return np.asarray((values - mean) * factor + beta) if values.shape == factor.shape else None

    return weight, bias


def _listed(tensor: Tensor | None) -> list[Any] | None:
    return None if tensor is None or tensor.shape is None else list(tensor.shape)
