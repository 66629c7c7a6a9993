"""Weights of formats that keep them as plain bytes at a place that is known: safetensors, OpenVINO."""

from __future__ import annotations

import json
from functools import partial

from edgestudio.model.arrays import Loader, array_at, mapped
from edgestudio.model.detect import Recognised
from edgestudio.model.formats import openvino as ir
from edgestudio.model.formats import safetensors as tensors
from edgestudio.model.links import stays_inside


def safetensors(found: Recognised) -> dict[str, Loader]:
    """A function for each weight."""
    known: dict[str, Loader] = {}
    shapes = {weight.name: weight for weight in tensors.read(found).weights}
    for file in tensors.shards(found):
        buffer = mapped(file)
        length = int.from_bytes(buffer[:8], "little")
        header = json.loads(bytes(buffer[8 : 8 + length]))
        for name in header.keys() & shapes.keys():
            start, end = header[name]["data_offsets"]
            tensor = shapes[name]
            shape = tuple(size for size in tensor.shape or () if isinstance(size, int))
            known[name] = partial(array_at, buffer, 8 + length + start, end - start, tensor.dtype, shape)
    return {name: known[name] for name in shapes if name in known}


def openvino(found: Recognised) -> dict[str, Loader]:
    """A function for each constant of the main graph; none where the `.bin` file is missing."""
    weights = found.file.with_suffix(".bin")
    if not weights.is_file() or not stays_inside(weights, weights.parent):
        return {}
    buffer = mapped(weights)
    return {
        name: partial(array_at, buffer, start, size, dtype, shape)
        for name, dtype, shape, start, size in ir.stored_constants(found.file)
    }
