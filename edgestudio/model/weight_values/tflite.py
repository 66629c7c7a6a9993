"""Weights of TensorFlow Lite models: plain bytes, or the stored part of a sparse tensor put in its place.

How sparse tensors are stored: `SparsityParameters` of
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

from functools import partial

import numpy as np

from edgestudio.model.arrays import MAX_UNPACKED, Array, Loader, array_at, mapped
from edgestudio.model.content import Buffer
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import BITS, elements
from edgestudio.model.formats.tflite import place, schema
from edgestudio.runtime.flatbuffer import FlatBuffer, FlatBufferError, Table

_COMPRESSED = 1
"""A dimension of which only the indices that hold something are stored, row by row (CSR)."""
_INDEX_TYPES = {1: np.int32, 2: np.uint16, 3: np.uint8}


def loaders(found: Recognised) -> dict[str, Loader]:
    """A function for each constant of every subgraph; raises FlatBufferError."""
    buffer = mapped(found.file)
    file = FlatBuffer(buffer)
    root = file.root()
    types = schema()["types"]
    places = [place(file, table) for table in root.tables(4)]
    known: dict[str, Loader] = {}
    for graph in root.tables(2):
        for tensor in graph.tables(0):
            at, code = tensor.scalar(2, "I"), tensor.scalar(1, "b")
            start, size = places[at] if at < len(places) else (0, 0)
            if not size or not 0 <= code < len(types):
                continue
            shape = tuple(tensor.array(0, np.int32).tolist())
            sparsity = tensor.table(6)
            if sparsity is None:
                loader = partial(array_at, buffer, start, size, types[code], shape)
            else:
                loader = partial(_dense, buffer, start, size, types[code], shape, sparsity)
            known.setdefault(tensor.text(3), loader)
    return known


def _dense(
    buffer: Buffer, start: int, size: int, dtype: str, shape: tuple[int, ...], sparsity: Table
) -> Array | None:
    """The whole tensor of a sparse one; None where its parts do not fit together."""
    try:
        return _put_in_place(buffer, start, size, dtype, shape, sparsity)
    except FlatBufferError:
        return None


def _put_in_place(
    buffer: Buffer, start: int, size: int, dtype: str, shape: tuple[int, ...], sparsity: Table
) -> Array | None:
    count, bits = elements(shape), BITS.get(dtype, 0)
    if count is None or count > MAX_UNPACKED or bits < 8:
        return None
    stored = array_at(buffer, start, size, dtype, (size * 8 // bits,))
    order, blocked = (sparsity.array(slot, np.int32).tolist() for slot in (0, 1))
    levels = list(sparsity.tables(2))
    if (
        stored is None
        or sorted(order) != list(range(len(shape) + len(blocked)))
        or len(levels) != len(order)
        or len(set(blocked)) != len(blocked)
        or not set(blocked) <= set(range(len(shape)))
    ):
        return None
    found = _coordinates(levels, stored.size, count)
    if found is None:
        return None
    coordinates = dict(zip(order, found, strict=True))
    block = {
        dimension: levels[order.index(len(shape) + at)].scalar(1, "i") for at, dimension in enumerate(blocked)
    }
    indices = []
    for dimension, length in enumerate(shape):
        index = coordinates[dimension]
        if dimension in block:
            index = index * block[dimension] + coordinates[len(shape) + blocked.index(dimension)]
        if index.size and (index.min() < 0 or index.max() >= length):
            return None
        indices.append(index)
    whole = np.zeros(shape, stored.dtype)
    whole[tuple(indices)] = stored
    return whole


def _coordinates(levels: list[Table], count: int, most: int) -> list[Array] | None:
    """Where each of `count` stored elements lies, an array a level; None unless the levels hold just as many.

    `most` is how many elements the whole tensor has.
    """
    found: list[Array] = []
    entries = 1
    for level in levels:
        if level.scalar(0, "b") == _COMPRESSED:
            segments, own = _indices(level, 2), _indices(level, 4)
            lengths = np.diff(segments)
            if (
                len(segments) != entries + 1
                or segments[0] != 0
                or segments[-1] != len(own)
                or (lengths < 0).any()
            ):
                return None
            found = [np.repeat(each, lengths) for each in found]
        else:
            length = level.scalar(1, "i")
            if length < 1 or entries * length > most:
                return None
            own = np.tile(np.arange(length), entries)
            found = [np.repeat(each, length) for each in found]
        if len(own) > most:
            return None
        found.append(own)
        entries = len(own)
    return found if entries == count else None


def _indices(level: Table, slot: int) -> Array:
    """A list of indices of a level, in whatever width it is stored."""
    vector, kind = level.table(slot + 1), _INDEX_TYPES.get(level.scalar(slot, "B"))
    if vector is None or kind is None:
        return np.empty(0, np.int64)
    return vector.array(0, kind).astype(np.int64)
