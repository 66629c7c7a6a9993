"""Weights of TensorFlow models: constants of the graph and its functions, variables of the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edgestudio.model.arrays import MAX_UNPACKED, Array, Loader, array_at, mapped
from edgestudio.model.content import Buffer
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import elements
from edgestudio.model.formats.metagraph import checkpoint
from edgestudio.model.formats.tensor_bundle import Variable, stored
from edgestudio.model.formats.tensorflow_text import binary
from edgestudio.model.formats.tensorflow_values import dtype_of, listed_elements, shape_of
from edgestudio.model.message import Message


def graphdef(found: Recognised) -> dict[str, Loader]:
    """A function for each constant."""
    return _constants(Message(binary(mapped(found.file), found.path.name)))


def metagraph(found: Recognised) -> dict[str, Loader]:
    """A function for each variable of the checkpoint beside it and each constant of the graph."""
    index, *shards = checkpoint(found.file) or [found.file]
    known = _variables(index, shards) if shards else {}
    definition = Message(memoryview(mapped(found.file))).message(2)
    return known if definition is None else {**_constants(definition), **known}


def savedmodel(found: Recognised) -> dict[str, Loader]:
    """A function for each variable and each constant of the graph and the functions in it."""
    folder = found.file.parent / "variables"
    index, shards = folder / "variables.index", sorted(folder.glob("variables.data-*"))
    known = _variables(index, shards) if index.is_file() else {}
    for meta in Message(binary(mapped(found.file), found.path.name)).messages(2):
        definition = meta.message(2)
        if definition is not None:
            for name, loader in _constants(definition).items():
                known.setdefault(name, loader)
            break
    return known


def _variables(index: Path, shards: Sequence[Path]) -> dict[str, Loader]:
    maps = {number: mapped(path) for number, path in enumerate(shards)}
    return {
        variable.tensor.name: partial(_variable, maps[variable.shard], variable)
        for variable in stored(index).values()
        if variable.shard in maps
    }


def _variable(buffer: Buffer, variable: Variable) -> Array | None:
    tensor = variable.tensor
    shape = tuple(size for size in tensor.shape or () if isinstance(size, int))
    return array_at(buffer, variable.offset, tensor.size_bytes or 0, tensor.dtype, shape)


def _constants(definition: Message) -> dict[str, Loader]:
    known: dict[str, Loader] = {}
    for node in _nodes(definition):
        if node.text(2) != "Const":
            continue
        for entry in node.messages(5):
            value = entry.message(2)
            tensor = value.message(8) if value is not None and entry.text(1) == "value" else None
            if tensor is not None:
                known.setdefault(node.text(1), partial(_array, tensor))
    return known


def _nodes(definition: Message) -> Iterator[Message]:
    """The nodes of the graph, then those of its functions."""
    yield from definition.messages(1)
    library = definition.message(2)
    for function in library.messages(1) if library is not None else ():
        yield from function.messages(3)


def _array(tensor: Message) -> Array | None:
    dtype, shape = dtype_of(tensor.integer(1)), shape_of(tensor.message(2)) if 2 in tensor else ()
    count = elements(shape)
    if count is None or shape is None or count > MAX_UNPACKED:
        return None
    sizes = [size for size in shape if isinstance(size, int)]
    views = tensor.views(4)
    if views and len(views[-1]):
        return array_at(views[-1], 0, len(views[-1]), dtype, sizes)
    values = listed_elements(tensor, dtype)
    if not values or len(values) > count:
        return np.zeros(sizes, np.float32) if values == [] else None
    # The last element stands for all that follow.
    filled = np.full(count, values[-1], np.dtype(dtype))
    filled[: len(values)] = values
    return filled.reshape(sizes)
