"""Reads of an ONNX file only what a first picture takes: operators, the edges between them, and their names.

It gives the boxes that `build_boxes` gives for the same file, several times sooner, and makes no object for a node.
Tensors stay unnumbered (-1): the reader numbers them. What is unusual, such as functions or nodes out of order, it
leaves to the reader by returning None; so it does with what is damaged, which the reader can explain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgestudio.model.content import Buffer, opened
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.onnx_values import attribute_value, type_info
from edgestudio.model.graph import Dimension
from edgestudio.model.message import Message
from edgestudio.model.picture.boxes import (
    Boxes,
    BoxKind,
    Edges,
    Names,
    Table,
    assemble,
    detail_text,
    is_hardly_live,
    terminal_text,
)
from edgestudio.model.wire_columns import Offsets, Payloads, entries, first_payload, payloads
from edgestudio.runtime.protobuf import WireError

_NODE, _NAME, _WEIGHT, _TEXT, _INPUT, _OUTPUT, _VALUE, _QUANTIZATION = (
    number << 3 | 2 for number in (1, 2, 5, 10, 11, 12, 13, 14)
)
_TAGS = frozenset((_NODE, _NAME, _WEIGHT, _TEXT, _INPUT, _OUTPUT, _VALUE, _QUANTIZATION))
_WEIGHT_NAME = 8
_SHOWN = ("kernel_shape", "strides")
_NOWHERE = (np.zeros(0, np.int64), np.zeros(0, np.int64))
_CLOSES_LOOP = "NextIteration"


@dataclass(frozen=True, slots=True)
class _Value:
    """An input, an output or a value between, with its shape where the file says it."""

    name: bytes
    shape: tuple[Dimension, ...] | None


@dataclass(frozen=True, slots=True)
class _Attributes:
    """Per node with one of them its kernel and strides, and which nodes hold graphs of their own."""

    shown: dict[int, dict[str, object]]
    with_graph: frozenset[int]


def sketch(found: Recognised) -> Boxes | None:
    """The boxes of the main graph of the model at `found.file`; None where only the reader can tell."""
    try:
        with opened(found.file) as buffer:
            whole = memoryview(buffer)
            message = Message(whole)
            graphs = message.views(7)
            return None if not graphs or message.views(25) else _Sketch(buffer, whole, graphs[-1]).boxes()
    except (WireError, RecursionError, IndexError, MemoryError):
        return None


class _Sketch:
    """One look over one graph; offsets count from the beginning of the file."""

    def __init__(self, buffer: Buffer, whole: memoryview, graph: memoryview) -> None:
        self.buffer = buffer
        self.data = np.frombuffer(whole, np.uint8)
        address = self.data.__array_interface__["data"][0]
        begin = np.frombuffer(graph, np.uint8).__array_interface__["data"][0] - address if len(graph) else 0
        found = entries(graph, _TAGS)
        self.places: dict[int, tuple[Offsets, Offsets]] = {
            tag: (start + begin, stop + begin) for tag, (start, stop) in (found or {}).items()
        }

    def boxes(self) -> Boxes | None:
        start, stop = self.places.get(_NODE, _NOWHERE)
        nodes, inputs = payloads(self.data, start, stop), self._inputs()
        if nodes is None or inputs is None or not len(start):
            return None
        count = len(start)
        operators = nodes.of(4)
        if not np.array_equal(operators.message, np.arange(count)):
            return None
        kinds = [text.decode("utf-8", "replace") for text in self._texts(operators)]
        written, read = nodes.of(2).filled(), nodes.of(1).filled()
        outputs = list(self._values(_OUTPUT))
        written_names = list(self._texts(written))
        writer = dict(zip(written_names, written.message.tolist(), strict=True))
        writer.update({value.name: ~at for at, value in enumerate(inputs)})
        if len(writer) != len(written_names) + len(inputs):
            return None  # something is written twice
        find = writer.get
        source = np.array([find(name, count) for name in self._texts(read)], np.int64)
        is_edge = source < count
        source, target = source[is_edge], read.message[is_edge]
        if (source >= target).any() or any(_CLOSES_LOOP in kind for kind in set(kinds)):
            return None  # not in an order in which they can run
        attributes = self._attributes(nodes.of(5))
        live = _live(kinds, attributes.with_graph, source, target)
        shapes = {value.name: value.shape for value in (*self._values(_VALUE), *inputs, *outputs)}
        details = _details(attributes, shapes, zip(written.message.tolist(), written_names, strict=True))
        ends = [find(value.name, count) for value in outputs]
        return _assemble(
            (inputs, outputs, ends), kinds, live, details, (source, target), self._names(nodes.of(3), live)
        )

    def _texts(self, of: Payloads) -> Iterator[bytes]:
        buffer = self.buffer
        return (buffer[a:b] for a, b in zip(of.start.tolist(), of.stop.tolist(), strict=True))

    def _values(self, tag: int) -> Iterator[_Value]:
        types: dict[bytes, tuple[Dimension, ...] | None] = {}
        for a, b in zip(*(side.tolist() for side in self.places.get(tag, _NOWHERE)), strict=True):
            message = Message(memoryview(self.buffer)[a:b])
            kind = message.data(2)
            if kind not in types:
                types[kind] = type_info(memoryview(kind))[1]
            yield _Value(message.data(1), types[kind])

    def _inputs(self) -> list[_Value] | None:
        """The graph's inputs but for those that a weight gives a value to, as old files list them all."""
        inputs = {value.name: value for value in self._values(_INPUT)}
        weights = first_payload(self.data, *self.places.get(_WEIGHT, _NOWHERE), _WEIGHT_NAME)
        if weights is None:
            return None
        start, stop = weights
        alike = np.isin(stop - start, np.array([len(name) for name in inputs], np.int64))
        for a, b in zip(start[alike].tolist(), stop[alike].tolist(), strict=True):
            inputs.pop(self.buffer[a:b], None)
        return list(inputs.values())

    def _attributes(self, of: Payloads) -> _Attributes:
        """Equal attributes, which are most, are decoded once."""
        known: dict[bytes, tuple[str, object, bool]] = {}
        shown: dict[int, dict[str, object]] = {}
        with_graph = set()
        for node, content in zip(of.message.tolist(), self._texts(of), strict=True):
            told = known.get(content)
            if told is None:
                message = Message(memoryview(content))
                name, has_graph = message.text(1), 6 in message or 11 in message
                told = name, attribute_value(message) if name in _SHOWN else None, has_graph
                known[content] = told
            name, value, has_graph = told
            if value is not None:
                shown.setdefault(node, {})[name] = value
            elif has_graph:
                with_graph.add(node)
        return _Attributes(shown, frozenset(with_graph))

    def _names(self, of: Payloads, live: list[bool]) -> Names:
        names = dict(zip(of.message.tolist(), self._texts(of), strict=True))
        return Names.of(names.get(node, b"") for node, is_live in enumerate(live) if is_live)


def _live(kinds: list[str], with_graph: frozenset[int], source: Offsets, target: Offsets) -> list[bool]:
    """As `live_nodes` of boxes: which nodes depend on an input, or on chance."""
    by_chance = {kind for kind in set(kinds) if "Random" in kind}
    live = [kind in by_chance for kind in kinds] if by_chance else [False] * len(kinds)
    for node in with_graph:
        live[node] = True
    for a, b in zip(source.tolist(), target.tolist(), strict=True):
        if a < 0 or live[a]:
            live[b] = True
    return [True] * len(live) if is_hardly_live(sum(live), len(live)) else live


def _details(
    attributes: _Attributes,
    shapes: dict[bytes, tuple[Dimension, ...] | None],
    written: Iterator[tuple[int, bytes]],
) -> dict[int, str]:
    """The second line of each node that has one."""
    shape_of: dict[int, tuple[Dimension, ...] | None] = {}
    if shapes:
        for node, name in written:
            if node not in shape_of:  # the first output alone is shown
                shape_of[node] = shapes.get(name)
    known = {node for node, shape in shape_of.items() if shape is not None}
    nothing: dict[str, object] = {}
    found = {}
    for node in known | attributes.shown.keys():
        told = attributes.shown.get(node, nothing)
        found[node] = detail_text(told.get("kernel_shape"), told.get("strides"), shape_of.get(node))
    return found


def _assemble(
    terminals: tuple[list[_Value], list[_Value], list[int]],
    kinds: list[str],
    live: list[bool],
    details: dict[int, str],
    edges: tuple[Offsets, Offsets],
    names: Names,
) -> Boxes:
    """Number the boxes as `build_boxes` does: inputs, live nodes in their order, outputs."""
    inputs, outputs, ends = terminals
    shown = np.flatnonzero(live)
    before, after = len(inputs), len(inputs) + len(shown)
    count = after + len(outputs)
    # By the number of a node, or of an input counted down from -1; -1 for what has no box.
    box = np.full(len(kinds) + 1 + before, -1, np.int32)
    box[shown] = np.arange(before, after, dtype=np.int32)
    box[len(box) - 1 - np.arange(before)] = np.arange(before, dtype=np.int32)
    source = box[np.concatenate([edges[0], np.array(ends, np.int64)])]
    target = np.concatenate([box[edges[1]], np.arange(after, count, dtype=np.int32)])
    both = (source >= 0) & (target >= 0)
    unknown = np.full(int(both.sum()), -1, np.int32)
    kind = np.full(count, int(BoxKind.OPERATOR), np.uint8)
    kind[:before], kind[after:] = int(BoxKind.INPUT), int(BoxKind.OUTPUT)
    ref = np.full(count, -1, np.int32)
    ref[before:after] = shown
    first = [terminal_text(value.name.decode("utf-8", "replace")) for value in (*inputs, *outputs)]
    middle = shown.tolist()
    get = details.get
    return assemble(
        kind,
        ref,
        Table.of((*first[:before], *(kinds[node] for node in middle), *first[before:])),
        Table.of((*[""] * before, *(get(node, "") for node in middle), *[""] * len(outputs))),
        Edges.of(source[both], target[both], unknown, count),
        folded=len(kinds) - len(shown),
        names=names,
    )
