"""Writes one operator of a TensorFlow Lite model as a model of its own, small enough for a bug report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgestudio.model.graph import Model
from edgestudio.wire.errors import ModelError

_KEPT_BYTES = 4096
"""Constants up to this size come along: axes, shapes, paddings, and what a small operator computes with."""
_MOST_BYTES = 500_000_000
_NO_DATA = 0
"""By convention the first buffer is empty, and tensors without data refer to it."""


def write_node(path: Path, model: Model, index: int, target: Path) -> None:
    """Node `index` of the main graph alone; large weights become inputs. Raises ModelError when that is impossible."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    if path.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{path.name} is too large to cut an operator out of it.")
    source = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = source.subgraphs[0]
    operator = _operator(graph, model, index)
    code = source.operatorCodes[operator.opcodeIndex]
    if model.main.nodes[index].subgraphs:
        raise ModelError("An operator with a body cannot stand alone.")
    buffers: list[Any] = [schema.BufferT()]
    tensors: list[Any] = []
    number: dict[int, int] = {}
    inputs = []
    for at in dict.fromkeys([*_list(operator.inputs), *_list(operator.outputs)]):
        if at < 0:
            continue
        tensor = graph.tensors[at]
        data = source.buffers[tensor.buffer].data
        size = 0 if data is None else len(data)
        is_kept = 0 < size <= _KEPT_BYTES
        tensor.buffer = len(buffers) if is_kept else _NO_DATA
        if is_kept:
            buffers.append(_buffer(schema, data))
        number[at] = len(tensors)
        tensors.append(tensor)
        if at in _list(operator.inputs) and not is_kept:
            inputs.append(number[at])
    operator.inputs = [number.get(at, -1) for at in _list(operator.inputs)]
    operator.outputs = [number[at] for at in _list(operator.outputs)]
    operator.intermediates, operator.opcodeIndex = None, 0
    alone = schema.SubGraphT()
    alone.tensors, alone.operators = tensors, [operator]
    alone.inputs, alone.outputs, alone.name = inputs, list(operator.outputs), b"main"
    made = schema.ModelT()
    made.version, made.description = source.version, b"one operator, cut out"
    made.operatorCodes, made.subgraphs, made.buffers = [code], [alone], buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))


def _operator(graph: Any, model: Model, index: int) -> Any:
    """The file's operator that is node `index`: the one that writes the same tensors."""
    wanted = [model.main.tensors[t].name for t in model.main.nodes[index].outputs if t >= 0]
    for operator in graph.operators:
        names = [
            (graph.tensors[t].name or b"").decode("utf-8", "replace")
            for t in _list(operator.outputs)
            if t >= 0
        ]
        if names == wanted:
            return operator
    raise ModelError(f"No operator of the file writes {', '.join(wanted) or 'nothing'}.")


def _buffer(schema: Any, data: Any) -> Any:
    made = schema.BufferT()
    made.data = data
    return made


def _list(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]
