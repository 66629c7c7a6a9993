"""Corrects first sizes that TensorFlow Lite writes as 1 where they are open: a flattened batch has more rows."""

from __future__ import annotations

import math
from dataclasses import replace

from edgestudio.model.dtypes import elements, size_bytes
from edgestudio.model.graph import Dimension, Graph, Model, Node

_SAME_ROWS = {
    "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "RELU", "RELU6", "LEAKY_RELU", "ELU",
    "GELU", "LOGISTIC", "TANH", "HARD_SWISH", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "ABS", "NEG", "SOFTMAX", "CAST",
    "QUANTIZE", "DEQUANTIZE", "L2_NORMALIZATION", "PRELU",
}  # fmt: skip
_Shape = tuple[Dimension, ...] | None


def with_rows(bound: Model, read: Model) -> Model:
    """`bound`, whose open sizes are those of the conversion, with first sizes that follow from the operators.

    `read` is the same model with its open sizes left open.
    """
    graphs = tuple(_graph(one, two) for one, two in zip(bound.graphs, read.graphs, strict=True))
    return replace(bound, graphs=graphs)


def _graph(bound: Graph, read: Graph) -> Graph:
    shapes: list[_Shape] = [tensor.shape for tensor in bound.tensors]
    # A shape with several open sizes says nothing, but the number of elements goes through it.
    counts = [elements(shape) for shape in shapes]
    changed = False
    for node in bound.nodes:
        out = node.outputs[0] if node.outputs else -1
        shape = read.tensors[out].shape if out >= 0 else None
        if node.op == "RESHAPE" and node.inputs[0] >= 0 and shape and None in shape:
            counts[out] = counts[node.inputs[0]]
        if not shape or shape[0] is not None or None in shape[1:]:
            continue
        first = node.inputs[0] if node.inputs else -1
        count = counts[first] if first >= 0 else None
        rows = _rows(node, shapes, count, math.prod(size for size in shape[1:] if isinstance(size, int)))
        if rows is not None and shapes[out] != (rows, *shape[1:]):
            shapes[out], changed = (rows, *shape[1:]), True
            counts[out] = elements(shapes[out])
    if not changed:
        return bound
    tensors = tuple(
        replace(tensor, shape=shape, size_bytes=size_bytes(tensor.dtype, shape))
        if shape != tensor.shape
        else tensor
        for tensor, shape in zip(bound.tensors, shapes, strict=True)
    )
    return replace(bound, tensors=tensors)


def _rows(node: Node, shapes: list[_Shape], count: int | None, width: int) -> int | None:
    """The first size of the output, whose other sizes multiply to `width`; `count` are the elements of the input."""
    ins = [shapes[tensor] if tensor >= 0 else None for tensor in node.inputs]
    if not count or width < 1:
        return None
    if node.op == "RESHAPE":
        return count // width if count % width == 0 else None
    if node.op == "FULLY_CONNECTED" and len(ins) > 1 and ins[1] and len(ins[1]) == 2:
        units, length = ins[1]
        if isinstance(units, int) and isinstance(length, int) and length and count % length == 0:
            return count // length * units // width
    if node.op in _SAME_ROWS:
        rank = max(len(shape or ()) for shape in ins)
        firsts = [shape[0] for shape in ins if shape and len(shape) == rank]
        return max((size for size in firsts if isinstance(size, int)), default=None)
    return None
