"""Adds up a model: multiply-accumulates, parameters, weight bytes by type, activation memory, quantisation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgestudio.model.dtypes import BITS, MOST, elements, is_float
from edgestudio.model.graph import Dimension, Graph, Model, Node, Tensor
from edgestudio.model.sizes import names_in, size_of
from edgestudio.model.totals.activations import activation_bytes, makes_weights
from edgestudio.model.totals.frames import frame_trips
from edgestudio.model.totals.loops import trips_of
from edgestudio.model.totals.mac_table import HIDING, OPAQUE, count
from edgestudio.model.totals.macs import Call, Shape
from edgestudio.model.totals.memory import peak
from edgestudio.model.totals.pruning import never_run

_CONTROL_ONE_OF = {
    "If",
    "IF",
    "cond",
    "StatelessIf",
    "Case",
    "StatelessCase",
    "prim::If",
    "higher_order.cond",
    "branch",
}
_BIAS_OPS = {"QLinearConv", "QGemm", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
_PACKED_WEIGHTS = {"MatMulNBits", "MatMulBnb4"}
_SMALL_TYPES = {name for name, bits in BITS.items() if bits <= 8 and name != "bool"}


@dataclass(frozen=True, slots=True)
class Analysis:
    """The totals of a model; None where the file does not tell enough. `model` has its `macs` filled in."""

    model: Model
    macs: int | None
    macs_unknown: Mapping[str, int]
    parameters: int | None
    weight_bytes: Mapping[str, int]
    peak_activation_bytes: int | None
    peak_node: str | None
    alive_bytes: Sequence[int]
    quantization: Mapping[str, Any] | None
    dimensions: Mapping[str, int] = field(default_factory=dict)


def batch_symbols(model: Model) -> dict[str, int]:
    """Symbolic first dimensions of the inputs, set to one sample: what figures are given for by default."""
    main = model.main
    firsts = [shape[0] for index in main.inputs if (shape := main.tensors[index].shape)]
    return {name: 1 for first in firsts if isinstance(first, str) for name in names_in(first)}


def analyse(
    model: Model, bound: Model | None = None, dimensions: Mapping[str, int] | None = None
) -> Analysis:
    """Totals of `model`. `bound` is the same model with shapes inferred for the given dimensions.

    `dimensions` sets symbolic ones by name; unset, a symbolic or unnamed first dimension counts as 1.
    """
    chosen = {**batch_symbols(model), **(dimensions or {})}
    source = bound or model
    batch = _batch(model.main, chosen)
    shapes = [[_numbers(tensor.shape, chosen, batch) for tensor in graph.tensors] for graph in source.graphs]
    walker = _Walker(model, source, shapes)
    macs = walker.graph_macs(0) if model.main.nodes else None
    graphs = tuple(
        replace(
            graph,
            nodes=tuple(_with_macs(node, macs) for node, macs in zip(graph.nodes, per_node, strict=True)),
        )
        for graph, per_node in zip(model.graphs, walker.node_macs, strict=True)
    )
    memory, where, alive = walker.peak(0) if model.graphs else (None, None, [])
    weights = list(_parameters(model))
    by_type: Counter[str] = Counter()
    for dtype, _, size in weights:
        by_type[dtype] += size
    return Analysis(
        model=replace(model, graphs=graphs),
        macs=None if macs is not None and macs > MOST else macs,
        macs_unknown=dict(walker.unknown),
        parameters=None if _hides_weights(model) else sum(number for _, number, _ in weights),
        weight_bytes=dict(by_type.most_common()),
        peak_activation_bytes=memory,
        peak_node=where,
        alive_bytes=alive,
        quantization=quantization_summary(model, by_type),
        dimensions=chosen,
    )


def _with_macs(node: Node, macs: int | None) -> Node:
    return node if node.macs == macs else replace(node, macs=macs)


def _numbers(shape: tuple[Dimension, ...] | None, chosen: Mapping[str, int], batch: int) -> Shape:
    """The shape in numbers, None when a dimension but the first stays unknown; an open first one is the batch."""
    if shape is None:
        return None
    sizes: list[int] = []
    for position, size in enumerate(shape):
        number = size_of(size, chosen) if isinstance(size, str) else size
        is_open = size is None or (isinstance(size, str) and size.isidentifier())
        if number is None and position == 0 and len(shape) > 1 and is_open:
            number = batch
        if number is None or number < 0:
            return None
        sizes.append(number)
    return None if elements(sizes) is None else tuple(sizes)


def _batch(main: Graph, chosen: Mapping[str, int]) -> int:
    """How many samples are counted where a first size has no name: as many as the first input has, else one."""
    for index in main.inputs:
        tensor = main.tensors[index]
        first = chosen.get(f"{tensor.name}:0")
        if first is not None and tensor.shape and tensor.shape[0] is None:
            return first
    return 1


class _Walker:
    """Counts graph by graph, through bodies of control flow and functions; `source` knows the most shapes."""

    def __init__(self, model: Model, source: Model, shapes: list[list[Shape]]) -> None:
        self.model = model
        self.source = source
        self.shapes = shapes
        self.node_macs: list[list[int | None]] = [[None] * len(graph.nodes) for graph in model.graphs]
        self.unknown: Counter[str] = Counter()
        self._totals: dict[int, int | None] = {}
        self._peaks: dict[int, int] = {}

    def graph_macs(self, index: int) -> int | None:
        """The sum over one graph; None when an operator that multiplies has unknown shapes."""
        if index in self._totals or index >= len(self.model.graphs):
            return self._totals.get(index)
        self._totals[index] = 0  # a function that calls itself ends here
        total: int | None = 0
        graph, shapes = self.model.graphs[index], self.shapes[index]
        unused = never_run(graph) if self.model.format == "savedmodel" and graph.outputs else set()
        rounds = frame_trips(self.source.graphs[index])
        for position, node in enumerate(graph.nodes):
            if position in unused:
                self.node_macs[index][position] = 0
                continue
            ins = [shapes[tensor] if tensor >= 0 else None for tensor in _read(graph, node)]
            outs = [shapes[tensor] if tensor >= 0 else None for tensor in node.outputs]
            macs = count(self.model.format, Call(node, ins, outs))
            if macs is None:
                self.unknown[node.op] += 1
            inner = [self.graph_macs(body) for body in node.subgraphs]
            if len(inner) == 2 and node.op == "prim::If":
                inner = self._taken(index, node, inner)
            if inner and macs is not None:
                macs = self._with_bodies(index, node, macs, inner)
            if macs and position in rounds:
                macs = self._gone_round(node, macs, rounds[position])
            self.node_macs[index][position] = macs
            total = None if macs is None or total is None else total + macs
        self._totals[index] = total
        return total

    def _taken(self, index: int, node: Node, inner: list[int | None]) -> list[int | None]:
        """Of the two sides of a branch the one that is taken, both where that is not known."""
        values = self.source.graphs[index].tensors[node.inputs[0]].values if node.inputs else None
        return inner if values is None or len(values) != 1 else [inner[0 if values[0] else 1]]

    def _gone_round(self, node: Node, macs: int, trips: int | None) -> int | None:
        """The operations of a node that lies in a lowered loop."""
        if trips is None:
            self.unknown[node.op] += 1
            return None
        return macs * trips

    def _with_bodies(self, index: int, node: Node, macs: int, inner: Sequence[int | None]) -> int | None:
        """The node with its bodies, as often as they run; None where that or one of them is not known."""
        known = [value for value in inner if value is not None]
        if len(known) < len(inner):
            return None
        once = max(known) if node.op in _CONTROL_ONE_OF else sum(known)
        trips = trips_of(self.source, self.source.graphs[index], node, self.shapes[index]) if once else 0
        if trips is None:
            self.unknown[node.op] += 1
            return None
        return macs + once * trips

    def peak(self, index: int) -> tuple[int | None, str | None, list[int]]:
        """Peak bytes, the name of the node where it is, and bytes alive at each node of one graph."""
        graph = self.model.graphs[index]
        sizes = activation_bytes(graph, self.shapes[index])
        inner = [max((self._inner(body) for body in node.subgraphs), default=0) for node in graph.nodes]
        found = peak(graph, sizes, inner)
        if found.unknown or found.node is None or any(node.op in OPAQUE for node in graph.nodes):
            return None, None, []
        node = graph.nodes[found.node]
        return found.size_bytes, node.name or node.op, found.alive_bytes

    def _inner(self, index: int) -> int:
        if index not in self._peaks and index < len(self.model.graphs):
            self._peaks[index] = 0
            graph = self.model.graphs[index]
            sizes = activation_bytes(graph, self.shapes[index])
            nested = [max((self._inner(body) for body in node.subgraphs), default=0) for node in graph.nodes]
            self._peaks[index] = peak(graph, sizes, nested).size_bytes or 0
        return self._peaks.get(index, 0)


def _read(graph: Graph, node: Node) -> Sequence[int]:
    """The tensors that a node reads, those of a list one by one where the operator multiplies them."""
    if node.op != "aten::einsum":
        return node.inputs
    writers = {t: each for each in graph.nodes if each.op == "prim::ListConstruct" for t in each.outputs}
    return [t for tensor in node.inputs for t in (writers[tensor].inputs if tensor in writers else (tensor,))]


def _hides_weights(model: Model) -> bool:
    """True where an operator keeps what it learned to itself, so that nobody can say how much it is."""
    hiding = {*OPAQUE, *HIDING, "LinearClassifier", "LinearRegressor"}
    stored = [
        *model.weights,
        *(each for graph in model.graphs for each in graph.tensors if each.kind == "constant"),
    ]
    if any(each.shape and elements(each.shape) is None and None not in each.shape for each in stored):
        return True  # sizes that no weight can have
    return any(node.op in hiding for graph in model.graphs for node in graph.nodes)


def _parameters(model: Model) -> list[tuple[str, int, int]]:
    """`(type, number, bytes)` of every learned tensor.

    Constants of whole numbers count only as quantised weights or biases: others are shapes, axes and indices.
    A constant of rank 0 is a literal of the computation. Weights made by ConstantOfShape count as weights.
    """
    found: list[tuple[str, int, int]] = []
    for tensor in model.weights:
        number = elements(tensor.shape)
        if number is not None and (
            model.format == "keras" or is_float(tensor.dtype) or tensor.dtype in _SMALL_TYPES
        ):
            found.append((tensor.dtype, number, tensor.size_bytes or 0))
    for graph in model.graphs:
        found += _variables(graph) if model.format == "keras" else _graph_parameters(graph)
    return found


def _variables(graph: Graph) -> list[tuple[str, int, int]]:
    """A Keras file stores the variables of its layers and nothing else, counters among them: all count, as there."""
    constants = [tensor for tensor in graph.tensors if tensor.kind == "constant"]
    return [(each.dtype, elements(each.shape) or 0, each.size_bytes or 0) for each in constants]


def _graph_parameters(graph: Graph) -> list[tuple[str, int, int]]:
    biases: set[int] = set()
    skipped: set[int] = set()
    packed: dict[int, int] = {}
    made: list[int] = []
    for node in graph.nodes:
        if node.op in _BIAS_OPS:
            biases.update(node.inputs)
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            skipped.update(node.inputs[1:])
        elif node.op in ("QLinearConv", "QLinearMatMul"):
            skipped.update(node.inputs[slot] for slot in (1, 2, 4, 5, 6, 7) if slot < len(node.inputs))
        elif node.op == "Constant" or makes_weights(graph, node):
            made += node.outputs[:1]
        elif node.op in _PACKED_WEIGHTS and len(node.inputs) > 1:
            rows, columns = node.attributes.get("N"), node.attributes.get("K")
            if isinstance(rows, int) and isinstance(columns, int):
                packed[node.inputs[1]] = rows * columns
                skipped.update(node.inputs[2:4])
    constants = {index for index, tensor in enumerate(graph.tensors) if tensor.kind == "constant"}
    _compressed(graph, constants, packed, skipped)
    found = []
    for index in sorted((constants | set(made)) - skipped - {-1}):
        tensor = graph.tensors[index]
        number = packed.get(index, elements(tensor.shape))
        if number and tensor.shape and _is_learned(tensor, is_bias=index in biases):
            found.append((tensor.dtype, number, tensor.size_bytes or 0))
    return found


def _compressed(graph: Graph, constants: set[int], packed: dict[int, int], skipped: set[int]) -> None:
    """Core ML's compressed weights: count as many as they unpack to, and their scales and tables not at all."""
    stages = [node for node in graph.nodes if node.op.startswith("constexpr_")]
    inner = {tensor for node in stages for tensor in node.inputs}
    for node in stages:
        parts = [tensor for tensor in node.inputs if tensor in constants]
        largest = max(parts, key=lambda tensor: elements(graph.tensors[tensor].shape) or 0, default=-1)
        number = elements(graph.tensors[node.outputs[0]].shape) if node.outputs else None
        is_last = number is not None and node.outputs[0] not in inner
        skipped.update(part for part in parts if part != largest or not is_last)
        if is_last and largest >= 0:
            packed[largest] = number or 0


def _is_learned(tensor: Tensor, *, is_bias: bool) -> bool:
    if is_float(tensor.dtype) or tensor.dtype in _SMALL_TYPES:
        return True
    return tensor.quantization is not None or (is_bias and tensor.dtype in ("int32", "int64"))


def quantization_summary(model: Model, weight_bytes: Mapping[str, int]) -> dict[str, Any] | None:
    """What is quantised and how, None for a model in floating point."""
    weights: Counter[str] = Counter()
    activations: Counter[str] = Counter()
    channels = tensors = 0
    dynamic = packed = False
    for graph in model.graphs:
        for tensor in graph.tensors:
            if tensor.quantization is None:
                continue
            tensors += 1
            dtype = tensor.quantization.dtype or tensor.dtype
            (weights if tensor.kind == "constant" else activations)[dtype] += 1
            channels += len(tensor.quantization.scale) > 1
        for node in graph.nodes:
            dynamic = (
                dynamic
                or node.op.startswith("DynamicQuantize")
                or node.op in ("MatMulInteger", "ConvInteger")
            )
            packed = packed or node.op in _PACKED_WEIGHTS
    small = {dtype: size for dtype, size in weight_bytes.items() if dtype in _SMALL_TYPES}
    if not tensors and not dynamic and not packed and not small:
        return None
    weights.pop("int32", None)
    kind = "dynamic" if dynamic else "static" if activations else "weights only"
    if packed:
        kind = "weights only"
    return {
        "kind": kind,
        "weights": weights.most_common(1)[0][0] if weights else next(iter(small), None),
        "activations": activations.most_common(1)[0][0] if activations else ("uint8" if dynamic else None),
        "per_channel": channels > 0,
        "tensors": tensors,
    }
