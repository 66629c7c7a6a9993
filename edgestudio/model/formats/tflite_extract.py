"""Writes one operator of a TensorFlow Lite model as a model of its own, small enough for a bug report."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

from edgestudio.model.graph import Model
from edgestudio.wire.errors import ModelError

_KEPT_BYTES = 4096
"""Constants up to this size come along: axes, shapes, paddings, and what a small operator computes with."""
_MOST_BYTES = 500_000_000
_MOST_IN_BODIES = 32_000_000
"""Bodies of loops and branches come along whole, up to this size of their weights."""
_BODIES = (
    "thenSubgraphIndex", "elseSubgraphIndex", "condSubgraphIndex", "bodySubgraphIndex", "initSubgraphIndex",
    "decompositionSubgraphIndex", "subgraph",
)  # fmt: skip
_NO_DATA = 0
"""By convention the first buffer is empty, and tensors without data refer to it."""


class _Cut:
    """A model that is put together of parts of `source`: codes, buffers and bodies are numbered anew."""

    def __init__(self, schema: Any, source: Any) -> None:
        self.schema, self.source = schema, source
        self.buffers: list[Any] = [schema.BufferT()]
        self.codes: list[Any] = []
        self.graphs: list[Any] = [schema.SubGraphT()]
        self._code_numbers: dict[int, int] = {}
        self._graph_numbers: dict[int, int] = {}
        self._bytes = 0

    def buffer(self, number: int, most: int) -> int:
        """A copy of a buffer of the source that is not larger than `most`, else the empty one."""
        data = self.source.buffers[number].data
        size = 0 if data is None else len(data)
        if not 0 < size <= most:
            return _NO_DATA
        self._bytes += size
        if self._bytes > _MOST_IN_BODIES:
            raise ModelError("What the operator needs is too large to be cut out.")
        made = self.schema.BufferT()
        made.data = data
        self.buffers.append(made)
        return len(self.buffers) - 1

    def take(self, operator: Any) -> None:
        """Number an operator's code and its bodies anew; the bodies come along with their weights."""
        code = operator.opcodeIndex
        if code not in self._code_numbers:
            self._code_numbers[code] = len(self.codes)
            self.codes.append(self.source.operatorCodes[code])
        operator.opcodeIndex = self._code_numbers[code]
        for options in (operator.builtinOptions, getattr(operator, "builtinOptions2", None)):
            for name in _BODIES:
                number = getattr(options, name, None) if options is not None else None
                if isinstance(number, int) and number > 0:
                    setattr(options, name, self._body(number))

    def _body(self, number: int) -> int:
        if number not in self._graph_numbers:
            graph = self.source.subgraphs[number]
            self._graph_numbers[number] = len(self.graphs)
            self.graphs.append(graph)
            for tensor in graph.tensors:
                tensor.buffer = self.buffer(tensor.buffer, _MOST_IN_BODIES)
            for operator in graph.operators or ():
                self.take(operator)
        return self._graph_numbers[number]


def write_node(path: Path, model: Model, place: tuple[int, int], target: Path) -> None:
    """The node at `place`, subgraph and number, with its bodies; large weights around it become inputs.

    Raises ModelError when that is impossible.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    if path.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{path.name} is too large to cut an operator out of it.")
    source = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = source.subgraphs[place[0]]
    operator = _operator(graph, model, place)
    cut = _Cut(schema, source)
    # Bodies refer to each other by number, and one may be the graph that the operator is in.
    tensors = {
        at: copy(graph.tensors[at]) for at in (*_list(operator.inputs), *_list(operator.outputs)) if at >= 0
    }
    operator = copy(operator)
    number = {at: position for position, at in enumerate(tensors)}
    inputs = []
    for at, tensor in tensors.items():
        tensor.buffer = cut.buffer(tensor.buffer, _KEPT_BYTES)
        if at in _list(operator.inputs) and tensor.buffer == _NO_DATA:
            inputs.append(number[at])
    operator.inputs = [number.get(at, -1) for at in _list(operator.inputs)]
    operator.outputs = [number[at] for at in _list(operator.outputs)]
    operator.intermediates = None
    cut.take(operator)
    alone = cut.graphs[0]
    alone.tensors, alone.operators = list(tensors.values()), [operator]
    alone.inputs, alone.outputs, alone.name = inputs, list(operator.outputs), b"main"
    made = schema.ModelT()
    made.version, made.description = source.version, b"one operator, cut out"
    made.operatorCodes, made.subgraphs, made.buffers = cut.codes, cut.graphs, cut.buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))


def _operator(graph: Any, model: Model, place: tuple[int, int]) -> Any:
    """The file's operator that is the node at `place`: the one that writes the same tensors."""
    read = model.graphs[place[0]]
    wanted = [read.tensors[t].name for t in read.nodes[place[1]].outputs if t >= 0]
    for operator in graph.operators:
        names = [
            (graph.tensors[t].name or b"").decode("utf-8", "replace")
            for t in _list(operator.outputs)
            if t >= 0
        ]
        if names == wanted:
            return operator
    raise ModelError(f"No operator of the file writes {', '.join(wanted) or 'nothing'}.")


def _list(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]
