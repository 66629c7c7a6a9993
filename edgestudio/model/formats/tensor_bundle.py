"""Lists the variables of a TensorFlow checkpoint from its index, without reading their values.

The index is a LevelDB table: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from edgestudio.model.content import opened
from edgestudio.model.formats.tensorflow_values import dtype_of, shape_of
from edgestudio.model.graph import Tensor
from edgestudio.model.message import Message
from edgestudio.runtime.protobuf import WireError, read_varint
from edgestudio.wire.errors import ModelError

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES = 48
_SNAPPY = 1
_MAX_BLOCK_BYTES = 64 << 20
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_EVERY = "_all_variables/"
_AGAIN = ("variables/", "trainable_variables/", "non_trainable_variables/")
_NOT_WEIGHTS = (
    ".OPTIMIZER_SLOT",
    "save_counter",
    "optimizer/",
    "keras_api/metrics",
    "_CHECKPOINTABLE_OBJECT_GRAPH",
)


_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_CRC_BYTES = 4


class Variable(NamedTuple):
    """A variable of the checkpoint: its type and shape, and in which file, from where on, its bytes lie."""

    tensor: Tensor
    shard: int
    offset: int


def listed(found: Mapping[str, Variable]) -> list[Variable]:
    """The variables that `stored` found, each once."""
    is_listed_twice = any(key.startswith(_EVERY) for key in found)  # Keras: once more in lists by kind
    return [variable for key, variable in found.items() if not (is_listed_twice and key.startswith(_AGAIN))]


def stored(index: Path) -> dict[str, Variable]:
    """The model's variables by their keys in the checkpoint, named as the program named them; raises ModelError.

    A name that two share is no name: those are called by their keys.
    """
    with opened(index) as buffer:
        view = memoryview(buffer)
        try:
            entries = {key.decode("utf-8", "replace"): value for key, value in _entries(view)}
            given = _given_names(index, entries.get(_OBJECTS))
            keys = [key for key in entries if key and not any(part in key for part in _NOT_WEIGHTS)]
            is_listed_twice = any(key.startswith(_EVERY) for key in keys)
            shared = Counter(
                given[key]
                for key in keys
                if key in given and not (is_listed_twice and key.startswith(_AGAIN))
            )
            found = {}
            for key in keys:
                name = given.get(key, "")
                found[key] = _variable(name if shared[name] == 1 else key.removesuffix(_SUFFIX), entries[key])
        except (IndexError, ValueError) as error:
            raise ModelError(
                f"{index.name} is a checkpoint index that is damaged: {error}.",
                hint="Copy the SavedModel folder, or all files of the checkpoint, again.",
                code="damaged-model",
            ) from error
    return found


def _given_names(index: Path, value: memoryview | None) -> dict[str, str]:
    """Keys of the checkpoint to the names of variables, from the graph of objects that it was saved with.

    `TrackableObjectGraph`, kept as a text of one element: its length, a checksum, its bytes
    (https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/trackable_object_graph.proto).
    """
    entry = Message(value) if value is not None else None
    shards = sorted(index.parent.glob("variables.data-*"))
    if entry is None or not 0 <= entry.integer(3) < len(shards):
        return {}
    with opened(shards[entry.integer(3)]) as buffer:
        text = memoryview(bytes(buffer[entry.integer(4) : entry.integer(4) + entry.integer(5)]))
    if not text:
        return {}
    length, start = read_varint(text, 0)
    objects = Message(text[start + _CRC_BYTES : start + _CRC_BYTES + length])
    return {
        attribute.text(3): attribute.text(2)
        for node in objects.messages(1)
        for attribute in node.messages(2)
        if attribute.text(2)
    }


def _variable(name: str, value: memoryview) -> Variable:
    entry = Message(value)
    shape = shape_of(entry.message(2)) if 2 in entry else ()
    tensor = Tensor(name, dtype_of(entry.integer(1)), shape, "constant", entry.integer(5))
    return Variable(tensor, entry.integer(3), entry.integer(4))


def _entries(view: memoryview) -> list[tuple[bytes, memoryview]]:
    if len(view) < _FOOTER_BYTES or bytes(view[-8:]) != _MAGIC:
        raise ValueError("it does not end as one must")
    footer = view[-_FOOTER_BYTES:]
    position = 0
    for _ in range(2):
        _, position = read_varint(footer, position)
    start, position = read_varint(footer, position)
    size, _ = read_varint(footer, position)
    found: list[tuple[bytes, memoryview]] = []
    for _, handle in _block(view, start, size):
        offset, position = read_varint(handle, 0)
        length, _ = read_varint(handle, position)
        found += _block(view, offset, length)
    return found


def _block(view: memoryview, start: int, size: int) -> list[tuple[bytes, memoryview]]:
    """Keys and values of one block; keys share prefixes with the one before."""
    if start + size + 1 > len(view):
        raise WireError("a block reaches past the end", start)
    block = view[start : start + size]
    if view[start + size] == _SNAPPY:
        block = memoryview(unsnap(block))
        size = len(block)
    elif view[start + size] != 0:
        raise WireError("a block is compressed in a way that is not known", start)
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    if end < 0:
        raise WireError("a block is shorter than its own index", start)
    found: list[tuple[bytes, memoryview]] = []
    key, position = b"", 0
    while position < end:
        shared, position = read_varint(block, position)
        own, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if shared > len(key) or position + own + length > end:
            raise WireError("an entry reaches past the end of its block", start + position)
        key = key[:shared] + bytes(block[position : position + own])
        position += own
        found.append((key, block[position : position + length]))
        position += length
    return found


def unsnap(view: memoryview) -> bytes:
    """Unpack Snappy (https://github.com/google/snappy/blob/main/format_description.txt); raises WireError."""
    total, position = read_varint(view, 0)
    if total > _MAX_BLOCK_BYTES:
        raise WireError(f"a block unpacks to {total} bytes", 0)
    out = bytearray()
    while position < len(view) and len(out) <= total:
        tag = view[position]
        position += 1
        kind = tag & 3
        if kind == 0:
            length = tag >> 2
            if length >= 60:
                width = length - 59
                length = int.from_bytes(view[position : position + width], "little")
                position += width
            out += view[position : position + length + 1]
            position += length + 1
            continue
        if kind == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | view[position]
            position += 1
        else:
            width = 2 if kind == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(view[position : position + width], "little")
            position += width
        if not 0 < offset <= len(out):
            raise WireError("a copy from before the start", position)
        for _ in range(length):
            out.append(out[-offset])
    if len(out) != total:
        raise WireError("a block unpacks to another size than it says", position)
    return bytes(out)
