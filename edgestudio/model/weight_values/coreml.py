"""Weights of Core ML models: those of neural networks as what they stand for, those of ML programs from their blobs."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgestudio.model.arrays import MAX_UNPACKED, Array, Loader, array_at, mapped
from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import elements
from edgestudio.model.formats.coreml import schema
from edgestudio.model.formats.coreml_network import Stored, read_layers
from edgestudio.model.message import Message
from edgestudio.model.weight_values.coreml_program import Program

_FLOATS, _HALVES, _RAW, _INT8, _QUANTIZATION = 1, 2, 30, 31, 40
_NETWORKS = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")
_PIPELINES = ("pipeline", "pipelineClassifier", "pipelineRegressor")


def loaders(found: Recognised) -> dict[str, Loader]:
    """A function for each weight, and for each compressed weight of a program as what it unpacks to."""
    known: dict[str, Loader] = {}
    _model(found, Message(memoryview(mapped(found.file))), known, 0)
    return known


def _model(found: Recognised, message: Message, known: dict[str, Loader], depth: int) -> None:
    if depth > MAX_DEPTH:
        return
    numbers = {name: int(number) for number, name in schema()["types"].items()}
    program = message.message(numbers["mlProgram"])
    if program is not None:
        for name, loader in Program(found, program).loaders().items():
            known.setdefault(name, loader)
    for kind in _NETWORKS:
        network = message.message(numbers[kind])
        if network is not None:
            places: dict[str, Stored] = {}
            read_layers(GraphBuilder(kind), network, schema(), places)
            for name, stored in places.items():
                known.setdefault(name, partial(_array, stored))
    for kind in _PIPELINES:
        pipeline = message.message(numbers[kind])
        inner = pipeline.message(1) if pipeline is not None and kind != "pipeline" else pipeline
        for stage in inner.messages(1) if inner is not None else ():
            _model(found, stage, known, depth + 1)


def _array(stored: Stored) -> Array | None:
    """The weight in real numbers; quantised ones are unfolded by their scale and bias, or their table."""
    message, shape = stored.message, stored.shape
    if message.views(_FLOATS):
        data = b"".join(bytes(view) for view in message.views(_FLOATS))
        return array_at(data, 0, len(data), "float32", shape)
    for number, dtype in ((_HALVES, "float16"), (_INT8, "int8")):
        if message.views(number):
            data = message.data(number)
            return array_at(data, 0, len(data), dtype, shape)
    data, quantization = message.data(_RAW), message.message(_QUANTIZATION)
    count = elements(shape)
    if quantization is None or count is None or count > MAX_UNPACKED:
        return None
    bits = quantization.integer(1)
    if not 1 <= bits <= 8 or len(data) * 8 < count * bits:
        return None
    # Core ML packs the first element into the highest bits.
    flags = np.unpackbits(np.frombuffer(data, np.uint8))[: count * bits].reshape(count, bits)
    codes = np.packbits(flags, axis=1).reshape(count) >> (8 - bits)
    return _unfolded(codes, quantization, shape)


def _unfolded(codes: Array, quantization: Message, shape: tuple[int, ...]) -> Array | None:
    linear, table = quantization.message(101), quantization.message(102)
    if table is not None:
        entries = np.array(table.reals(1), np.float32)
        return entries[codes].reshape(shape) if len(entries) > int(codes.max(initial=0)) else None
    if linear is None:
        return None
    scale = np.array(linear.reals(1), np.float32)
    bias = np.array(linear.reals(2) or [0.0], np.float32)
    values = codes.astype(np.float32).reshape(shape)
    if len(scale) > 1:
        if len(scale) != shape[0]:
            return None
        scale = scale.reshape(-1, *([1] * (len(shape) - 1)))
        bias = bias.reshape(scale.shape) if bias.size == scale.size else bias[:1]
    return values * scale + bias
