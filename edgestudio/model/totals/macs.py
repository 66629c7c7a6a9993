"""Formulas for the multiply-accumulates of one operator, from the shapes around it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgestudio.model.graph import Node

Shape = tuple[int, ...] | None


class Call(NamedTuple):
    """One operator with the shapes of what it reads and writes; None where unknown."""

    node: Node
    ins: Sequence[Shape]
    outs: Sequence[Shape]

    def shape(self, slot: int) -> tuple[int, ...]:
        """Shape of an input; raises LookupError when there is none or it is unknown."""
        found = self.ins[slot] if slot < len(self.ins) else None
        if found is None:
            raise LookupError(slot)
        return found

    def out(self) -> int:
        """Elements of the first output; raises LookupError when unknown."""
        if not self.outs or self.outs[0] is None:
            raise LookupError("output")
        return math.prod(self.outs[0])

    def flag(self, *names: str) -> bool:
        """True when any of these attributes is set."""
        return any(bool(self.node.attributes.get(name)) for name in names)


Rule = Callable[[Call], int]


def convolution(first: int, last: int | None = None, slot: int = 1) -> Rule:
    """Per output element, the weights of one output channel: `weight[first:last]`."""
    return lambda call: call.out() * math.prod(call.shape(slot)[first:last])


def transposed(first: int, last: int | None = None, slot: int = 1, data: int = 0) -> Rule:
    """Per input element, the weights that spread it: `weight[first:last]`."""
    return lambda call: math.prod(call.shape(data)) * math.prod(call.shape(slot)[first:last])


def product(data: int = 0) -> Rule:
    """A matrix product: per output element, the length of the rows of the left side."""

    def rule(call: Call) -> int:
        left = call.shape(data)
        is_turned = call.flag("transA", "transpose_a", "adj_x", "transpose_x", "transposeA")
        return call.out() * (left[-2] if is_turned and len(left) > 1 else left[-1] if left else 1)

    return rule


def dense(axis: int, slot: int = 1) -> Rule:
    """A fully connected layer: per output element, `weight.shape[axis]`."""
    return lambda call: call.out() * call.shape(slot)[axis]


def packed(call: Call) -> int:
    """MatMulNBits: the weight is packed, its length is in attribute K."""
    length = call.node.attributes.get("K")
    return call.out() * (length if isinstance(length, int) else call.shape(0)[-1])


def recurrent(first: int, last: int) -> Rule:
    """A recurrent layer: each step of each sample meets every weight of inputs first..last once."""

    def rule(call: Call) -> int:
        matrices = [shape for shape in call.ins[first:last] if shape is not None and len(shape) >= 2]
        if not matrices:
            raise LookupError("weights")
        return math.prod(call.shape(0)[:-1]) * sum(math.prod(shape) for shape in matrices)

    return rule


def lstm_program(call: Call) -> int:
    """As `recurrent`; the matrices come first, behind the biases are the states, which can be matrices too."""
    shapes = list(call.ins[1:])
    end = next((at for at, shape in enumerate(shapes) if shape is None or len(shape) < 2), len(shapes))
    return recurrent(1, 1 + end)(call)


def torch_recurrent(call: Call) -> int:
    """As `recurrent`: of what the call is given only the weights are matrices, states have three dimensions."""
    matrices = [shape for shape in call.ins[1:] if shape is not None and len(shape) == 2]
    if not matrices:
        raise LookupError("weights")
    return math.prod(call.shape(0)[:-1]) * sum(math.prod(shape) for shape in matrices)


def network_recurrent(call: Call) -> int:
    """A recurrent layer of a Core ML neural network: sequence and batch come first, then channels and two ones."""
    matrices = [shape for shape in call.ins[1:] if shape is not None and len(shape) == 2]
    if not matrices or len(call.shape(0)) < 3:
        raise LookupError("weights")
    return math.prod(call.shape(0)[:2]) * sum(math.prod(shape) for shape in matrices)


def keras_attention(call: Call) -> int:
    """MultiHeadAttention: four projections, the scores, and their product with the values."""
    query, value = call.shape(0), call.shape(1)
    heads, depth = int(call.node.attributes["num_heads"]), int(call.node.attributes["key_dim"])
    out = int(call.node.attributes.get("value_dim") or depth)
    if len(query) != 3 or len(value) != 3 or call.outs[0] is None:
        raise LookupError("shapes")
    batch, steps, width = query
    projected = steps * width * depth + value[1] * value[2] * (depth + out) + steps * out * call.outs[0][-1]
    return batch * heads * (projected + steps * value[1] * (depth + out))


def keras_grouped_attention(call: Call) -> int:
    """GroupQueryAttention: as MultiHeadAttention, with fewer heads for keys and values."""
    query, value = call.shape(0), call.shape(1)
    heads, pairs, depth = (
        int(call.node.attributes[key]) for key in ("num_query_heads", "num_key_value_heads", "head_dim")
    )
    if len(query) != 3 or len(value) != 3:
        raise LookupError("shapes")
    batch, steps, width = query
    projected = 2 * steps * width * heads * depth + 2 * value[1] * value[2] * pairs * depth
    return batch * (projected + 2 * steps * value[1] * heads * depth)


GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def both_ways(call: Call) -> int:
    """Bidirectional: two layers of the wrapped kind."""
    data, units = call.shape(0), int(call.node.attributes["units"])
    gates = GATES[str(call.node.attributes["layer"])]
    return 2 * math.prod(data[:-1]) * gates * units * (data[-1] + units)


def convolving_recurrent(call: Call) -> int:
    """ConvLSTM: at each step a convolution of the data and one of the state, both of the output's size."""
    out, data = call.outs[0], call.shape(0)
    count = len(data) - 3
    if out is None:
        raise LookupError("output")
    positions = math.prod(out[-count - 1 : -1]) * data[0] * data[1]
    return positions * (math.prod(call.shape(1)) + math.prod(call.shape(2)))


def separable(call: Call) -> int:
    """A convolution of each channel, then one of single points."""
    depthwise, pointwise = call.shape(1), call.shape(2)
    channels = math.prod(pointwise[:-1])
    positions = call.out() // max(pointwise[-1], 1)
    return positions * channels * math.prod(depthwise[:-2]) + call.out() * channels


def einsum(call: Call) -> int:
    """The product of the sizes of all indices: each combination is one multiply-accumulate."""
    given = call.node.attributes
    equation = next((given[key] for key in ("equation", "equ", "argument 0") if key in given), None)
    if not isinstance(equation, str):
        raise LookupError("equation")
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) < 2:
        return 0
    sizes: dict[str, int] = {}
    for slot, term in enumerate(terms):
        shape = list(call.shape(slot))
        letters = re.findall(r"[A-Za-z]", term)
        extra = len(shape) - len(letters)
        if "..." in term and extra >= 0:
            at = term.index("...")
            letters[at:at] = [f"...{i}" for i in range(extra, 0, -1)]
        if len(letters) != len(shape):
            raise LookupError("equation")
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values()) * (len(terms) - 1)


def attention(call: Call) -> int:
    """Scores and their product with the values, for separate queries and keys."""
    query, key = call.shape(0), call.shape(1)
    return 2 * math.prod(query) * key[-2]


def packed_attention(call: Call) -> int:
    """com.microsoft Attention: projections of one input to queries, keys and values first."""
    data, weight = call.shape(0), call.shape(1)
    hidden = weight[-1] // 3
    return math.prod(data) * weight[-1] + 2 * math.prod(data[:-1]) * data[-2] * hidden


def encoder_layer(call: Call) -> int:
    """PyTorch's whole layer, or its self-attention: every token meets every matrix once, and all others of its row."""
    first = call.shape(0)
    matrices = sum(math.prod(shape) for shape in call.ins[1:] if shape is not None and len(shape) == 2)
    return math.prod(first[:-1]) * (matrices + 2 * first[-2] * first[-1])


def aten_convolution(call: Call) -> int:
    """PyTorch's convolution, which is a transposed one as well."""
    # A program that was exported names its arguments, the code of TorchScript counts them.
    is_turned = call.flag("transposed") or call.node.attributes.get("argument 6") is True
    return (transposed(1) if is_turned else convolution(1))(call)


def network_convolution(call: Call) -> int:
    """The convolution of a Core ML neural network, which is a transposed one as well."""
    return (transposed(1) if call.flag("isDeconvolution") else convolution(1))(call)


def linear_model(call: Call) -> int:
    """ai.onnx.ml: every sample meets every coefficient once."""
    coefficients = call.node.attributes["coefficients"]
    count = coefficients["length"] if isinstance(coefficients, dict) else len(coefficients)
    return math.prod(call.shape(0)[:-1]) * int(count)


def torch_cell(call: Call) -> int:
    """One step of a recurrent layer: data, state(s), then the two matrices of weights."""
    matrices = [shape for shape in call.ins if shape is not None and len(shape) == 2][-2:]
    if len(matrices) < 2:
        raise LookupError("weights")
    return math.prod(call.shape(0)[:-1]) * sum(math.prod(shape) for shape in matrices)


def over(*slots: int) -> Rule:
    """Each step of each sample meets every weight of these inputs once; those that are left out count nothing."""

    def rule(call: Call) -> int:
        given = [call.ins[at] for at in slots if at < len(call.ins)]
        matrices = [shape for shape in given if shape is not None and len(shape) >= 2]
        if not matrices:
            raise LookupError("weights")
        return math.prod(call.shape(0)[:-1]) * sum(math.prod(shape) for shape in matrices)

    return rule


def lite_lstm(call: Call) -> int:
    """TensorFlow Lite's LSTM; the quantised one of five inputs has all its weights in one matrix."""
    if len(call.ins) == 5:
        return math.prod(call.shape(0)[:-1]) * math.prod(call.shape(2))
    return recurrent(1, 18)(call)


def block_cell(data: int, first: int, last: int) -> Rule:
    """TensorFlow's fused cells: every row of the data meets every weight of inputs first..last."""

    def rule(call: Call) -> int:
        weights = [call.shape(slot) for slot in range(first, last)]
        return math.prod(call.shape(data)[:-1]) * sum(math.prod(shape) for shape in weights)

    return rule


def general_product(call: Call) -> int:
    """StableHLO's product: per output element, the sizes that both sides are summed over."""
    left = call.shape(0)
    axes = call.node.attributes.get("lhs_contracting_dimensions") or []
    return call.out() * math.prod([left[int(axis)] for axis in axes])


def general_convolution(call: Call) -> int:
    """StableHLO's convolution: per output element, the weights of one output channel."""
    weight, channel = call.shape(1), call.node.attributes.get("kernel_output_feature_dimension")
    if not isinstance(channel, int):
        raise LookupError("kernel_output_feature_dimension")
    return call.out() * math.prod(weight) // max(weight[channel], 1)


def inner_product(call: Call) -> int:
    """As many as the first input has elements."""
    return math.prod(call.shape(0))


def vector_product(call: Call) -> int:
    """NumPy's dot, and Keras's layer of that name with its `axes`: per output element, the length of what is joined."""
    axes = call.node.attributes.get("axes", -1)
    axis = int(axes[0] if isinstance(axes, list) else axes)
    return call.out() * call.shape(0)[axis]


def keras_scores(call: Call) -> int:
    """Keras's attention operation on (batch, steps, heads, depth)."""
    return 2 * math.prod(call.shape(0)) * call.shape(1)[1]


def all_weights(data: int, slot: int) -> Rule:
    """Each row of the data meets every weight once."""
    return lambda call: math.prod(call.shape(data)[:-1]) * math.prod(call.shape(slot))


def with_past(slot: int) -> Rule:
    """Attention that also looks back at keys of earlier calls."""

    def rule(call: Call) -> int:
        past = call.ins[slot] if slot < len(call.ins) else None
        key = call.shape(1)
        if slot < len(call.node.inputs) and call.node.inputs[slot] >= 0 and past is None:
            raise LookupError("past")
        return 2 * math.prod(call.shape(0)) * (key[-2] + (past[-2] if past else 0))

    return rule


def core_ml_recurrent(call: Call) -> int:
    """A recurrent layer of a program, or of a neural network, whose data have two ones behind the features."""
    return (network_recurrent if len(call.shape(0)) == 5 else lstm_program)(call)
