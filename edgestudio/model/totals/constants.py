"""What a graph computes from its weights alone: which tensors those are, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from edgestudio.model.arrays import MAX_UNPACKED, Array
from edgestudio.model.formats.onnx_quantization import quantization_slots
from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.operator_words import is_value, word

Loaders = Mapping[str, Callable[[], Array | None]]
_PASSED = {
    "quantize",
    "dequantize",
    "identity",
    "cast",
    "densify",
    "readvariableop",
    "convert",
    "copy",
    "contiguous",
}
"""What may stand between a weight and the operator that uses it, and leaves its numbers as they are."""
_TWO = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
_ONE: Mapping[str, Callable[[Array], Array]] = {
    "rsqrt": lambda values: np.asarray(1.0 / np.sqrt(values)), "sqrt": np.sqrt, "neg": np.negative, "exp": np.exp,
}  # fmt: skip
_RESHAPED = {"reshape", "squeeze", "unsqueeze"}
_DEEPEST = 40
_DECOMPRESSED = "constexpr_"


class Weights:
    """The weights of one graph: which an operator uses, and their values by name from `weight_loaders`."""

    def __init__(self, graph: Graph, loaders: Loaders, of: str = "") -> None:
        self.graph, self.format, self._loaders = graph, of, loaders
        self.writers, self.readers = graph.producers(), graph.consumers()
        self._sources: dict[int, int] = {}

    def writer(self, tensor: int) -> Node | None:
        """The operator that writes a tensor."""
        at = self.writers.get(tensor, -1)
        return self.graph.nodes[at] if at >= 0 else None

    def source(self, tensor: int, depth: int = 0) -> int:
        """The weight that a tensor is computed from and nothing else, -1 where other things are needed too."""
        if tensor < 0 or depth > _DEEPEST:
            return -1
        if tensor not in self._sources:
            self._sources[tensor] = self._source(tensor, depth)
        return self._sources[tensor]

    def _source(self, tensor: int, depth: int) -> int:
        if self.graph.tensors[tensor].kind == "constant":
            return tensor
        node = self.writer(tensor)
        if node is None:
            return -1
        if is_value(node) or node.op.startswith(_DECOMPRESSED) or node.op == "ReadVariableOp":
            return tensor
        said = word(node.op)
        if said not in _PASSED | _RESHAPED | _TWO.keys() | _ONE.keys() | {"transpose", "transposed"}:
            return -1
        sources = [self.source(each, depth + 1) for each in node.inputs if each >= 0]
        if not sources or min(sources) < 0:
            return -1
        return max(sources, key=lambda each: self._size(each)) if said in _TWO else sources[0]

    def _size(self, tensor: int) -> int:
        shape = self.graph.tensors[tensor].shape or ()
        return int(np.prod([size for size in shape if isinstance(size, int)], dtype=np.int64))

    def places(self, node: Node) -> list[int]:
        """The inputs of an operator that are its weights."""
        parameters = quantization_slots(node.op)  # a scale or a zero point is told with its tensor
        return [
            tensor
            for at, tensor in enumerate(node.inputs)
            if at not in parameters and self.source(tensor) >= 0
        ]

    def of(self, node: Node) -> list[Tensor]:
        """The weights of an operator as they are stored, also those that are computed with on their way to it."""
        return [self.stored(tensor) for tensor in self.places(node)]

    def stored(self, tensor: int) -> Tensor:
        """What a weight is in the file: the tensor that it is computed from, by the name that it is read by."""
        source = self.source(tensor)
        found = self.graph.tensors[source]
        writer = self.writer(source)
        if writer is not None and writer.op == "ReadVariableOp" and writer.inputs:
            return replace(found, name=self.graph.tensors[writer.inputs[0]].name)
        return found

    def value(self, tensor: int, depth: int = 0) -> Array | None:
        """The numbers of a weight as the operator reads it, integers as what they stand for; None where unknown."""
        if self.source(tensor) == tensor:
            return self.real(self.stored(tensor))
        node = self.writer(tensor)
        if node is None or depth > _DEEPEST or self.source(tensor) < 0:
            return None
        first = self.value(node.inputs[0], depth + 1)
        if first is None or first.size > MAX_UNPACKED:
            return None
        said = word(node.op)
        if said in _PASSED:
            return first
        with np.errstate(all="ignore"):
            if said in _ONE:
                return np.asarray(_ONE[said](first))
            if said in _TWO:
                second = self.value(node.inputs[1], depth + 1) if len(node.inputs) > 1 else None
                return None if second is None else _combined(said, first, second)
        if said in ("transpose", "transposed"):
            return self._transposed(node, first, depth)
        shape = self.graph.tensors[tensor].shape
        known = [size for size in shape or () if isinstance(size, int)]
        is_known = shape is not None and len(known) == len(shape) and np.prod(known) == first.size
        return first.reshape(known) if is_known else None

    def _transposed(self, node: Node, values: Array, depth: int) -> Array | None:
        order = node.attributes.get("perm", node.attributes.get("argument 1"))
        if len(node.inputs) > 1:
            given = self.graph.tensors[node.inputs[1]].values
            held = self.value(node.inputs[1], depth + 1) if given is None else np.asarray(given)
            order = None if held is None else held.astype(int).tolist()
        if order is None and (values.ndim <= 2 or word(node.op) == "transpose"):
            order = list(range(values.ndim))[::-1]
        return values.transpose(order) if sorted(order or ()) == list(range(values.ndim)) else None

    def real(self, tensor: Tensor) -> Array | None:
        """The numbers of a stored weight, integers as what they stand for; None where they cannot be read."""
        loader = self._loaders.get(tensor.name)
        if loader is None:
            held = tensor.values
            shape = [size for size in tensor.shape or () if isinstance(size, int)]
            if held is None or len(held) != np.prod(shape):
                return None
            return _real(tensor, np.asarray(held).reshape(shape))
        return _real(tensor, loader())


def _combined(said: str, first: Array, second: Array) -> Array | None:
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        return None
    return np.asarray(_TWO[said](first, second)) if np.prod(shape, dtype=float) <= MAX_UNPACKED else None


def _real(tensor: Tensor, values: Array | None) -> Array | None:
    if values is None or values.dtype.kind not in "fiubc":
        return None
    with np.errstate(all="ignore"):  # signalling NaNs are no news here
        reals = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
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
