"""A model's structure without its weights: the one shape that every format is read into.

Tensors and nodes are kept in flat lists and refer to each other by index, so that a graph of 50,000
nodes is read, saved and loaded in well under a second. `save` and `load` move a model between the
worker that reads files and the window, as columns of JSON: data only, nothing in it can execute.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar

_Row = TypeVar("_Row")

Dimension = int | str | None
"""A size, the name of a symbolic dimension, or None where the file does not say."""

TensorKind = Literal["input", "output", "constant", "activation"]
Attribute = Any
"""JSON-able: bool, int, float, str, a list of these, or a dict describing a tensor or subgraph."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How integers stand for reals, real = scale * (q - zero_point); lists are per channel along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of the graph. `dtype` is numpy's name ("float32", "int8", "string"), "" when unknown."""

    name: str
    dtype: str = ""
    shape: tuple[Dimension, ...] | None = None
    kind: TensorKind = "activation"
    size_bytes: int | None = None
    quantization: Quantization | None = None
    values: tuple[Any, ...] | None = None
    """The elements, flat, of a small constant (at most 64 numbers) whose bytes are in the file."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator. `inputs` and `outputs` index `Graph.tensors`; -1 stands for an omitted optional input.

    `scope` is the slash-separated path of modules it came from, "" when the file does not say.
    `subgraphs` index `Model.graphs` (bodies of If, Loop, functions). `macs` counts multiply-accumulates.
    """

    name: str
    op: str
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""
    scope: str = ""
    subgraphs: tuple[int, ...] = ()
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order with the tensors between them; `inputs` and `outputs` index `tensors`."""

    name: str
    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def producers(self) -> dict[int, int]:
        """Tensor index to the index of the node that writes it."""
        return {
            tensor: index for index, node in enumerate(self.nodes) for tensor in node.outputs if tensor >= 0
        }

    def consumers(self) -> dict[int, list[int]]:
        """Tensor index to the indices of the nodes that read it, in execution order."""
        readers: dict[int, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for tensor in node.inputs:
                if tensor >= 0:
                    readers.setdefault(tensor, []).append(index)
        return readers

    def ends(self, of: Collection[int]) -> tuple[dict[int, int], dict[int, list[int]]]:
        """`producers` and `consumers` of these tensors alone, without an index of all others."""
        wanted = {tensor for tensor in of if tensor >= 0}
        writers: dict[int, int] = {}
        readers: dict[int, list[int]] = {}
        for index, node in enumerate(self.nodes):
            if not wanted.isdisjoint(node.outputs):
                writers |= dict.fromkeys(wanted.intersection(node.outputs), index)
            if not wanted.isdisjoint(node.inputs):
                for tensor in node.inputs:
                    if tensor in wanted:
                        readers.setdefault(tensor, []).append(index)
        return writers, readers


@dataclass(frozen=True, slots=True)
class Model:
    """A file as it was read. `graphs[0]` is the main graph; formats that hold only weights have none.

    `format` is a stable word: onnx, tflite, coreml, keras, savedmodel, graphdef, metagraph, torchscript, torch-export,
    safetensors, state-dict, openvino, tensorrt. Unknown facts are None, never a guess.
    """

    format: str
    format_version: str | None
    producer: str | None
    opsets: Mapping[str, int]
    graphs: tuple[Graph, ...]
    size_bytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    weights: tuple[Tensor, ...] = ()
    """Weights of a file that holds no graph (safetensors, state dict)."""
    companions: tuple[str, ...] = ()
    """Files beside it that it needs, such as external weights; paths relative to its folder."""

    @property
    def main(self) -> Graph:
        """The main graph; an empty one for a file that holds only weights."""
        return self.graphs[0] if self.graphs else Graph("", (), (), (), ())


_SCHEMA = 2
_NO_ATTRIBUTES: Mapping[str, Attribute] = {}
_LONGEST_HEAD = 64 << 20
_PLAIN = 2
"""The form of `marshal` in which equal attributes are equal bytes; 1, 1.0 and true stay apart."""
_ROWS = 2000
"""Rows of a column in one line of the file: read line by line, no other thread waits for long."""


def save(model: Model, path: Path) -> None:
    """Write `model` as lines of JSON: what it is, then columns of tensors and nodes, some rows in each line."""
    head = {
        "schema": _SCHEMA,
        "format": model.format,
        "format_version": model.format_version,
        "producer": model.producer,
        "opsets": dict(model.opsets),
        "size_bytes": model.size_bytes,
        "metadata": dict(model.metadata),
        "warnings": list(model.warnings),
        "companions": list(model.companions),
        "graphs": [
            {"name": graph.name, "inputs": graph.inputs, "outputs": graph.outputs} for graph in model.graphs
        ],
    }
    with path.open("w", encoding="utf-8") as file:
        _write_line(file, head)
        for tensors in _parts(model.weights):
            _write_line(file, {"weights": _tensor_columns(tensors)})
        for index, graph in enumerate(model.graphs):
            for tensors in _parts(graph.tensors):
                _write_line(file, {"graph": index, "tensors": _tensor_columns(tensors)})
            for nodes in _parts(graph.nodes):
                _write_line(file, {"graph": index, "nodes": _node_columns(nodes)})
        _write_line(file, {"end": True})


def is_current(path: Path) -> bool:
    """True for a graph that `load` of this version reads, as far as its first line tells."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline(_LONGEST_HEAD))
    except (OSError, ValueError):
        return False
    return isinstance(head, dict) and head.get("schema") == _SCHEMA


def load(path: Path, like: Model | None = None) -> Model:
    """Read what `save` wrote; raises ValueError on anything else.

    What `like`, an earlier reading of the same model, has in the same place is taken from there: the parts of a
    large graph that did not change are in memory once.
    """
    before = list(like.graphs) if like is not None else []
    with path.open(encoding="utf-8") as file:
        head = json.loads(file.readline())
        if not isinstance(head, dict) or head.get("schema") != _SCHEMA:
            raise ValueError(f"{path.name} is not a graph saved by this version")
        weights: list[Tensor] = []
        tensors: list[list[Tensor]] = [[] for _ in head["graphs"]]
        nodes: list[list[Node]] = [[] for _ in head["graphs"]]
        places: list[list[int]] = [[] for _ in head["graphs"]]
        columns: dict[str, Any] = {}
        once: dict[Any, Any] = {}
        for line in file:
            columns = json.loads(line)
            if "nodes" in columns:
                number = columns["graph"]
                old = before[number].nodes if number < len(before) else ()
                if not places[number]:
                    places[number] = [*range(len(tensors[number])), -1]
                rows = _nodes(columns["nodes"], once, places[number])
                nodes[number] += _kept(rows, old[len(nodes[number]) :])
            elif "tensors" in columns:
                number = columns["graph"]
                had = before[number].tensors if number < len(before) else ()
                tensors[number] += _kept(_tensors(columns["tensors"], once), had[len(tensors[number]) :])
            elif "weights" in columns:
                weights += _tensors(columns["weights"], once)
    if not columns.get("end"):
        raise ValueError(f"{path.name} was cut short")
    return Model(
        format=head["format"],
        format_version=head["format_version"],
        producer=head["producer"],
        opsets=head["opsets"],
        graphs=tuple(
            Graph(each["name"], tuple(own), tuple(values), tuple(each["inputs"]), tuple(each["outputs"]))
            for each, own, values in zip(head["graphs"], nodes, tensors, strict=True)
        ),
        size_bytes=head["size_bytes"],
        metadata=head["metadata"],
        warnings=tuple(head["warnings"]),
        weights=tuple(weights),
        companions=tuple(head["companions"]),
    )


def _kept(rows: list[_Row], before: tuple[_Row, ...]) -> list[_Row]:
    """The rows, those from before in place of equal ones; where one has changed, it shares what has not."""
    same = [old if old == row else _sharing(row, old) for row, old in zip(rows, before, strict=False)]
    return [*same, *rows[len(same) :]]


def _sharing(row: _Row, old: _Row) -> _Row:
    names = [each.name for each in fields(row)]  # type: ignore[arg-type]  # rows are Tensor or Node
    pairs = [(getattr(row, name), getattr(old, name)) for name in names]
    return type(row)(*(had if had == has else has for has, had in pairs))


def _write_line(file: TextIO, document: dict[str, Any]) -> None:
    file.write(json.dumps(document, separators=(",", ":")))
    file.write("\n")


def _parts(rows: tuple[_Row, ...]) -> Iterator[tuple[_Row, ...]]:
    return (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))


def _tensor_columns(tensors: tuple[Tensor, ...]) -> dict[str, Any]:
    return {
        "name": [t.name for t in tensors],
        "dtype": [t.dtype for t in tensors],
        "shape": [t.shape for t in tensors],
        "kind": [t.kind for t in tensors],
        "size_bytes": [t.size_bytes for t in tensors],
        "quantization": {
            str(i): [
                t.quantization.scale,
                t.quantization.zero_point,
                t.quantization.axis,
                t.quantization.dtype,
            ]
            for i, t in enumerate(tensors)
            if t.quantization is not None
        },
        "values": {str(i): t.values for i, t in enumerate(tensors) if t.values is not None},
    }


def _tensors(columns: dict[str, Any], once: dict[Any, Any]) -> list[Tensor]:
    """`once` keeps each type, shape and list of values in memory once, however many tensors have it."""
    same = once.setdefault
    quantized = {
        int(i): Quantization(tuple(q[0]), tuple(q[1]), q[2], q[3]) for i, q in columns["quantization"].items()
    }
    values = {int(i): same(marshal.dumps(flat, _PLAIN), tuple(flat)) for i, flat in columns["values"].items()}
    shapes = [None if shape is None else tuple(shape) for shape in columns["shape"]]
    rows = zip(
        columns["name"],
        columns["dtype"],
        shapes,
        columns["kind"],
        columns["size_bytes"],
        strict=True,
    )
    return [
        Tensor(
            name,
            same(dtype, dtype),
            same(shape, shape),
            same(kind, kind),
            same(size, size),
            quantized.get(i),
            values.get(i),
        )
        for i, (name, dtype, shape, kind, size) in enumerate(rows)
    ]


def _node_columns(nodes: tuple[Node, ...]) -> dict[str, Any]:
    return {
        "name": [n.name for n in nodes],
        "op": [n.op for n in nodes],
        "inputs": [n.inputs for n in nodes],
        "outputs": [n.outputs for n in nodes],
        "attributes": [dict(n.attributes) for n in nodes],
        "domain": [n.domain for n in nodes],
        "scope": [n.scope for n in nodes],
        "subgraphs": [n.subgraphs for n in nodes],
        "macs": [n.macs for n in nodes],
    }


def _nodes(columns: dict[str, Any], once: dict[Any, Any], places: list[int]) -> list[Node]:
    """`once` keeps each operator, scope and set of attributes in memory once, however many nodes have it.

    So do `places`, the numbers of all tensors and -1 at the end, with the indices.
    """
    same = once.setdefault
    rows = zip(
        columns["name"], columns["op"], columns["inputs"], columns["outputs"], columns["attributes"],
        columns["domain"], columns["scope"], columns["subgraphs"], columns["macs"], strict=True,
    )  # fmt: skip
    return [
        Node(
            name,
            same(op, op),
            tuple([places[i] for i in ins]),
            tuple([places[i] for i in outs]),
            same(marshal.dumps(attributes, _PLAIN), attributes) if attributes else _NO_ATTRIBUTES,
            same(domain, domain),
            same(scope, scope),
            tuple(subgraphs),
            same(macs, macs),
        )
        for name, op, ins, outs, attributes, domain, scope, subgraphs, macs in rows
    ]
