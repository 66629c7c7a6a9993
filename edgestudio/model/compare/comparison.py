"""Holds the operators of two models beside each other: which are the same, which are folded away, what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgestudio.model.compare.folded import Tail, tail
from edgestudio.model.compare.kernels import KINDS
from edgestudio.model.compare.matching import match
from edgestudio.model.compare.recurrent import GATES
from edgestudio.model.compare.weight_distance import (
    Found,
    kernel_changes,
    recurrent_changes,
    refined,
    weight_changes,
)
from edgestudio.model.dtypes import elements
from edgestudio.model.formats.onnx_defaults import Defaults, defaults_of
from edgestudio.model.graph import Dimension, Graph, Model, Node, Tensor
from edgestudio.model.operator_words import WEIGHTED, is_value, meaning, word
from edgestudio.model.totals.constants import Loaders, Weights

_FOLDED = {"batch norm", "relu", "identity"}
"""What converters fold into the operator before."""
_ACTIVATIONS = {"relu", "sigmoid", "tanh", "softmax", "elu", "gelu", "swish", "silu"}
"""What an operator of some formats ends in, and is an operator of its own in others."""
_QUANTISING = {"quantize", "dequantize"}
_NOISE = {"version"}
"""Attributes that change with the converter and not with the computation."""
_REARRANGED = {"batch to space", "squeeze"}
"""What may stand between an operator and the shape that it has in another format."""


class Comparison:
    """The main graphs of two models, matched operator by operator.

    Between formats, operators that only add and multiply constants behind a convolution or matrix product are held
    to be a part of it, and those that compute from weights alone to be a part of the weights.
    """

    def __init__(
        self,
        a: Model,
        b: Model,
        weights_a: Loaders,
        weights_b: Loaders,
        names: Mapping[str, str] | None,
    ) -> None:
        self.a, self.b = Weights(a.main, weights_a, a.format), Weights(b.main, weights_b, b.format)
        self.same_format = a.format == b.format
        self._defaults = defaults_of(a), defaults_of(b)
        self.unread: list[str] = []
        self._constant = (set[int](), set[int]())
        self._tails: tuple[dict[int, Tail], dict[int, Tail]] = ({}, {})
        if self.same_format:
            pairs = match(a.main, b.main, names)
        else:
            self._constant = _constant(self.a), _constant(self.b)
            self._tails = _tails(self.a), _tails(self.b)
            left_out = [
                constant | {at for each in tails.values() for at in each.nodes}
                for constant, tails in zip(self._constant, self._tails, strict=True)
            ]
            pairs = match(a.main, b.main, names, (left_out[0], left_out[1]))
            pairs = [(i, j) for i, j in pairs if self._may_be_one(i, j)]
            pairs = refined(pairs, self.a, self.b, self._tails)
            for i, j in list(pairs):
                tails = self._tails[0][i], self._tails[1][j]
                if tails[0].words == tails[1].words:
                    pairs += zip(tails[0].nodes, tails[1].nodes, strict=True)
        self.pairs = sorted(pairs)
        self.partner = dict(self.pairs)
        self._matched = set(self.partner.values())
        # Tail nodes to the operator that they were folded into, on each side.
        self._into: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def _may_be_one(self, i: int, j: int) -> bool:
        """False for two that are known to give different amounts of numbers, and are of no weight to tell by."""
        left, right = self.a.graph.nodes[i], self.b.graph.nodes[j]
        if meaning(left) in WEIGHTED or (left.name and left.name == right.name):
            return True
        results = (
            _first_output(self.a, left, same_format=False),
            _first_output(self.b, right, same_format=False),
        )
        counts = [None if each is None else elements(each.shape) for each in results]
        return None in counts or counts[0] == counts[1]

    def changed(self) -> list[dict[str, Any]]:
        """A row for each pair whose operators differ: in attributes, result or weights."""
        rows = []
        settled: set[int] = set()
        right = self.b.graph
        for i, j in self.pairs:
            row = _changes(self.a, self.b, i, j, self._defaults, same_format=self.same_format)
            if i not in settled:
                found = self._weights(i, j, settled)
                self.unread += found.unread
                if found.changed:
                    row["weights"] = found.changed
            if row:
                rows.append({"name": right.nodes[j].name, "op": right.nodes[j].op, "a": i, "b": j, **row})
        return rows

    def _weights(self, i: int, j: int, settled: set[int]) -> Found:
        """What differs in the weights of a pair; `settled` takes the operators that this has answered for too."""
        tails = self._tails_of(i, j)
        is_kernel = meaning(self.a.graph.nodes[i]) in KINDS and meaning(self.b.graph.nodes[j]) in KINDS
        if is_kernel and (not self.same_format or any(each.nodes for each in tails)):
            are_paired = tails[0].words == tails[1].words
            found = kernel_changes(self.a, self.b, i, j, tails)
            if found is not None and not (are_paired and found.changed):
                if are_paired:
                    settled.update(tails[0].nodes)
                else:
                    self._into[0].update(dict.fromkeys(tails[0].nodes, j))
                    self._into[1].update(dict.fromkeys(tails[1].nodes, i))
                return found
            alone = kernel_changes(self.a, self.b, i, j, (Tail(), Tail()))
            if found is not None and alone is not None and are_paired:
                return alone
        if not self.same_format and meaning(self.a.graph.nodes[i]) in GATES:
            return recurrent_changes(self.a, self.b, i, j)
        return weight_changes(self.a, self.b, i, j, same_format=self.same_format)

    def _tails_of(self, i: int, j: int) -> tuple[Tail, Tail]:
        if not self.same_format:
            return self._tails[0][i], self._tails[1][j]
        return tail(self.a, i, self.partner), tail(self.b, j, self._matched)

    def removed(self) -> list[dict[str, Any]]:
        """A row for each operator of the first model that has no partner; `into` does its work now."""
        rows = _alone(self.a.graph, set(self.partner) | self._constant[0])
        for row in rows:
            name = self._done_by(row["index"], self.a, self.b, self.partner, self._into[0])
            if name:
                row["into"] = name
        return rows

    def added(self) -> list[dict[str, Any]]:
        """A row for each operator of the second model that has no partner; `from` did its work before."""
        rows = _alone(self.b.graph, self._matched | self._constant[1])
        back = {j: i for i, j in self.pairs}
        for row in rows:
            name = self._done_by(row["index"], self.b, self.a, back, self._into[1])
            if name:
                row["from"] = name
        return rows

    def _done_by(
        self, i: int, weights: Weights, others: Weights, partner: Mapping[int, int], into: Mapping[int, int]
    ) -> str:
        """The operator of `others` that does the work of operator `i` along with its own, "" when it is not known."""
        graph, other_graph = weights.graph, others.graph
        if i in into:
            return _label(other_graph, into[i])
        said = meaning(graph.nodes[i])
        if said not in _FOLDED | _ACTIVATIONS:
            return ""
        source = _before(weights, i)
        while source >= 0 and source not in partner:
            if source not in into and meaning(graph.nodes[source]) not in _FOLDED:
                return ""
            source = _before(weights, source)
        if source < 0:
            return ""
        other = other_graph.nodes[partner[source]]
        if said not in _ACTIVATIONS:
            return _label(other_graph, partner[source])
        readers = [at for tensor in other.outputs for at in others.readers.get(tensor, ())]
        clipping = [at for at in readers if said == "relu" and word(other_graph.nodes[at].op) == "quantize"]
        if clipping:  # the range that it quantises to begins where the activation does
            return _label(other_graph, clipping[0])
        return _label(other_graph, partner[source]) if _activation(other) == said else ""


def _before(weights: Weights, i: int) -> int:
    inputs = weights.graph.nodes[i].inputs
    return weights.writers.get(inputs[0], -1) if inputs else -1


def _activation(node: Node) -> str:
    """The activation that an operator ends in, "" for none."""
    fused = node.attributes.get("fused_activation_function", node.attributes.get("activation"))
    said = word(fused) if isinstance(fused, str) else ""
    return "" if said in ("none", "linear") else said


def _constant(weights: Weights) -> set[int]:
    """The operators that compute from weights alone, but for those that quantise them."""
    return {
        index
        for index, node in enumerate(weights.graph.nodes)
        if node.outputs
        and word(node.op) not in _QUANTISING
        and all(weights.source(tensor) >= 0 for tensor in node.outputs)
    }


def _tails(weights: Weights) -> dict[int, Tail]:
    return {index: tail(weights, index) for index in range(len(weights.graph.nodes))}


def _label(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    return node.name or node.op


def _alone(graph: Graph, matched: set[int]) -> list[dict[str, Any]]:
    """A row for each operator that has no partner."""
    rows: list[dict[str, Any]] = []
    for index, node in enumerate(graph.nodes):
        if index not in matched and not is_value(node):
            is_packing = word(node.op) in _QUANTISING or node.op.startswith("constexpr_")
            role = {"role": "quantisation"} if is_packing else {}
            rows.append({"name": node.name, "op": node.op, "index": index, **role})
    return rows


def _differing(left: Node, right: Node, defaults: tuple[Defaults, Defaults]) -> dict[str, list[Any]]:
    """Attributes that mean something else, as written; one that is left out means what it does by default."""
    found = {}
    for key in sorted({*left.attributes, *right.attributes} - _NOISE):
        old, new = left.attributes.get(key), right.attributes.get(key)
        meant = old, new
        if left.op == right.op and old is None:
            meant = defaults[0](left, key, new), new
        elif left.op == right.op and new is None:
            meant = old, defaults[1](right, key, old)
        if meant[0] != meant[1]:
            found[key] = [old, new]
    return found


def _changes(
    a: Weights, b: Weights, i: int, j: int, defaults: tuple[Defaults, Defaults], *, same_format: bool
) -> dict[str, Any]:
    left, right = a.graph.nodes[i], b.graph.nodes[j]
    row: dict[str, Any] = {}
    if same_format:
        differing = _differing(left, right, defaults)
        if differing:
            row["attributes"] = differing
        if left.op != right.op:
            row["operator"] = [left.op, right.op]
    old, new = (
        _first_output(a, left, same_format=same_format),
        _first_output(b, right, same_format=same_format),
    )
    if old is not None and new is not None:
        if old.dtype and new.dtype and old.dtype != new.dtype and not (not same_format and _count(old, new)):
            row["dtype"] = [old.dtype, new.dtype]
        is_free = (
            not same_format and word(right.op) == "reshape" and elements(old.shape) == elements(new.shape)
        )
        if not is_free and not same_shape(old, new, same_format=same_format):
            row["shape"] = [listed(old), listed(new)]
    return row


def _count(old: Tensor, new: Tensor) -> bool:
    """True for two whole numbers that count: sizes and indices are as wide as each format has them."""
    return all(each.dtype.startswith(("int", "uint")) and each.quantization is None for each in (old, new))


def _first_output(weights: Weights, node: Node, *, same_format: bool) -> Tensor | None:
    index = next((tensor for tensor in node.outputs if tensor >= 0), -1)
    readers = weights.readers.get(index, [])
    while not same_format and len(readers) == 1:
        reader = weights.graph.nodes[readers[0]]
        if word(reader.op) not in _REARRANGED or not reader.outputs:
            break
        index = reader.outputs[0]
        readers = weights.readers.get(index, [])
    return weights.graph.tensors[index] if index >= 0 else None


def listed(tensor: Tensor) -> list[Any] | None:
    """The shape of a tensor as a list, None where it is not known."""
    return None if tensor.shape is None else list(tensor.shape)


def _is_unknown(size: Dimension) -> bool:
    """True for a size that nothing is known of: no number, and no name but one that inference made up."""
    return size is None or (isinstance(size, str) and size.startswith("unk__"))


def same_shape(old: Tensor, new: Tensor, *, same_format: bool) -> bool:
    """True when nothing is known to differ; across formats the order of dimensions does not count."""
    if old.shape is None or new.shape is None:
        return True
    if same_format:
        return len(old.shape) == len(new.shape) and all(
            one == two or _is_unknown(one) or _is_unknown(two)
            for one, two in zip(old.shape, new.shape, strict=True)
        )
    known = [
        [size for size in shape if isinstance(size, int) and size > 1] for shape in (old.shape, new.shape)
    ]
    are_open = [any(not isinstance(size, int) for size in shape) for shape in (old.shape, new.shape)]
    rest = [list(each) for each in known]
    for size in known[0]:
        if size in rest[1]:
            rest[0].remove(size)
            rest[1].remove(size)
    # What is left over on one side may be what is open on the other.
    return (not rest[0] or are_open[1]) and (not rest[1] or are_open[0])
