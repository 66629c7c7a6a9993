"""Infers the shapes that an ONNX file leaves out, with symbolic dimensions kept or set; for workers only."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgestudio.model.content import opened
from edgestudio.model.dtypes import size_bytes
from edgestudio.model.formats.onnx_inference import infer
from edgestudio.model.formats.onnx_skeleton import skeleton
from edgestudio.model.formats.onnx_values import tensor_header, type_info
from edgestudio.model.graph import Dimension, Model, Tensor
from edgestudio.model.message import Message
from edgestudio.runtime.protobuf import WireError, fields

Types = ChainMap[bytes, tuple[str, tuple[Dimension, ...] | None]]
"""Types of one graph's values, and behind them those of the graphs around it."""
_MOST_UNFOLDED = 200_000
"""Nodes that calls of functions may add: onnx takes seconds for so many, and has no limit of its own."""


def infer_shapes(model: Model, path: Path, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model`, read from `path`, with the types and shapes that onnx infers.

    With `dimensions` these symbolic dimensions are set, unnamed ones as "input:axis"; where it is given, an unnamed
    first dimension of an input becomes 1 as well (one sample). A model that onnx cannot infer comes back as it
    was, with a warning.
    """
    try:
        if _unfolded(model, 0, {}) > sum(len(graph.nodes) for graph in model.graphs) + _MOST_UNFOLDED:
            raise ValueError("its functions call each other too often")
        with opened(path) as buffer:
            small = skeleton(memoryview(buffer), dimensions)
        tables = _tables(memoryview(infer(small)))
    except (WireError, RecursionError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        return replace(model, warnings=(*model.warnings, f"shapes could not be inferred: {reason}"))
    if len(tables) != len(model.graphs):
        return model
    graphs = []
    written = {size for graph in model.graphs for tensor in graph.tensors for size in tensor.shape or ()}
    for graph, table in zip(model.graphs, tables, strict=True):
        tensors = tuple(
            _improved(tensor, table, written, keep=dimensions is None) for tensor in graph.tensors
        )
        graphs.append(replace(graph, tensors=tensors))
    return replace(model, graphs=tuple(graphs))


def _unfolded(model: Model, index: int, known: dict[int, int]) -> int:
    """How many nodes a graph comes to with each function in the place of its calls, which is how onnx follows them."""
    if index not in known and index < len(model.graphs):
        known[index] = 0  # a function that calls itself ends here
        known[index] = sum(
            1 + sum(_unfolded(model, body, known) for body in node.subgraphs)
            for node in model.graphs[index].nodes
        )
    return known.get(index, 0)


def _tables(view: memoryview) -> list[Types]:
    """Types by tensor name for each graph, numbered as the reader numbers them."""
    message = Message(view)
    functions = list(message.messages(25))
    tables: list[Types] = [ChainMap() for _ in range(1 + len(functions))]
    for function in functions:
        for node in function.views(7):
            _nested(node, tables, ChainMap())
    main = message.views(7)
    if main:
        _add_types(main[-1], tables, tables[0])
    return tables


def _add_types(graph: memoryview, tables: list[Types], types: Types) -> None:
    for number, _, value in fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number in (11, 12, 13):
            info = Message(value)
            for view in info.views(2)[-1:]:
                types[info.data(1)] = type_info(view)
        elif number == 5:
            header = tensor_header(value)
            types.setdefault(header.name, (header.dtype, header.dims))
        elif number == 1:
            _nested(value, tables, types)


def _nested(node: memoryview, tables: list[Types], outer: Types) -> None:
    for number, _, value in fields(node):
        if number == 5 and isinstance(value, memoryview):
            attribute = Message(value)
            for body in attribute.views(6) + attribute.views(11):
                tables.append(outer.new_child())
                _add_types(body, tables, tables[-1])


def _improved(tensor: Tensor, table: Types, written: set[Dimension], *, keep: bool) -> Tensor:
    """The tensor with what was inferred; names that onnx made up for sizes it does not know are dropped."""
    known = table.get(tensor.name.encode())
    if known is None or tensor.kind == "constant":
        return tensor
    dtype, shape = known
    if shape is not None:
        shape = tuple(size if isinstance(size, int) or size in written else None for size in shape)
    if keep and tensor.shape is not None and shape is not None and len(shape) == len(tensor.shape):
        shape = tuple(new if old is None else old for old, new in zip(tensor.shape, shape, strict=True))
    if shape is None:
        shape = tensor.shape
    if (dtype or tensor.dtype) == tensor.dtype and shape == tensor.shape:
        return tensor
    return replace(
        tensor, dtype=tensor.dtype or dtype, shape=shape, size_bytes=size_bytes(tensor.dtype or dtype, shape)
    )
