"""Says how many bytes every activation of a graph takes; weights and what only names other tensors take none."""

from __future__ import annotations

from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.totals.macs import Shape

# Where shape inference gives up, these still write as many bytes as they read.
_KEEP_SIZE = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Relu", "Sigmoid", "Softmax", "Clip", "Tanh",
    "LeakyRelu", "Exp", "Sqrt", "Neg", "Dropout", "BatchNormalization",
}  # fmt: skip
# What PyTorch's code computes sizes and lists with; a list only names tensors that are counted already.
_NO_TENSORS = {
    "size", "dim", "len", "__getitem__", "chunk", "split", "unbind", "append", "device", "numel", "Int", "floordiv",
    "ScalarImplicit", "__is__", "__isnot__", "__not__", "__contains__", "gt", "lt", "ge", "le", "eq", "ne", "list",
    "is_floating_point", "format",
}  # fmt: skip
_READS_WEIGHTS = {"Constant", "ReadVariableOp", "VarHandleOp", "VariableV2"}
_ADD_SIZES = {"Concat", "CONCATENATION", "concat"}


def activation_bytes(graph: Graph, shapes: list[Shape]) -> list[int | None]:
    """Bytes of every activation; weights count nothing, those that operators without inputs make included."""
    sizes = [_size(tensor, shape) for tensor, shape in zip(graph.tensors, shapes, strict=True)]
    for node in graph.nodes:
        for tensor in node.outputs:
            if tensor < 0:
                continue
            if _is_free(graph, node) or (sizes[tensor] is None and _names_only(node.op)):
                sizes[tensor] = 0
            elif sizes[tensor] is None and node.op in _KEEP_SIZE and node.inputs and node.inputs[0] >= 0:
                sizes[tensor] = sizes[node.inputs[0]]
            elif sizes[tensor] is None and node.op in _ADD_SIZES:
                parts = [sizes[source] for source in node.inputs if source >= 0]
                sizes[tensor] = None if None in parts else sum(part or 0 for part in parts)
    return sizes


def _is_free(graph: Graph, node: Node) -> bool:
    """True for an operator that hands out weights, which are no activations."""
    return node.op in _READS_WEIGHTS or node.op.startswith("constexpr_") or makes_weights(graph, node)


def _names_only(op: str) -> bool:
    return op.startswith("prim::") or (op.startswith("aten::") and op.removeprefix("aten::") in _NO_TENSORS)


def makes_weights(graph: Graph, node: Node) -> bool:
    """True for ConstantOfShape of a constant shape: how models with made-up weights are kept small."""
    source = node.inputs[0] if node.op == "ConstantOfShape" and node.inputs else -1
    return source >= 0 and graph.tensors[source].kind == "constant"


def _size(tensor: Tensor, shape: Shape) -> int | None:
    """Bytes of an activation; texts, sequences and the small integers that compute shapes count nothing."""
    if tensor.kind == "constant" or tensor.dtype in ("string", "resource", "variant") or "(" in tensor.dtype:
        return 0
    if shape is None:
        return 0 if tensor.dtype in ("int64", "int32", "bool") else None
    return size_bytes(tensor.dtype or "float32", shape)
