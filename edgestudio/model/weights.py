"""Reads the values of single weights, on demand: for statistics and for comparing two models."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgestudio.model.building import MAX_DEPTH
from edgestudio.model.content import Buffer
from edgestudio.model.detect import Recognised, detect
from edgestudio.model.dtypes import BITS, elements
from edgestudio.model.formats.onnx_external import check_location
from edgestudio.model.formats.onnx_values import TensorHeader, header_values, tensor_header
from edgestudio.model.message import Message
from edgestudio.wire.errors import ModelError

Array = npt.NDArray[Any]
_MAX_TYPED = 1 << 28


def weight_loaders(path: Path) -> Mapping[str, Callable[[], Array | None]]:
    """For each weight of the model a function that reads it; the function returns None for packed types.

    Known for ONNX, TFLite, safetensors and OpenVINO; raises ModelError for other formats.
    """
    found = detect(path)
    reader = _READERS.get(found.format)
    if reader is None:
        raise ModelError(
            f"The values of weights in {found.format} files cannot be read here.",
            hint="Known are ONNX, TFLite, safetensors and OpenVINO; convert the model to ONNX.",
            code="unsupported-format",
        )
    return reader(found)


def _mapped(path: Path) -> Buffer:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""


def _array(
    buffer: Buffer | memoryview, start: int, size: int, dtype: str, shape: tuple[int, ...]
) -> Array | None:
    """The elements at `buffer[start:start + size]`; bfloat16 as float32, None for types of less than a byte."""
    count = elements(shape)
    bits = BITS.get(dtype, 0)
    if count is None or bits < 8 or count * bits // 8 != size or start + size > len(buffer):
        return None
    if dtype == "bfloat16":
        halves = np.frombuffer(buffer, "<u2", count, start)
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)
    try:
        return np.frombuffer(buffer, np.dtype(dtype).newbyteorder("<"), count, start).reshape(shape)
    except TypeError:
        return None


def _onnx(found: Recognised) -> dict[str, Callable[[], Array | None]]:
    view = memoryview(_mapped(found.file))
    loaders: dict[str, Callable[[], Array | None]] = {}
    for graph in Message(view).views(7)[-1:]:
        for header in _headers(graph, 0):
            name = header.name.decode("utf-8", "replace")
            loaders.setdefault(name, partial(_onnx_array, found.file, name, header))
    return loaders


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


def _onnx_array(model: Path, name: str, header: TensorHeader) -> Array | None:
    bits = BITS.get(header.dtype, 0)
    size = (elements(header.dims) or 0) * bits // 8
    if header.external:
        path = check_location(model, name, header.external.get("location", ""))
        if not path.is_file():
            return None
        offset = header.external.get("offset", "0")
        return _array(_mapped(path), int(offset) if offset.isdigit() else 0, size, header.dtype, header.dims)
    if header.raw is not None:
        return _array(header.raw, 0, len(header.raw), header.dtype, header.dims)
    values = header_values(header, _MAX_TYPED)
    return None if values is None else np.array(values, header.dtype).reshape(header.dims)


def _tflite(found: Recognised) -> dict[str, Callable[[], Array | None]]:
    from edgestudio.model.formats.tflite import stored_constants

    buffer = _mapped(found.file)
    loaders: dict[str, Callable[[], Array | None]] = {}
    for name, dtype, shape, start, size in stored_constants(buffer):
        loaders.setdefault(name, partial(_array, buffer, start, size, dtype, shape))
    return loaders


def _safetensors(found: Recognised) -> dict[str, Callable[[], Array | None]]:
    from edgestudio.model.formats import safetensors

    model = safetensors.read(found)
    buffer = _mapped(found.file)
    length = int.from_bytes(buffer[:8], "little")
    header = json.loads(bytes(buffer[8 : 8 + length]))
    loaders: dict[str, Callable[[], Array | None]] = {}
    for tensor in model.weights:
        start, end = header[tensor.name]["data_offsets"]
        shape = tuple(size for size in tensor.shape or () if isinstance(size, int))
        at = 8 + length + start
        loaders[tensor.name] = partial(_array, buffer, at, end - start, tensor.dtype, shape)
    return loaders


def _openvino(found: Recognised) -> dict[str, Callable[[], Array | None]]:
    from edgestudio.model.formats.openvino import stored_constants

    weights = found.file.with_suffix(".bin")
    if not weights.is_file():
        return {}
    buffer = _mapped(weights)
    return {
        name: partial(_array, buffer, start, size, dtype, shape)
        for name, dtype, shape, start, size in stored_constants(found.file)
    }


_READERS: dict[str, Callable[[Recognised], Mapping[str, Callable[[], Array | None]]]] = {
    "onnx": _onnx, "tflite": _tflite, "safetensors": _safetensors, "openvino": _openvino,
}  # fmt: skip
