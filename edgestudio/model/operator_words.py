"""One word for operators that formats name differently: what two models of different formats are matched by."""

from __future__ import annotations

from functools import cache

from edgestudio.model.graph import Node

# Names in lower case without underscores, "aten::" and overloads.
_NAMES = {
    "conv": "conv conv1d conv2d conv3d depthwiseconv2d depthwiseconv1d depthwiseconv2dnative convolution "
    "groupconvolution fusedconv qlinearconv convinteger",
    "conv transpose": "convtranspose conv1dtranspose conv2dtranspose conv3dtranspose transposeconv conv2dbackpropinput "
    "conv3dbackpropinputv2 convolutionbackpropdata groupconvolutionbackpropdata convtranspose1d convtranspose2d "
    "convtranspose3d deconvolution",
    "dense": "fullyconnected gemm matmul dense linear innerproduct batchmatmul batchmatmulv2 batchmatmulv3 qgemm "
    "qlinearmatmul matmulintegertofloat dynamicquantizematmul matmulinteger matmulnbits addmm mm bmm "
    "batchedmatmul fusedmatmul",
    "relu": "relu relu6 clip clamp hardtanh clipbyvalue relun1to1",
    "add": "add addv2 biasadd qlinearadd addbroadcastable",
    "mul": "mul multiply qlinearmul multiplybroadcastable",
    "sub": "sub subtract subtractbroadcastable",
    "div": "div realdiv divide truediv dividebroadcastable",
    "sigmoid": "sigmoid logistic qlinearsigmoid",
    "reshape": "reshape flatten view reshapestatic flattento2d unsafeview qlinearreshape",
    "concat": "concat concatenation concatv2 concatenate cat concatnd qlinearconcat",
    "transpose": "transpose permute",
    "pad": "pad padv2 mirrorpad padding zeropadding2d zeropadding1d constantpadnd padding2d",
    "max pool": "maxpool maxpool2d maxpool1d maxpooling2d maxpooling1d",
    "average pool": "averagepool averagepool2d averagepooling2d averagepooling1d avgpool avgpool2d avgpool1d "
    "globalaveragepool mean reducemean globalaveragepooling2d globalaveragepooling1d adaptiveavgpool2d "
    "qlinearaveragepool qlinearglobalaveragepool",
    "quantize": "quantize quantizelinear dynamicquantizelinear",
    "dequantize": "dequantize dequantizelinear",
    "lstm": "unidirectionalsequencelstm lstm lstmsequence unidirectionallstm",
    "gru": "gru grusequence",
    "unsqueeze": "unsqueeze expanddims",
    "stack": "stack pack",
    "unstack": "unstack unpack unbind",
    "reduce sum": "sum reducesum",
    "reduce min": "min reducemin amin",
    "reduce max": "max reducemax amax",
    "slice": "slice stridedslice slicebyindex slicebysize slicestatic",
    "batch norm": "batchnormalization batchnorm batchnorminference fusedbatchnormv3 fusedbatchnormv2 fusedbatchnorm "
    "nativebatchnormlegitnotraining spatialbatchnormalization",
    "layer norm": "layernormalization layernorm nativelayernorm",
    "instance norm": "instancenormalization instancenorm",
    "group norm": "groupnormalization groupnorm nativegroupnorm",
    "softmax": "softmax softmaxnd",
    "gather": "gather gatherv2 embedding resourcegather",
    "batch to space": "batchtospacend batchtospace",
    "space to batch": "spacetobatchnd spacetobatch",
    "resize": "resize resizebilinear resizenearestneighbor upsample upsampling2d upsamplenearest2d upsamplebilinear2d "
    "interpolate",
    "transposed": "t",
}  # fmt: skip
_WORDS = {name: word for word, names in _NAMES.items() for name in names.split()}

WEIGHTED = {"conv", "conv transpose", "dense", "lstm", "gru"}
_ACTIVATIONS = {"relu", "sigmoid", "tanh", "leakyrelu", "prelu", "elu", "softplus", "softsign", "linear"}
_VALUES = {"Constant", "Const", "const", "loadConstant", "loadConstantND"}
_TRANSPOSED = ("transposed", "isDeconvolution")
_TORCH_TRANSPOSED = "argument 6"
"""`aten::_convolution(input, weight, bias, stride, padding, dilation, transposed, ...)`."""


@cache
def word(op: str) -> str:
    """The operator's name as all formats share it."""
    plain = op.removeprefix("aten::")
    if plain.startswith("aten."):
        plain = plain.split(".")[1]
    plain = plain.lower().replace("_", "").replace(" ", "")
    return _WORDS.get(plain, plain)


def meaning(node: Node) -> str:
    """As `word`, for a node: some say in an attribute what they do."""
    given = node.attributes
    is_general = node.op in ("aten::_convolution", "convolution") or node.op.startswith("aten.convolution")
    if is_general and any(given.get(key) is True for key in (*_TRANSPOSED, _TORCH_TRANSPOSED)):
        return "conv transpose"
    if node.op == "Activation" and isinstance(given.get("activation"), str):
        return word(given["activation"])
    if node.op == "activation":  # Core ML: the kind is the name of the field that is set
        return next((word(key) for key in given if word(key) in _ACTIVATIONS), "activation")
    if node.op == "pooling":
        return "average pool" if given.get("type") == "AVERAGE" else "max pool"
    return word(node.op)


def is_value(node: Node) -> bool:
    """True for a node that is but a constant: formats keep such values with or without one."""
    return node.op in _VALUES and not any(tensor >= 0 for tensor in node.inputs)
