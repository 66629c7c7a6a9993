"""Turns a graph into the boxes and edges that are placed and drawn: operators, terminals, collapsed groups."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.model.graph import Dimension, Graph, Node
from edgestudio.model.picture.lanes import Floats, Ints

Bytes = NDArray[np.uint8]

_OPERATOR_HEIGHT_PX = 42.0
_TERMINAL_HEIGHT_PX = 28.0
_GROUP_HEIGHT_PX = 46.0
_LABEL_CHARACTER_PX = 7.9
_DETAIL_CHARACTER_PX = 6.3
_PADDING_PX = 30.0
_NARROWEST_PX, _WIDEST_PX = 72.0, 240.0
_NARROWEST_OPERATOR_PX = 124.0
"""Room for a shape, which may become known only after the first picture."""
_LONGEST_DETAIL = 34
_KEEP_IF_LESS_IS_LIVE = 0.05


class BoxKind(IntEnum):
    """What a box stands for; `Boxes.ref` then counts nodes, tensors, tensors or groups."""

    OPERATOR = 0
    INPUT = 1
    OUTPUT = 2
    GROUP = 3


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the operators that have boxes, in the order of these: UTF-8 end to end, and where each ends."""

    text: bytes
    stop: Ints

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Names:
        """Put names end to end."""
        text, stop = bytearray(), array("i")
        for name in names:
            text += name
            stop.append(len(text))
        return cls(bytes(text), np.array(stop, np.int32))

    def texts(self) -> list[str]:
        """The names one by one; bytes that are no UTF-8 show as replacement characters."""
        stops = self.stop.tolist()
        return [
            self.text[start:stop].decode("utf-8", "replace")
            for start, stop in zip([0, *stops], stops, strict=False)
        ]


@dataclass(frozen=True, slots=True)
class Table:
    """Texts that repeat: `texts[index[i]]` is the i-th."""

    texts: tuple[str, ...]
    index: Ints

    @classmethod
    def of(cls, texts: Iterable[str]) -> Table:
        """Number the texts in the order of their first appearance."""
        number: dict[str, int] = {}
        index = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int32)
        return cls(tuple(number), index)


@dataclass(frozen=True, slots=True)
class Edges:
    """From box to box, with the tensor that each carries; one for each pair of boxes, none from a box to itself."""

    source: Ints
    target: Ints
    tensor: Ints

    @classmethod
    def of(cls, source: Ints, target: Ints, tensor: Ints, count: int) -> Edges:
        """Keep the first edge of each pair among `count` boxes."""
        pair = source.astype(np.int64) * count + target
        keep = np.sort(np.unique(pair, return_index=True)[1])
        keep = keep[source[keep] != target[keep]]
        return cls(source[keep], target[keep], tensor[keep])


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes with their texts and sizes in pixels, and the edges between them, as columns.

    `labels[label[i]]` is the first line of box i and `details[detail[i]]` its second. `tensor` is what an edge
    carries, the first one where several tensors run between the same two boxes. Nodes without a box lie in a
    collapsed group or were folded: they compute the same value whatever the inputs are.
    """

    kind: Bytes
    ref: Ints
    labels: tuple[str, ...]
    label: Ints
    details: tuple[str, ...]
    detail: Ints
    width: Floats
    height: Floats
    source: Ints
    target: Ints
    tensor: Ints
    folded: int = 0
    names: Names | None = None

    def __len__(self) -> int:
        """How many boxes there are."""
        return len(self.kind)

    def sharing(self, other: Boxes) -> Boxes:
        """The same with the columns of `other` in place of equal ones, which are in memory once then."""
        return Boxes(*(_same(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)))

    def is_joined_like(self, other: Boxes) -> bool:
        """True where kinds and edges agree, whatever nodes and tensors are numbered and called."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("kind", "source", "target")
        )


def build_boxes(
    graph: Graph, group_of_node: Ints | None = None, group_titles: Mapping[int, str] | None = None
) -> Boxes:
    """Boxes of `graph`; nodes with `group_of_node[i] >= 0` are drawn as that one collapsed group."""
    live = live_nodes(graph)
    group = np.full(len(graph.nodes), -1, np.int32) if group_of_node is None else group_of_node
    box_of_node, kinds, refs = _number(graph, live, group)
    sizes = np.bincount(group[group >= 0]) if (group >= 0).any() else np.zeros(0, np.int64)
    titles = group_titles or {}
    return assemble(
        np.array(kinds, np.uint8),
        np.array(refs, np.int32),
        Table.of(_label(graph, kind, ref, titles) for kind, ref in zip(kinds, refs, strict=True)),
        Table.of(_detail(graph, kind, ref, sizes) for kind, ref in zip(kinds, refs, strict=True)),
        _edges(graph, box_of_node, kinds, refs),
        folded=len(graph.nodes) - sum(live),
        names=Names.of(
            graph.nodes[ref].name.encode("utf-8", "replace")
            for kind, ref in zip(kinds, refs, strict=True)
            if kind == BoxKind.OPERATOR
        ),
    )


def redescribed(boxes: Boxes, graph: Graph) -> Boxes:
    """The boxes of a graph with the second lines that another reading of it gives: shapes may be known by then."""
    kinds, refs, details = boxes.kind.tolist(), boxes.ref.tolist(), boxes.detail.tolist()
    detail = Table.of(
        node_detail(graph, graph.nodes[ref]) if kind == BoxKind.OPERATOR else boxes.details[text]
        for kind, ref, text in zip(kinds, refs, details, strict=True)
    )
    return replace(boxes, details=detail.texts, detail=detail.index)


def assemble(
    kind: Bytes, ref: Ints, label: Table, detail: Table, edges: Edges, *, folded: int, names: Names
) -> Boxes:
    """Boxes of these columns; their sizes follow from their texts."""
    return Boxes(
        kind,
        ref,
        label.texts,
        label.index,
        detail.texts,
        detail.index,
        _widths(kind, label.texts, label.index, detail.texts, detail.index),
        np.array([_OPERATOR_HEIGHT_PX, _TERMINAL_HEIGHT_PX, _TERMINAL_HEIGHT_PX, _GROUP_HEIGHT_PX])[kind],
        edges.source,
        edges.target,
        edges.tensor,
        folded,
        names,
    )


def live_nodes(graph: Graph) -> list[bool]:
    """Which nodes depend on an input, or on chance; all of them where hardly any would be left."""
    fed = bytearray(len(graph.tensors))
    for tensor in graph.inputs:
        fed[tensor] = 1
    live = []
    for node in graph.nodes:
        is_live = any(fed[t] for t in node.inputs if t >= 0) or "Random" in node.op or bool(node.subgraphs)
        live.append(is_live)
        if is_live:
            for tensor in node.outputs:
                if tensor >= 0:
                    fed[tensor] = 1
    return [True] * len(live) if is_hardly_live(sum(live), len(live)) else live


def is_hardly_live(live: int, count: int) -> bool:
    """True where folding what does not depend on an input would leave next to nothing."""
    return live <= _KEEP_IF_LESS_IS_LIVE * count


def shape_text(shape: tuple[Dimension, ...] | None) -> str:
    """A shape as people write it, `1×3×224×224`; "" when unknown, `scalar` for no dimensions."""
    if shape is None:
        return ""
    return "×".join("?" if d is None else str(d) for d in shape) or "scalar"


def node_detail(graph: Graph, node: Node) -> str:
    """One short line on a node: kernel and stride where it has them, then its first output's shape."""
    shape = graph.tensors[node.outputs[0]].shape if node.outputs and node.outputs[0] >= 0 else None
    return detail_text(node.attributes.get("kernel_shape"), node.attributes.get("strides"), shape)


def detail_text(kernel: object, strides: object, shape: tuple[Dimension, ...] | None) -> str:
    """The line of `node_detail` from its parts."""
    parts = []
    if isinstance(kernel, list) and kernel:
        stride = f"/{strides[0]}" if isinstance(strides, list) and strides and strides[0] != 1 else ""
        parts.append("×".join(str(k) for k in kernel) + stride)
    parts.append(shape_text(shape))
    text = "  ".join(part for part in parts if part)
    return text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 1] + "…"


def _number(graph: Graph, live: list[bool], group: Ints) -> tuple[array[int], array[int], array[int]]:
    """Number the boxes: inputs, then nodes and groups in execution order, then outputs."""
    kinds = array("i", [int(BoxKind.INPUT)] * len(graph.inputs))
    refs = array("i", graph.inputs)
    box_of_node, box_of_group = array("i", [-1]) * len(graph.nodes), dict[int, int]()
    for index, (is_live, inside) in enumerate(zip(live, group.tolist(), strict=True)):
        if not is_live:
            continue
        if inside < 0:
            box_of_node[index] = len(kinds)
            kinds.append(BoxKind.OPERATOR)
            refs.append(index)
        else:
            if inside not in box_of_group:
                box_of_group[inside] = len(kinds)
                kinds.append(BoxKind.GROUP)
                refs.append(inside)
            box_of_node[index] = box_of_group[inside]
    kinds.extend([BoxKind.OUTPUT] * len(graph.outputs))
    refs.extend(graph.outputs)
    return box_of_node, kinds, refs


def _label(graph: Graph, kind: int, ref: int, titles: Mapping[int, str]) -> str:
    if kind == BoxKind.OPERATOR:
        return graph.nodes[ref].op
    return (
        titles.get(ref, f"group {ref}") if kind == BoxKind.GROUP else terminal_text(graph.tensors[ref].name)
    )


def _detail(graph: Graph, kind: int, ref: int, group_sizes: NDArray[np.int64]) -> str:
    if kind == BoxKind.OPERATOR:
        return node_detail(graph, graph.nodes[ref])
    return f"{int(group_sizes[ref])} nodes" if kind == BoxKind.GROUP else ""


def _same(one: Any, other: Any) -> Any:
    if isinstance(one, Names) and isinstance(other, Names):
        is_equal = one.text == other.text and np.array_equal(one.stop, other.stop)
    else:
        is_equal = np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other
    return other if is_equal else one


def terminal_text(name: str) -> str:
    """The name of an input or output, its end where it is long."""
    return name if len(name) <= _LONGEST_DETAIL else "…" + name[1 - _LONGEST_DETAIL :]


def _edges(graph: Graph, box_of_node: array[int], kinds: Sequence[int], refs: Sequence[int]) -> Edges:
    writer = array("i", [-1]) * len(graph.tensors)
    for box, tensor in enumerate(graph.inputs):
        writer[tensor] = box
    for box, node in zip(box_of_node, graph.nodes, strict=True):
        if box >= 0:
            for tensor in node.outputs:
                if tensor >= 0:
                    writer[tensor] = box
    sources, targets, tensors = array("i"), array("i"), array("i")
    readers = ((box, node.inputs) for box, node in zip(box_of_node, graph.nodes, strict=True) if box >= 0)
    first_output = len(kinds) - len(graph.outputs)
    ends = ((first_output + i, (tensor,)) for i, tensor in enumerate(refs[first_output:]))
    for box, inputs in chain(readers, ends):
        for tensor in inputs:
            if tensor >= 0 and writer[tensor] >= 0:
                sources.append(writer[tensor])
                targets.append(box)
                tensors.append(tensor)
    return Edges.of(
        np.array(sources, np.int32), np.array(targets, np.int32), np.array(tensors, np.int32), len(kinds)
    )


def _widths(
    kind: Bytes, labels: tuple[str, ...], label: Ints, details: tuple[str, ...], detail: Ints
) -> Floats:
    """Wide enough for both lines, from the mean width of a character: the window alone knows the font."""
    first = np.array([len(text) * _LABEL_CHARACTER_PX for text in labels] or [0.0])
    second = np.array([len(text) * _DETAIL_CHARACTER_PX for text in details] or [0.0])
    widths: Floats = np.maximum(first[label], second[detail]) + _PADDING_PX
    narrowest = np.where(
        (kind == BoxKind.OPERATOR) | (kind == BoxKind.GROUP), _NARROWEST_OPERATOR_PX, _NARROWEST_PX
    )
    return np.clip(widths, narrowest, _WIDEST_PX)
