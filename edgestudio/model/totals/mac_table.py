"""Counts the multiply-accumulates of a model's operators, by every format's names for them.

Only what multiplies and adds in the inner loop counts: convolutions, matrix products, recurrent cells, attention.
That is the convention of the published figures (ResNet-50: 4.1 GMACs); activations, pooling and sums count 0. An
operator whose work is not known counts None, never 0: `resources/formats/work.json` lists what is free.
"""

from __future__ import annotations

import json
import re
from functools import cache

from edgestudio.assets import resource
from edgestudio.model.totals import macs as by
from edgestudio.model.totals.macs import Call, Rule

_CONV, _CONV_LAST = by.convolution(1), by.convolution(0, -1)


def _each_step(call: Call) -> int:
    """TimeDistributed: the output counts every step, so that the wrapped layer's own rule fits."""
    inner = str(call.node.attributes.get("layer"))
    if call.node.subgraphs:
        return 0
    rule = RULES["keras"].get(inner)
    if inner in by.GATES or "Attention" in inner or (rule is None and inner not in free_operators("keras")):
        raise LookupError(inner)
    return 0 if rule is None else rule(call)


def _function(call: Call) -> int:
    """A function of TensorFlow that a Keras model calls as a layer: products count, what else multiplies is unknown."""
    word = str(call.node.attributes.get("function"))
    if word.rpartition(".")[2] == "matmul":
        return by.product()(call)
    if _MULTIPLYING.search(word):
        raise LookupError(word)
    return 0


_MULTIPLYING = re.compile(
    r"matmul|matvec|einsum|conv|tensordot|fft|dct|stft|linalg\.(?!norm|diag|band|set_diag)|lstm|gru|rnn|attention|"
    r"py_function|numpy_function|map_fn|scan|while|xla"
)
_QUANTIZED_PRODUCTS = [f"QuantizedMatMul{end}" for end in (
    "", "WithBias", "WithBiasAndRelu", "WithBiasAndRequantize", "WithBiasAndReluAndRequantize",
    "WithBiasAndDequantize")]  # fmt: skip
_QUANTIZED_CONVOLUTIONS = [f"QuantizedConv2D{end}" for end in (
    "", "AndRelu", "AndRequantize", "AndReluAndRequantize", "PerChannel", "WithBias", "WithBiasAndRelu",
    "WithBiasAndRequantize", "WithBiasAndReluAndRequantize", "WithBiasSumAndRelu", "WithBiasSumAndReluAndRequantize",
    "WithBiasSignedSumAndReluAndRequantize")]  # fmt: skip
_QUANTIZED_DEPTHWISE = [f"QuantizedDepthwiseConv2D{end}" for end in (
    "", "WithBias", "WithBiasAndRelu", "WithBiasAndReluAndRequantize")]  # fmt: skip
RULES: dict[str, dict[str, Rule]] = {
    "onnx": {
        "Conv": _CONV, "FusedConv": _CONV, "NhwcConv": _CONV, "NhwcFusedConv": _CONV, "ConvInteger": _CONV,
        "DeformConv": _CONV, "QLinearConv": by.convolution(1, slot=3), "ConvTranspose": by.transposed(1),
        "ConvTransposeWithDynamicPads": by.transposed(1), "Gemm": by.product(), "MatMul": by.product(),
        "FusedMatMul": by.product(), "FusedGemm": by.product(), "GemmFastGelu": by.product(),
        "MatMulInteger": by.product(),
        "MatMulIntegerToFloat": by.product(), "DynamicQuantizeMatMul": by.product(), "QLinearMatMul": by.product(),
        "QGemm": by.product(), "GemmFloat8": by.product(), "MatMulNBits": by.packed, "MatMulBnb4": by.packed,
        "MatMulFpQ4": by.packed, "LSTM": by.recurrent(1, 3), "GRU": by.recurrent(1, 3), "RNN": by.recurrent(1, 3),
        "DynamicQuantizeLSTM": by.recurrent(1, 3), "Einsum": by.einsum, "Attention": by.with_past(4),
        "MultiHeadAttention": by.with_past(6), "GroupQueryAttention": by.attention,
        "MatMulInteger16": by.product(), "TransposeMatMul": by.product(), "QOrderedMatMul": by.product(),
        "FusedMatMulActivation": by.product(), "QLinearConvTranspose": by.transposed(1, slot=3),
        "CausalConvWithState": _CONV, "AffineGrid": by.product(), "MatMulBlockQuantizedFp4Weight": by.packed,
        "MatMulBlockQuantizedFp8Weight": by.packed, "LinearClassifier": by.linear_model,
        "LinearRegressor": by.linear_model,
        "com.microsoft.Attention": by.packed_attention, "QAttention": by.packed_attention,
    },
    "tflite": {
        "CONV_2D": _CONV, "CONV_3D": _CONV_LAST, "DEPTHWISE_CONV_2D": by.convolution(1, 3),
        "TRANSPOSE_CONV": by.transposed(0, 3, data=2), "CONV_3D_TRANSPOSE": by.transposed(0, 4, data=2),
        "FULLY_CONNECTED": by.dense(-1), "BATCH_MATMUL": by.product(), "LSTM": by.lite_lstm,
        "UNIDIRECTIONAL_SEQUENCE_LSTM": by.recurrent(1, 18), "BIDIRECTIONAL_SEQUENCE_LSTM": by.over(*range(1, 35),
        *range(40, 48)),
        "UNIDIRECTIONAL_SEQUENCE_RNN": by.recurrent(1, 3), "BIDIRECTIONAL_SEQUENCE_RNN": by.over(1, 2, 5, 6, 10, 11),
        "RNN": by.recurrent(1, 3), "SVDF": by.recurrent(1, 3), "STABLEHLO_DOT_GENERAL": by.general_product,
        "STABLEHLO_CONVOLUTION": by.general_convolution, "Convolution2DTransposeBias": by.transposed(0, 3),
    },
    "coreml": {
        "conv": _CONV, "conv_transpose": by.transposed(1), "linear": by.dense(-1), "matmul": by.product(),
        "einsum": by.einsum,
        "conv_quantized": _CONV,
        "convolution3d": by.network_convolution, "dot": by.inner_product,
        "lstm": by.lstm_program, "gru": by.core_ml_recurrent, "rnn": by.lstm_program,
        "convolution": by.network_convolution,
        "deconvolution": by.transposed(1), "innerProduct": by.dense(-1), "batchedMatmul": by.product(),
        "uniDirectionalLSTM": by.network_recurrent, "biDirectionalLSTM": by.network_recurrent,
        "simpleRecurrent": by.network_recurrent,
        "scaled_dot_product_attention": by.attention,
    },
    "keras": {
        "Conv1D": _CONV_LAST, "Conv2D": _CONV_LAST, "Conv3D": _CONV_LAST, "DepthwiseConv1D": by.convolution(0, -2),
        "DepthwiseConv2D": by.convolution(0, -2), "SeparableConv1D": by.separable, "SeparableConv2D": by.separable,
        "Conv1DTranspose": by.transposed(0, -1), "Conv2DTranspose": by.transposed(0, -1),
        "Conv3DTranspose": by.transposed(0, -1), "Dense": by.dense(0), "EinsumDense": by.einsum,
        "LSTM": by.recurrent(1, 3), "GRU": by.recurrent(1, 3), "SimpleRNN": by.recurrent(1, 3),
        "Bidirectional": by.both_ways, "TimeDistributed": _each_step, "Dot": by.vector_product, "Matmul": by.product(),
        "Einsum": by.einsum, "Conv": _CONV_LAST, "DepthwiseConv": by.convolution(0, -2), "SeparableConv": by.separable,
        "ConvTranspose": by.transposed(0, -1), "DotProductAttention": by.keras_scores, "TFOpLambda": _function,
        **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), by.convolving_recurrent),
        **dict.fromkeys(("GroupQueryAttention", "GroupedQueryAttention"), by.keras_grouped_attention),
        "MultiHeadAttention": by.keras_attention, "Attention": by.attention, "AdditiveAttention": by.attention,
    },
    "tensorflow": {
        "Conv2D": _CONV_LAST, "Conv3D": _CONV_LAST, "_FusedConv2D": _CONV_LAST, "MatMul": by.product(),
        "_FusedMatMul": by.product(), "DepthwiseConv2dNative": by.convolution(0, -2), "BatchMatMul": by.product(),
        "BatchMatMulV2": by.product(), "SparseMatMul": by.product(), "Conv": _CONV_LAST,
        "_FusedConv3D": _CONV_LAST, "_FusedDepthwiseConv2dNative": by.convolution(0, -2),
        "DepthwiseConv2dNativeBackpropInput": by.transposed(0, -2, data=2),
        "Conv3DBackpropInput": by.transposed(0, -1, data=2), "Conv2DBackpropInputV2": by.transposed(0, -1, data=2),
        "BlockLSTM": by.block_cell(1, 4, 5),
        "BlockLSTMV2": by.block_cell(1, 4, 5), "LSTMBlockCell": by.block_cell(0, 3, 4),
        "GRUBlockCell": by.block_cell(0, 2, 4), **dict.fromkeys(_QUANTIZED_PRODUCTS, by.product()),
        **dict.fromkeys(_QUANTIZED_CONVOLUTIONS, _CONV_LAST),
        **dict.fromkeys(_QUANTIZED_DEPTHWISE, by.convolution(0, -2)), "BatchMatMulV3": by.product(),
        "Einsum": by.einsum,
        "Conv2DBackpropInput": by.transposed(0, -1, data=2), "Conv3DBackpropInputV2": by.transposed(0, -1, data=2),
    },
    "openvino": {
        "Convolution": _CONV, "GroupConvolution": by.convolution(2), "ConvolutionBackpropData": by.transposed(1),
        "GroupConvolutionBackpropData": by.transposed(2), "MatMul": by.product(), "LSTMSequence": by.recurrent(4, 6),
        "GRUSequence": by.recurrent(3, 5), "RNNSequence": by.recurrent(3, 5), "LSTMCell": by.recurrent(3, 5),
        "GRUCell": by.recurrent(2, 4), "RNNCell": by.recurrent(2, 4), "BinaryConvolution": _CONV,
        "DeformableConvolution": by.convolution(1, slot=2), "FullyConnected": by.dense(-1), "Einsum": by.einsum,
        "ScaledDotProductAttention": by.attention,
    },
    "torch": {
        "conv1d": _CONV, "conv2d": _CONV, "conv3d": _CONV, "_convolution": by.aten_convolution,
        "convolution": by.aten_convolution, "conv_transpose2d": by.transposed(1), "conv_transpose1d": by.transposed(1),
        "linear": by.dense(-1), "mm": by.product(), "mv": by.product(), "dot": by.inner_product,
        "vdot": by.inner_product, "linalg_matmul": by.product(), "addmv": by.product(1), "_int_mm": by.product(),
        "bilinear": by.all_weights(0, 2), **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        by.torch_cell), "torchvision::deform_conv2d": _CONV, "cudnn_convolution": _CONV, "mkldnn_convolution": _CONV,
        "mkldnn_linear": by.dense(-1), "bmm": by.product(), "matmul": by.product(), "addmm": by.product(1),
        **dict.fromkeys(("_transformer_encoder_layer_fwd", "_native_multi_head_attention"), by.encoder_layer),
        "baddbmm": by.product(1), "scaled_dot_product_attention": by.attention,
        **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "quantized_lstm", "quantized_gru"), by.torch_recurrent),
        **dict.fromkeys(("quantized::conv1d", "quantized::conv2d", "quantized::conv3d", "quantized::conv1d_relu",
                         "quantized::conv2d_relu", "quantized::conv3d_relu", "prepacked::conv2d_clamp_run"), _CONV),
        **{f"quantized::conv_transpose{rank}d": by.transposed(1) for rank in (1, 2, 3)},
        **{f"quantized::conv{rank}d_dynamic": _CONV for rank in (1, 2, 3)},
        **dict.fromkeys(("quantized::linear", "quantized::linear_relu", "quantized::linear_dynamic",
                         "quantized::linear_relu_dynamic", "quantized::linear_dynamic_fp16",
                         "quantized::linear_relu_dynamic_fp16", "quantized::linear_leaky_relu",
                         "quantized::linear_tanh", "prepacked::linear_clamp_run"), by.dense(-1)),
        "quantized::matmul": by.product(), **{f"_scaled_dot_product_{kind}": by.attention for kind in
        ("attention_math", "flash_attention_for_cpu", "cudnn_attention", "fused_attention_overrideable")},
        "conv_transpose3d": by.transposed(1), "einsum": by.einsum, "_scaled_dot_product_flash_attention": by.attention,
        "_scaled_dot_product_efficient_attention": by.attention,
    },
}  # fmt: skip
_DIALECT = {
    "savedmodel": "tensorflow", "graphdef": "tensorflow", "metagraph": "tensorflow", "torchscript": "torch",
    "torch-export": "torch",
}  # fmt: skip
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


_KNOWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.training", "ai.onnx.preview.training",
"com.microsoft",
                  "com.microsoft.nchwc", "com.ms.internal.nhwc", "custom"}  # fmt: skip
"""Where operators have the names that are known here; "custom" are TensorFlow Lite's."""


_PLAIN = ("prim::", "_operator::", "operator::", "builtins::", "math::", "torch::sym_")
"""PyTorch's own structure and Python's arithmetic on sizes."""


@cache
def free_operators(dialect: str) -> frozenset[str]:
    """Operators that multiply and add nothing that counts."""
    document = json.loads(resource("formats", "work.json").read_text(encoding="utf-8"))
    return frozenset(document.get(dialect, {}).get("free", "").split())


def count(format_name: str, call: Call) -> int | None:
    """Multiply-accumulates of one operator, 0 for one without any.

    None while shapes are unknown, and for an operator of which nobody here knows what it does.
    """
    node, dialect = call.node, _DIALECT.get(format_name, format_name)
    if node.op in OPAQUE or node.op in HIDING:
        return None
    if node.domain not in _KNOWN_DOMAINS and dialect in ("onnx", "tflite"):
        return 0 if node.subgraphs else None
    name = node.op
    if dialect == "tflite" and name.startswith("Flex"):
        dialect, name = "tensorflow", name.removeprefix("Flex")
    if dialect == "torch":
        name = _torch_name(name)
    rules = RULES.get(dialect, {})
    rule = rules.get(f"{node.domain}.{name}") if node.domain else None
    rule = rule or rules.get(name)
    if rule is None:
        return 0 if node.subgraphs or _is_free(dialect, name) else None
    try:
        return rule(call)
    except (LookupError, ValueError, TypeError):
        return None


def _torch_name(op: str) -> str:
    """The operator without its space, its overload and the mark of working in place."""
    space, _, rest = op.partition("::")
    if not rest:  # "aten.add.Tensor" of an exported program
        space, _, rest = op.partition(".")
        if not rest:
            return op
        rest = rest.split(".")[0]
    if rest.endswith("_") and not rest.endswith("__"):
        rest = rest[:-1]
    return rest if space == "aten" else f"{space}::{rest}"


def _is_free(dialect: str, name: str) -> bool:
    is_plain = dialect == "torch" and name.startswith(_PLAIN)
    return is_plain or name in free_operators(dialect)
