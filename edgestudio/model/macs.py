"""Counts the multiply-accumulates of one operator from the shapes around it, for every format's operator names.

Only what multiplies and adds in the inner loop counts: convolutions, matrix products, recurrent cells, attention.
That is the convention of the published figures (ResNet-50: 4.1 GMACs); activations, pooling and sums count 0.
"""

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


def _convolution(first: int, last: int | None = None, slot: int = 1) -> Rule:
    """Per output element, the weights of one output channel: `weight[first:last]`."""
    return lambda call: call.out() * math.prod(call.shape(slot)[first:last])


def _transposed(first: int, last: int | None = None, slot: int = 1, data: int = 0) -> Rule:
    """Per input element, the weights that spread it: `weight[first:last]`."""
    return lambda call: math.prod(call.shape(data)) * math.prod(call.shape(slot)[first:last])


def _product(data: int = 0) -> Rule:
    """A matrix product: per output element, the length of the rows of the left side."""

    def rule(call: Call) -> int:
        left = call.shape(data)
        is_turned = call.flag("transA", "transpose_a", "adj_x", "transpose_x", "transposeA")
        return call.out() * (left[-2] if is_turned and len(left) > 1 else left[-1] if left else 1)

    return rule


def _dense(axis: int, slot: int = 1) -> Rule:
    """A fully connected layer: per output element, `weight.shape[axis]`."""
    return lambda call: call.out() * call.shape(slot)[axis]


def _packed(call: Call) -> int:
    """MatMulNBits: the weight is packed, its length is in attribute K."""
    length = call.node.attributes.get("K")
    return call.out() * (length if isinstance(length, int) else call.shape(0)[-1])


def _recurrent(first: int, last: int) -> Rule:
    """A recurrent layer: each step of each sample meets every weight of inputs first..last once."""

    def rule(call: Call) -> int:
        matrices = [shape for shape in call.ins[first:last] if shape is not None and len(shape) >= 2]
        if not matrices:
            raise LookupError("weights")
        return math.prod(call.shape(0)[:-1]) * sum(math.prod(shape) for shape in matrices)

    return rule


def _lstm_program(call: Call) -> int:
    """As `_recurrent`; the matrices come first, behind the biases are the states, which can be matrices too."""
    shapes = list(call.ins[1:])
    end = next((at for at, shape in enumerate(shapes) if shape is None or len(shape) < 2), len(shapes))
    return _recurrent(1, 1 + end)(call)


def _torch_recurrent(call: Call) -> int:
    """As `_recurrent`: of what the call is given only the weights are matrices, states have three dimensions."""
    matrices = [shape for shape in call.ins[1:] if shape is not None and len(shape) == 2]
    if not matrices:
        raise LookupError("weights")
    return math.prod(call.shape(0)[:-1]) * sum(math.prod(shape) for shape in matrices)


def _network_recurrent(call: Call) -> int:
    """A recurrent layer of a Core ML neural network: sequence and batch come first, then channels and two ones."""
    matrices = [shape for shape in call.ins[1:] if shape is not None and len(shape) == 2]
    if not matrices or len(call.shape(0)) < 3:
        raise LookupError("weights")
    return math.prod(call.shape(0)[:2]) * sum(math.prod(shape) for shape in matrices)


def _keras_attention(call: Call) -> int:
    """MultiHeadAttention: four projections, the scores, and their product with the values."""
    query, value = call.shape(0), call.shape(1)
    heads, depth = int(call.node.attributes["num_heads"]), int(call.node.attributes["key_dim"])
    out = int(call.node.attributes.get("value_dim") or depth)
    if len(query) != 3 or len(value) != 3 or call.outs[0] is None:
        raise LookupError("shapes")
    batch, steps, width = query
    projected = steps * width * depth + value[1] * value[2] * (depth + out) + steps * out * call.outs[0][-1]
    return batch * heads * (projected + steps * value[1] * (depth + out))


def _keras_grouped_attention(call: Call) -> int:
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


_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def _both_ways(call: Call) -> int:
    """Bidirectional: two layers of the wrapped kind."""
    data, units = call.shape(0), int(call.node.attributes["units"])
    gates = _GATES[str(call.node.attributes["layer"])]
    return 2 * math.prod(data[:-1]) * gates * units * (data[-1] + units)


def _convolving_recurrent(call: Call) -> int:
    """ConvLSTM: at each step a convolution of the data and one of the state, both of the output's size."""
    out, data = call.outs[0], call.shape(0)
    count = len(data) - 3
    if out is None:
        raise LookupError("output")
    positions = math.prod(out[-count - 1 : -1]) * data[0] * data[1]
    return positions * (math.prod(call.shape(1)) + math.prod(call.shape(2)))


def _each_step(call: Call) -> int:
    """TimeDistributed: the output counts every step, so that the wrapped layer's own rule fits."""
    inner = str(call.node.attributes.get("layer"))
    if inner in _GATES or "Attention" in inner:
        raise LookupError(inner)
    rule = RULES["keras"].get(inner)
    return 0 if rule is None else rule(call)


def _separable(call: Call) -> int:
    depthwise, pointwise = call.shape(1), call.shape(2)
    channels = math.prod(pointwise[:-1])
    positions = call.out() // max(pointwise[-1], 1)
    return positions * channels * math.prod(depthwise[:-2]) + call.out() * channels


def _einsum(call: Call) -> int:
    """The product of the sizes of all indices: each combination is one multiply-accumulate."""
    equation = str(call.node.attributes.get("equation", call.node.attributes.get("equ", ""))).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) < 2 or len(terms) > len(call.ins):
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


def _attention(call: Call) -> int:
    """Scores and their product with the values, for separate queries and keys."""
    query, key = call.shape(0), call.shape(1)
    return 2 * math.prod(query) * key[-2]


def _packed_attention(call: Call) -> int:
    """com.microsoft Attention: projections of one input to queries, keys and values first."""
    data, weight = call.shape(0), call.shape(1)
    hidden = weight[-1] // 3
    return math.prod(data) * weight[-1] + 2 * math.prod(data[:-1]) * data[-2] * hidden


def _aten_convolution(call: Call) -> int:
    return (_transposed(1) if call.flag("transposed") else _convolution(1))(call)


def _network_convolution(call: Call) -> int:
    """The convolution of a Core ML neural network, which is a transposed one as well."""
    return (_transposed(1) if call.flag("isDeconvolution") else _convolution(1))(call)


def _linear_model(call: Call) -> int:
    """ai.onnx.ml: every sample meets every coefficient once."""
    coefficients = call.node.attributes["coefficients"]
    count = coefficients["length"] if isinstance(coefficients, dict) else len(coefficients)
    return math.prod(call.shape(0)[:-1]) * int(count)


def _unknown(call: Call) -> int:
    """An operator that multiplies in a way that is not followed here."""
    raise LookupError(call.node.op)


_CONV, _CONV_LAST = _convolution(1), _convolution(0, -1)

RULES: dict[str, dict[str, Rule]] = {
    "onnx": {
        "Conv": _CONV, "FusedConv": _CONV, "NhwcConv": _CONV, "NhwcFusedConv": _CONV, "ConvInteger": _CONV,
        "DeformConv": _CONV, "QLinearConv": _convolution(1, slot=3), "ConvTranspose": _transposed(1),
        "ConvTransposeWithDynamicPads": _transposed(1), "Gemm": _product(), "MatMul": _product(),
        "FusedMatMul": _product(), "FusedGemm": _product(), "GemmFastGelu": _product(), "MatMulInteger": _product(),
        "MatMulIntegerToFloat": _product(), "DynamicQuantizeMatMul": _product(), "QLinearMatMul": _product(),
        "QGemm": _product(), "GemmFloat8": _product(), "MatMulNBits": _packed, "MatMulBnb4": _packed,
        "MatMulFpQ4": _packed, "LSTM": _recurrent(1, 3), "GRU": _recurrent(1, 3), "RNN": _recurrent(1, 3),
        "DynamicQuantizeLSTM": _recurrent(1, 3), "Einsum": _einsum, "Attention": _attention,
        "MultiHeadAttention": _attention, "GroupQueryAttention": _attention,
        "LinearClassifier": _linear_model, "LinearRegressor": _linear_model,
        "com.microsoft.Attention": _packed_attention, "QAttention": _packed_attention,
    },
    "tflite": {
        "CONV_2D": _CONV, "CONV_3D": _CONV_LAST, "DEPTHWISE_CONV_2D": _convolution(1, 3),
        "TRANSPOSE_CONV": _transposed(0, 3, data=2), "CONV_3D_TRANSPOSE": _transposed(0, 4, data=2),
        "FULLY_CONNECTED": _dense(-1), "BATCH_MATMUL": _product(), "LSTM": _recurrent(1, 18),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(1, 18), "BIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(1, 35),
        "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent(1, 3), "BIDIRECTIONAL_SEQUENCE_RNN": _recurrent(1, 9),
        "RNN": _recurrent(1, 3), "SVDF": _recurrent(1, 3), "STABLEHLO_DOT_GENERAL": _product(),
    },
    "coreml": {
        "conv": _CONV, "conv_transpose": _transposed(1), "linear": _dense(-1), "matmul": _product(), "einsum": _einsum,
        "lstm": _lstm_program, "gru": _lstm_program, "rnn": _lstm_program, "convolution": _network_convolution,
        "deconvolution": _transposed(1), "innerProduct": _dense(-1), "batchedMatmul": _product(),
        "uniDirectionalLSTM": _network_recurrent, "biDirectionalLSTM": _network_recurrent,
        "gru_layer": _network_recurrent, "simpleRecurrent": _network_recurrent,
        "scaled_dot_product_attention": _attention,
    },
    "keras": {
        "Conv1D": _CONV_LAST, "Conv2D": _CONV_LAST, "Conv3D": _CONV_LAST, "DepthwiseConv1D": _convolution(0, -2),
        "DepthwiseConv2D": _convolution(0, -2), "SeparableConv1D": _separable, "SeparableConv2D": _separable,
        "Conv1DTranspose": _transposed(0, -1), "Conv2DTranspose": _transposed(0, -1),
        "Conv3DTranspose": _transposed(0, -1), "Dense": _dense(0), "EinsumDense": _einsum,
        "LSTM": _recurrent(1, 3), "GRU": _recurrent(1, 3), "SimpleRNN": _recurrent(1, 3),
        "Bidirectional": _both_ways, "TimeDistributed": _each_step,
        **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolving_recurrent),
        **dict.fromkeys(("GroupQueryAttention", "GroupedQueryAttention"), _keras_grouped_attention),
        "MultiHeadAttention": _keras_attention, "Attention": _attention, "AdditiveAttention": _attention,
    },
    "tensorflow": {
        "Conv2D": _CONV_LAST, "Conv3D": _CONV_LAST, "_FusedConv2D": _CONV_LAST, "MatMul": _product(),
        "_FusedMatMul": _product(), "DepthwiseConv2dNative": _convolution(0, -2), "BatchMatMul": _product(),
        "BatchMatMulV2": _product(), "BatchMatMulV3": _product(), "Einsum": _einsum,
        "Conv2DBackpropInput": _transposed(0, -1, data=2), "Conv3DBackpropInputV2": _transposed(0, -1, data=2),
    },
    "openvino": {
        "Convolution": _CONV, "GroupConvolution": _convolution(2), "ConvolutionBackpropData": _transposed(1),
        "GroupConvolutionBackpropData": _transposed(2), "MatMul": _product(), "LSTMSequence": _recurrent(4, 6),
        "GRUSequence": _recurrent(3, 5), "Einsum": _einsum, "ScaledDotProductAttention": _attention,
    },
    "torch": {
        "conv1d": _CONV, "conv2d": _CONV, "conv3d": _CONV, "_convolution": _aten_convolution,
        "convolution": _aten_convolution, "conv_transpose2d": _transposed(1), "conv_transpose1d": _transposed(1),
        "linear": _dense(-1), "mm": _product(), "bmm": _product(), "matmul": _product(), "addmm": _product(1),
        "baddbmm": _product(1), "scaled_dot_product_attention": _attention,
        **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "quantized_lstm", "quantized_gru"), _torch_recurrent),
        **dict.fromkeys(("quantized::conv1d", "quantized::conv2d", "quantized::conv3d", "quantized::conv1d_relu",
                         "quantized::conv2d_relu", "quantized::conv3d_relu"), _CONV),
        **dict.fromkeys(("quantized::linear", "quantized::linear_relu", "quantized::linear_dynamic",
                         "quantized::linear_relu_dynamic"), _dense(-1)),
        "conv_transpose3d": _transposed(1), "einsum": _einsum, "_scaled_dot_product_flash_attention": _attention,
        "_scaled_dot_product_efficient_attention": _attention, "_native_multi_head_attention": _unknown,
        "_transformer_encoder_layer_fwd": _unknown,
    },
}  # fmt: skip
_DIALECT = {
    "savedmodel": "tensorflow", "graphdef": "tensorflow", "torchscript": "torch", "torch-export": "torch",
}  # fmt: skip
_KERAS_FREE = {
    "Embedding", "PReLU", "BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization",
    "RMSNormalization", "Functional", "Sequential", "Model", "UnitNormalization",
}  # fmt: skip
"""Keras layers with weights that they do not multiply and add up."""


def is_counted(op: str) -> bool:
    """True for a Keras layer whose multiply-accumulates are known, if only to be none."""
    return op in RULES["keras"] or op in _KERAS_FREE


OPAQUE = {"edgetpu-custom-op", "EPContext", "TRTEngineOp", "TRT_TRTEngineOp"}
"""Operators that hide a whole compiled network; what is inside cannot be counted."""
HIDING = {
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "SVMClassifier",
    "SVMRegressor",
    "treeEnsembleClassifier",
    "treeEnsembleRegressor",
    "supportVectorClassifier",
    "supportVectorRegressor",
    "glmClassifier",
    "glmRegressor",
    "kNearestNeighborsClassifier",
    "bayesianProbitRegressor",
    "customModel",
    "linkedModel",
    "serializedModel",
    "visionFeaturePrint",
    "audioFeaturePrint",
    "soundAnalysisPreprocessing",
    "textClassifier",
    "wordTagger",
    "wordEmbedding",
    "gazetteer",
    "itemSimilarityRecommender",
}
"""Operators that keep what they learned in a form of their own: neither parameters nor operations are counted."""


_KNOWN_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "com.microsoft", "ai.onnx.preview.training"}
)
"""What an operator of any other ONNX domain computes, only its maker knows."""


def count(format_name: str, call: Call) -> int | None:
    """Multiply-accumulates of one operator, 0 for one without any, None while shapes or what it does are unknown."""
    node = call.node
    if node.op in OPAQUE or node.op in HIDING:
        return None
    rules = RULES.get(_DIALECT.get(format_name, format_name), {})
    name = (
        node.op.removeprefix("aten::").removeprefix("aten.").split(".")[0] if "aten" in node.op else node.op
    )
    rule = rules.get(f"{node.domain}.{name}") if node.domain else None
    rule = rule or rules.get(name)
    if rule is None:
        is_foreign = format_name == "onnx" and node.domain not in _KNOWN_DOMAINS and not node.subgraphs
        return None if is_foreign else 0
    try:
        return rule(call)
    except (LookupError, ValueError):
        return None
