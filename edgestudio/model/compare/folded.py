"""What a convolution or matrix product computes together with the constants that follow it.

Converters multiply normalisations, scales and biases into the kernel before them; two models are compared by
what comes out of that, and not by how far their converters went.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

import numpy as np

from edgestudio.model.arrays import Array
from edgestudio.model.compare.kernels import KINDS, canonical
from edgestudio.model.dtypes import elements
from edgestudio.model.graph import Node
from edgestudio.model.operator_words import meaning, word
from edgestudio.model.totals.constants import Weights

NORMALISATION = "batch norm"
_AFFINE = {"add", "sub", "mul", "div"}
_ASKED = {"dim", "size", "shape", "shapeof", "len"}
"""What reads no more of a tensor than its shape."""
_LOOKED_THROUGH = {"batch to space", "squeeze", "identity"}
_LONGEST = 6
_EPSILON = ("epsilon", "eps", "argument 7")
_USUAL_EPSILON = 1e-5
TENSORFLOWS_LEAST_EPSILON = 1.001e-5
"""What TensorFlow's fused normalisation raises a smaller epsilon to (CUDNN_BN_MIN_EPSILON, and Keras on its own)."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A kernel as outputs, inputs, window, and a bias an output, with everything behind it multiplied in."""

    kernel: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Tail:
    """The operators behind a kernel that only add and multiply constants, in order; where they end in the graph."""

    nodes: tuple[int, ...] = ()
    words: tuple[str, ...] = field(default=())


def tail(weights: Weights, i: int, taken: Container[int] = ()) -> Tail:
    """What follows operator `i` and can be multiplied into it, up to an operator that is in `taken`."""
    found: list[int] = []
    words: list[str] = []
    graph = weights.graph
    at, is_turned = i, False
    if meaning(graph.nodes[i]) not in KINDS:
        return Tail()
    while len(found) < _LONGEST:
        outputs = graph.nodes[at].outputs
        if not outputs or outputs[0] in graph.outputs or _has_activation(graph.nodes[at]):
            break
        readers = [
            reader
            for reader in weights.readers.get(outputs[0], [])
            if word(graph.nodes[reader].op) not in _ASKED
        ]
        if len(readers) != 1 or readers[0] in taken:
            break
        node, at = graph.nodes[readers[0]], readers[0]
        said = word(node.op)
        is_turned |= said == "transpose"
        if said in _LOOKED_THROUGH or said == "transpose":
            continue
        if not _is_affine(weights, node, outputs[0], said, is_turned=is_turned):
            break
        found.append(at)
        words.append(said)
    return Tail(tuple(found), tuple(words))


def _has_activation(node: Node) -> bool:
    """True for an operator that ends in an activation of its own: what follows cannot be multiplied into it."""
    for key in ("fused_activation_function", "activation"):
        if str(node.attributes.get(key) or "NONE").upper() not in ("NONE", "0", "LINEAR"):
            return True
    return False


def _is_affine(weights: Weights, node: Node, data: int, said: str, *, is_turned: bool) -> bool:
    """True where an operator only adds or multiplies constants; behind a transposition, the same one everywhere."""
    if said == NORMALISATION:
        return (
            not is_turned and bool(node.inputs) and node.inputs[0] == data and len(weights.places(node)) >= 2
        )
    if said == "neg":
        return True
    others = [tensor for tensor in node.inputs if tensor >= 0 and tensor != data]
    if said not in _AFFINE or len(others) != 1 or weights.source(others[0]) < 0:
        return False
    if is_turned and elements(weights.graph.tensors[others[0]].shape) != 1:
        return False
    is_first = node.inputs[0] == data
    return is_first or said in ("add", "mul")


def effective(
    weights: Weights, i: int, nodes: tuple[int, ...] = (), epsilon: Callable[[float], float] = float
) -> Effective | None:
    """Operator `i` with the operators `nodes` behind it multiplied in; None where its kernel is not known.

    `epsilon` changes the epsilon of normalisations.
    """
    node = weights.graph.nodes[i]
    places = kernel_places(weights, i)
    if meaning(node) not in KINDS or not places:
        return None
    stored = weights.value(places[0])
    kernel = None if stored is None or stored.dtype.kind == "c" else canonical(weights.format, node, stored)
    if kernel is None:
        return None
    bias = np.zeros(kernel.shape[0])
    for place in places[1:2]:
        held = weights.value(place)
        if held is None:
            return None
        flat = held.reshape(-1)
        if flat.size not in (1, bias.size):
            return None
        beta = node.attributes.get("beta", 1.0) if node.op == "Gemm" else 1.0
        bias = bias + flat * (beta if isinstance(beta, float) else 1.0)
    result: Effective | None = Effective(kernel, bias)
    for at in nodes:
        result = None if result is None else _applied(weights, weights.graph.nodes[at], result, epsilon)
    return result


def kernel_places(weights: Weights, i: int) -> list[int]:
    """The inputs of operator `i` that are its kernel and its bias, in this order."""
    node = weights.graph.nodes[i]
    places = [place for place in weights.places(node) if not _is_shape(weights, place)]
    return places[::-1] if node.op.startswith(("aten::addmm", "aten.addmm")) else places


def _is_shape(weights: Weights, place: int) -> bool:
    """True for the whole numbers of an output shape, which some transposed convolutions are given."""
    return (
        weights.graph.tensors[place].dtype in ("int32", "int64")
        and weights.stored(place).quantization is None
    )


def _applied(
    weights: Weights, node: Node, before: Effective, epsilon: Callable[[float], float]
) -> Effective | None:
    said = word(node.op)
    if said == NORMALISATION:
        factor_and_shift = normalisation(weights, node, epsilon)
        if factor_and_shift is None:
            return None
        factor, shift = factor_and_shift
    elif said == "neg":
        factor, shift = -np.ones(1), np.zeros(1)
    else:
        constant = next(each for each in node.inputs if weights.source(each) >= 0)
        values = weights.value(constant)
        flat = None if values is None else values.reshape(-1)
        if flat is None or flat.size not in (1, before.bias.size):
            return None
        factor = flat if said == "mul" else 1.0 / flat if said == "div" else np.ones(1)
        shift = flat if said == "add" else -flat if said == "sub" else np.zeros(1)
    if factor.size not in (1, before.bias.size) or shift.size not in (1, before.bias.size):
        return None
    along = factor.reshape(-1, *(1,) * (before.kernel.ndim - 1))
    return Effective(np.asarray(before.kernel * along), np.asarray(before.bias * factor + shift))


def normalisation(
    weights: Weights, node: Node, epsilon: Callable[[float], float] = float
) -> tuple[Array, Array] | None:
    """Factor and shift of a batch normalisation: gamma / sqrt(variance + epsilon), and beta less the mean times it.

    Jacob et al., Quantization and Training of Neural Networks, 2018, section 3.2.
    """
    values = [weights.value(place) for place in weights.places(node)]
    known = [np.asarray(each).reshape(-1) for each in values if each is not None]
    if len(known) != len(values) or len(known) not in (2, 3, 4):
        return None
    mean, variance = known[-2:]
    gamma, beta = np.ones_like(variance), np.zeros_like(variance)
    if len(known) == 4:
        gamma, beta = known[:2]
    elif len(known) == 3 and node.attributes.get("scale") is False:
        beta = known[0]
    elif len(known) == 3:
        gamma = known[0]
    given = next((e for key in _EPSILON if isinstance(e := node.attributes.get(key), float)), _USUAL_EPSILON)
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + epsilon(given))
    return factor, beta - mean * factor
