"""Weights of ONNX models: raw, in typed lists, sparse, or in files beside the model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgestudio.model.arrays import MAX_UNPACKED, Array, Loader, array_at, mapped
from edgestudio.model.building import MAX_DEPTH
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import elements, size_bytes
from edgestudio.model.formats.onnx_external import check_location, span
from edgestudio.model.formats.onnx_values import TensorHeader, listed_values, tensor_header
from edgestudio.model.message import Message

_HALVES = {"float16": "<u2", "bfloat16": "<u2"}


def loaders(found: Recognised) -> dict[str, Loader]:
    """A function for each initialiser and constant of the main graph and the graphs inside of it."""
    view = memoryview(mapped(found.file))
    known: dict[str, Loader] = {}
    for graph in Message(view).views(7)[-1:]:
        for header in _headers(graph, 0):
            name = header.name.decode("utf-8", "replace")
            known.setdefault(name, partial(_array, found.file, name, header))
        for sparse in Message(graph).messages(15):
            for values in sparse.views(1)[-1:]:
                header = tensor_header(values)
                name = header.name.decode("utf-8", "replace")
                known.setdefault(name, partial(_dense, found.file, name, header, sparse))
    return known


def _headers(graph: memoryview, depth: int) -> Iterator[TensorHeader]:
    """Initialisers of a graph and of the graphs inside of its nodes, constants of Constant nodes included."""
    if depth > MAX_DEPTH:
        return
    message = Message(graph)
    for view in message.views(5):
        yield tensor_header(view)
    for node in message.messages(1):
        for attribute in node.messages(5):
            for body in attribute.views(6) + attribute.views(11):
                yield from _headers(body, depth + 1)
            if node.text(4) == "Constant":
                for view in attribute.views(5):
                    yield tensor_header(view)._replace(name=node.data(2))


def _array(model: Path, name: str, header: TensorHeader) -> Array | None:
    if header.external:
        path = check_location(model, name, header.external.get("location", ""))
        size, place = size_bytes(header.dtype, header.dims), span(header.external)
        if size is None or place is None or not path.is_file():
            return None
        return array_at(mapped(path), place[0], size, header.dtype, header.dims)
    if header.raw is not None:
        return array_at(header.raw, 0, len(header.raw), header.dtype, header.dims)
    count = elements(header.dims)
    if count is None or count > MAX_UNPACKED:
        return None
    values = listed_values(header, count)
    if header.dtype in _HALVES:
        # Sixteen bits each, held as the integers that they look like.
        raw = np.array(values, np.int64).astype(_HALVES[header.dtype]).tobytes()
        return array_at(raw, 0, len(raw), header.dtype, header.dims)
    if len(values) != count:
        return None
    try:
        return np.array(values, header.dtype).reshape(header.dims)
    except (TypeError, OverflowError):
        return None


def _dense(model: Path, name: str, header: TensorHeader, sparse: Message) -> Array | None:
    """A sparse weight unfolded: its indices count through the flat weight, or name each dimension."""
    shape = tuple(sparse.integers(3))
    count = elements(shape)
    values = _array(model, name, header)
    indices = next((_array(model, name, tensor_header(view)) for view in sparse.views(2)[-1:]), None)
    if values is None or indices is None or count is None or count > MAX_UNPACKED:
        return None
    dense = np.zeros(count, values.dtype)
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    dense[flat] = values.reshape(-1)
    return dense.reshape(shape)
