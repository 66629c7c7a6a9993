"""Compares two models, also of different formats: what was added, removed and changed, and by how much."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.model.graph import Dimension, Graph, Model, Node, Tensor
from edgestudio.model.inspection import analysed
from edgestudio.model.library import content_sha256
from edgestudio.model.weights import Array, weight_loaders
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Progress

_ALIGN_LIMIT = 4000
"""Up to this many unmatched operators a side are aligned optimally; longer rests in passing order."""

# One word for operators that formats name differently.
_SAME = {
    "CONV_2D": "conv", "Conv": "conv", "Conv2D": "conv", "convolution": "conv", "QLinearConv": "conv",
    "DEPTHWISE_CONV_2D": "conv", "DepthwiseConv2D": "conv", "DepthwiseConv2dNative": "conv", "Convolution": "conv",
    "GroupConvolution": "conv", "FusedConv": "conv", "Conv1D": "conv",
    "FULLY_CONNECTED": "dense", "Gemm": "dense", "MatMul": "dense", "Dense": "dense", "linear": "dense",
    "innerProduct": "dense", "BATCH_MATMUL": "dense", "BatchMatMulV2": "dense", "QGemm": "dense", "matmul": "dense",
    "QLinearMatMul": "dense", "MatMulInteger": "dense", "MatMulNBits": "dense",
    "RELU": "relu", "Relu": "relu", "ReLU": "relu", "RELU6": "relu", "Relu6": "relu", "Clip": "relu", "CLIP": "relu",
    "ADD": "add", "Add": "add", "AddV2": "add", "MUL": "mul", "Mul": "mul", "SUB": "sub", "Sub": "sub",
    "DIV": "div", "Div": "div", "RealDiv": "div", "SOFTMAX": "softmax", "Softmax": "softmax",
    "RESHAPE": "reshape", "Reshape": "reshape", "Flatten": "reshape", "flatten": "reshape",
    "CONCATENATION": "concat", "Concat": "concat", "ConcatV2": "concat", "Concatenate": "concat",
    "TRANSPOSE": "transpose", "Transpose": "transpose", "PAD": "pad", "Pad": "pad", "LOGISTIC": "sigmoid",
    "Sigmoid": "sigmoid", "MAX_POOL_2D": "max pool", "MaxPool": "max pool", "MaxPooling2D": "max pool",
    "AVERAGE_POOL_2D": "average pool", "AveragePool": "average pool", "GlobalAveragePool": "average pool",
    "MEAN": "average pool", "ReduceMean": "average pool", "GlobalAveragePooling2D": "average pool",
    "QUANTIZE": "quantize", "QuantizeLinear": "quantize", "DEQUANTIZE": "dequantize",
    "DequantizeLinear": "dequantize", "UNIDIRECTIONAL_SEQUENCE_LSTM": "lstm", "LSTM": "lstm",
    "EXPAND_DIMS": "unsqueeze", "ExpandDims": "unsqueeze", "expand_dims": "unsqueeze", "PACK": "stack", "Pack": "stack",
    "MIRROR_PAD": "pad", "MirrorPad": "pad", "SUM": "reduce sum", "Sum": "reduce sum", "ReduceSum": "reduce sum",
    "reduce_sum": "reduce sum", "REDUCE_MIN": "reduce min", "ReduceMin": "reduce min", "Min": "reduce min",
    "reduce_min": "reduce min", "REDUCE_MAX": "reduce max", "ReduceMax": "reduce max", "Max": "reduce max",
    "reduce_max": "reduce max", "real_div": "div", "slice_by_index": "slice", "SQUARE": "square", "Square": "square",
    "STRIDED_SLICE": "slice", "SLICE": "slice", "Slice": "slice", "StridedSlice": "slice",
}  # fmt: skip


_WEIGHTED = {"conv", "dense", "lstm", "gru"}
_FOLDED = {"batchnormalization", "batch_norm", "fusedbatchnormv3", "relu", "identity"}
"""What converters fold into the operator before."""
# Output, input, height, width as ONNX, PyTorch, Core ML have them, to the orders of TFLite, its depthwise, TensorFlow.
_ORDERS = ((0, 2, 3, 1), (1, 2, 3, 0), (2, 3, 1, 0), (2, 3, 0, 1), (1, 0))
_NOISE = {"version"}
"""Attributes that change with the converter and not with the computation."""


def diff_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Compare `params["a"]` with `params["b"]`; entry point of the job `diff`."""
    a, b = Path(str(params["a"])), Path(str(params["b"]))
    progress.phase("read", 0.0)
    if content_sha256(a) == content_sha256(b):
        return {"added": [], "removed": [], "changed": [], "identical": True, "pairs": [], "totals": {}}
    first, second = analysed(a), analysed(b)
    progress.phase("compare", 0.5)
    result = compare(first.model, second.model, _weights(a), _weights(b))
    totals = {
        "macs": [first.macs, second.macs],
        "parameters": [first.parameters, second.parameters],
        "size_bytes": [first.model.size_bytes, second.model.size_bytes],
        "peak_activation_bytes": [first.peak_activation_bytes, second.peak_activation_bytes],
    }
    return {**result, "totals": totals}


def _weights(path: Path) -> Mapping[str, Any]:
    try:
        return weight_loaders(path)
    except ModelError:
        return {}


def compare(
    a: Model, b: Model, weights_a: Mapping[str, Any] | None = None, weights_b: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What changed from `a` to `b` in the main graph.

    `pairs` are the matched operators as indices; weights are loaders by name as `weight_loaders` returns them.
    """
    pairs = match(a.main, b.main)
    left, right = {i for i, _ in pairs}, {j for _, j in pairs}
    same_format = a.format == b.format
    changed = []
    for i, j in pairs:
        row = _changes(a.main, b.main, i, j, same_format=same_format)
        row.update(_weight_changes(a.main, b.main, i, j, weights_a or {}, weights_b or {}))
        if row:
            changed.append({"name": b.main.nodes[j].name, "op": b.main.nodes[j].op, "a": i, "b": j, **row})
    added = [_row(node, j) for j, node in enumerate(b.main.nodes) if j not in right]
    removed = [_row(node, i) for i, node in enumerate(a.main.nodes) if i not in left]
    partner, writer = dict(pairs), a.main.producers()
    for row in removed:
        into = _folded_into(a.main, b.main, row["index"], partner, writer)
        if into:
            row["into"] = into
    values = _value_changes(a, b)
    return {
        "added": added,
        "removed": removed,
        "changed": changed,
        "identical": not (added or removed or changed or values),
        "values": values,
        "pairs": [list(pair) for pair in pairs],
    }


def _row(node: Node, index: int) -> dict[str, Any]:
    return {"name": node.name, "op": node.op, "index": index}


def word(op: str) -> str:
    """The operator's name as all formats share it."""
    return _SAME.get(op, op.removeprefix("aten::").removeprefix("aten.").lower())


def match(a: Graph, b: Graph) -> list[tuple[int, int]]:
    """Pairs of operators that are the same: by name, by what they write, by their weights and results, by order."""
    found: dict[int, int] = {}
    for key in (_by_name, _by_output):
        left, right = _unique(a, key, set(found)), _unique(b, key, set(found.values()))
        found.update({left[name]: right[name] for name in left if name in right})
    for signature in (_with_weights, _by_weights, _by_result):
        _pair_by_rank(a, b, signature, found)
    rest_a = [i for i in range(len(a.nodes)) if i not in found]
    taken = set(found.values())
    rest_b = [j for j in range(len(b.nodes)) if j not in taken]
    words_a, words_b = [word(a.nodes[i].op) for i in rest_a], [word(b.nodes[j].op) for j in rest_b]
    for i, j in _aligned(words_a, words_b):
        found[rest_a[i]] = rest_b[j]
    return sorted(found.items())


Shape = tuple[Dimension, ...] | None
Signature = tuple[Any, ...] | None


def _pair_by_rank(
    a: Graph, b: Graph, signature: Callable[[Graph, Node], Signature], found: dict[int, int]
) -> None:
    """Pair the operators of a signature in their order, where both graphs have as many of it."""
    left, right = _by_signature(a, signature, set(found)), _by_signature(b, signature, set(found.values()))
    for key, places in left.items():
        others = right.get(key, [])
        if len(places) == len(others):
            found.update(zip(places, others, strict=True))


def _by_signature(
    graph: Graph, signature: Callable[[Graph, Node], Signature], taken: set[int]
) -> dict[Signature, list[int]]:
    places: dict[Signature, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        key = signature(graph, node) if index not in taken else None
        if key is not None:
            places.setdefault(key, []).append(index)
    return places


def _with_weights(graph: Graph, node: Node) -> Signature:
    """Operator, size of the weights and size of the result; formats order the dimensions differently."""
    weights, result = _by_weights(graph, node), _sizes(graph, node.outputs[:1])
    return None if weights is None or result is None else (*weights, result)


def _by_weights(graph: Graph, node: Node) -> Signature:
    weights = _sizes(graph, node.inputs[1:2]) if word(node.op) in _WEIGHTED else None
    return (word(node.op), weights) if weights else None


def _by_result(graph: Graph, node: Node) -> Signature:
    result = _sizes(graph, node.outputs[:1])
    return None if not result or word(node.op) in _WEIGHTED else (word(node.op), result)


def _sizes(graph: Graph, tensors: Sequence[int]) -> tuple[int, ...] | None:
    """The sizes of the first tensor in ascending order, those of 1 and the open ones left out."""
    shape = graph.tensors[tensors[0]].shape if tensors and tensors[0] >= 0 else None
    return None if shape is None else tuple(sorted(n for n in shape if isinstance(n, int) and n > 1))


def _folded_into(a: Graph, b: Graph, i: int, partner: Mapping[int, int], writer: Mapping[int, int]) -> str:
    """The operator of `b` that does the work of operator `i` of `a` along with its own, "" when it is not known."""
    node = a.nodes[i]
    if word(node.op) not in _FOLDED:
        return ""
    source = writer.get(node.inputs[0], -1) if node.inputs else -1
    while source >= 0 and source not in partner and word(a.nodes[source].op) in _FOLDED:
        inputs = a.nodes[source].inputs
        source = writer.get(inputs[0], -1) if inputs else -1
    if source not in partner:
        return ""
    other = b.nodes[partner[source]]
    fused = str(other.attributes.get("fused_activation_function", "NONE"))
    is_activation = word(node.op) == "relu"
    return other.name or other.op if not is_activation or fused not in ("NONE", "0") else ""


def _by_name(graph: Graph, node: Node) -> str:
    return f"{node.name}\0{word(node.op)}" if node.name else ""


def _by_output(graph: Graph, node: Node) -> str:
    output = next((tensor for tensor in node.outputs if tensor >= 0), -1)
    name = graph.tensors[output].name if output >= 0 else ""
    return f"{name}\0{word(node.op)}" if name else ""


def _unique(graph: Graph, key: Any, skipped: set[int]) -> dict[str, int]:
    names = [key(graph, node) if index not in skipped else "" for index, node in enumerate(graph.nodes)]
    counts = Counter(names)
    return {name: index for index, name in enumerate(names) if name and counts[name] == 1}


def _aligned(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    if len(a) > _ALIGN_LIMIT or len(b) > _ALIGN_LIMIT:
        places: dict[str, list[int]] = {}
        for j, name in enumerate(b):
            places.setdefault(name, []).append(j)
        taken: Counter[str] = Counter()
        pairs = []
        for i, name in enumerate(a):
            at = taken[name]
            if at < len(places.get(name, ())):
                pairs.append((i, places[name][at]))
                taken[name] += 1
        return pairs
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [(i + k, j + k) for i, j, size in matcher.get_matching_blocks() for k in range(size)]


def _changes(a: Graph, b: Graph, i: int, j: int, *, same_format: bool) -> dict[str, Any]:
    left, right = a.nodes[i], b.nodes[j]
    row: dict[str, Any] = {}
    if same_format:
        keys = sorted({*left.attributes, *right.attributes} - _NOISE)
        differing = {
            key: [left.attributes.get(key), right.attributes.get(key)]
            for key in keys
            if left.attributes.get(key) != right.attributes.get(key)
        }
        if differing:
            row["attributes"] = differing
        if left.op != right.op:
            row["operator"] = [left.op, right.op]
    old, new = _first_output(a, left), _first_output(b, right)
    if old is not None and new is not None:
        if old.dtype and new.dtype and old.dtype != new.dtype:
            row["dtype"] = [old.dtype, new.dtype]
        if not _same_shape(old, new, same_format=same_format):
            row["shape"] = [_listed(old), _listed(new)]
    return row


def _first_output(graph: Graph, node: Node) -> Tensor | None:
    index = next((tensor for tensor in node.outputs if tensor >= 0), -1)
    return graph.tensors[index] if index >= 0 else None


def _listed(tensor: Tensor) -> list[Any] | None:
    return None if tensor.shape is None else list(tensor.shape)


def _same_shape(old: Tensor, new: Tensor, *, same_format: bool) -> bool:
    """True when nothing is known to differ; across formats the order of dimensions does not count."""
    if old.shape is None or new.shape is None:
        return True
    if same_format:
        return old.shape == new.shape
    sizes = [
        sorted(size for size in shape if isinstance(size, int) and size > 1)
        for shape in (old.shape, new.shape)
    ]
    return sizes[0] == sizes[1]


def _weight_changes(
    a: Graph, b: Graph, i: int, j: int, weights_a: Mapping[str, Any], weights_b: Mapping[str, Any]
) -> dict[str, Any]:
    left = [a.tensors[t] for t in a.nodes[i].inputs if t >= 0 and a.tensors[t].kind == "constant"]
    right = [b.tensors[t] for t in b.nodes[j].inputs if t >= 0 and b.tensors[t].kind == "constant"]
    changed = []
    for old, new in zip(left, right, strict=False):
        found: dict[str, Any] = {}
        if old.dtype != new.dtype:
            found["dtype"] = [old.dtype, new.dtype]
        order = _order(old.shape, new.shape)
        if order is None:
            found["shape"] = [_listed(old), _listed(new)]
        elif old.name in weights_a and new.name in weights_b:
            distance = _distance(old, new, weights_a[old.name](), weights_b[new.name](), order)
            if distance is not None and distance["max_abs"] > 0:
                found.update(distance)
        if found:
            changed.append({"name": new.name or old.name, **found})
    return {"weights": changed} if changed else {}


def _order(old: Shape, new: Shape) -> tuple[int, ...] | None:
    """How the dimensions of one weight are put to get the other's, None when that is impossible."""
    if old is None or new is None or old == new:
        return tuple(range(len(old or ()))) if old == new else None
    orders = (order for order in _ORDERS if len(order) == len(old))
    return next((order for order in orders if tuple(old[at] for at in order) == new), None)


def _distance(
    old: Tensor, new: Tensor, first: Array | None, second: Array | None, order: tuple[int, ...]
) -> dict[str, float] | None:
    """Largest and relative difference and cosine of two weights, integers read as what they stand for."""
    if first is None or second is None or first.ndim != len(order) or first.dtype.kind not in "fiu":
        return None
    if first.transpose(order).shape != second.shape:
        return None
    x, y = _real(old, first), _real(new, second)
    if x is None or y is None:
        return None
    x = x.transpose(order)
    lengths = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    product = lengths[0] * lengths[1]
    return {
        "max_abs": float(np.max(np.abs(x - y), initial=0.0)),
        "relative": float(np.linalg.norm(x - y)) / lengths[0] if lengths[0] else 0.0,
        "cosine": float(np.dot(x.reshape(-1), y.reshape(-1))) / product if product else 1.0,
    }


def _real(tensor: Tensor, values: Array) -> Array | None:
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


def _value_changes(a: Model, b: Model) -> list[dict[str, Any]]:
    """Inputs and outputs that differ in name, type or shape."""
    found = []
    for side in ("inputs", "outputs"):
        old = [a.main.tensors[index] for index in getattr(a.main, side)]
        new = [b.main.tensors[index] for index in getattr(b.main, side)]
        for position in range(max(len(old), len(new))):
            one = old[position] if position < len(old) else None
            two = new[position] if position < len(new) else None
            described = [
                None if t is None else {"name": t.name, "dtype": t.dtype, "shape": _listed(t)}
                for t in (one, two)
            ]
            if described[0] != described[1]:
                found.append({"side": side[:-1], "position": position, "a": described[0], "b": described[1]})
    return found
