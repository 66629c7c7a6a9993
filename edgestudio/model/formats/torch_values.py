"""Finds the tensors in what a PyTorch pickle describes: names, types and shapes, without their data."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

from edgestudio.model.arrays import Array, strided
from edgestudio.model.dtypes import BITS, size_bytes
from edgestudio.model.formats.archive import read_entry
from edgestudio.model.formats.pickle_text import Made, Named, Reading, Stored, dangers, strangers, walk
from edgestudio.model.graph import Quantization, Tensor
from edgestudio.wire.errors import ModelError

_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "QInt8Storage": "int8", "QUInt8Storage": "uint8",
    "QInt32Storage": "int32", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}  # fmt: skip
_MAX_CHANNELS = 1 << 16


def check_names(name: str, reading: Reading) -> list[str]:
    """Warnings about what the pickle would import; raises ModelError when it would run code."""
    found = dangers(reading.names)
    if found:
        raise ModelError(
            f"{name} would run code when it is loaded: its pickle calls {', '.join(found[:3])}. It was not loaded.",
            hint="Do not use this file. Ask for a safetensors, ONNX or torch.export file instead.",
            code="hostile-model",
        )
    others = strangers(reading.names)
    if others:
        return [f"loading it in Python would import {', '.join(others[:4])}{' …' if len(others) > 4 else ''}"]
    return []


class Placed(NamedTuple):
    """A tensor of a pickle: where it begins in which storage, and how far apart its elements are."""

    dtype: str
    shape: tuple[int, ...]
    storage: str
    offset: int
    strides: tuple[int, ...]
    quantization: Quantization | None = None
    channels: tuple[Any, Any, int] | None = None
    """Scales and zero points, tensors too (`Placed`), and the axis, where each channel has its own."""


def placed_of(value: Any) -> Placed | None:
    """What a call of PyTorch's rebuild functions stands for; None for anything else."""
    if not isinstance(value, Made) or not isinstance(value.arguments, tuple):
        return None
    maker, arguments = value.name, value.arguments
    if maker.endswith(("_rebuild_parameter", "_rebuild_parameter_with_state")) and arguments:
        return placed_of(arguments[0])
    if maker.endswith("_rebuild_from_type_v2") and len(arguments) > 2 and isinstance(arguments[2], tuple):
        return placed_of(Made(arguments[0], arguments[2]))
    if maker.endswith("_rebuild_sparse_tensor"):
        return _sparse(arguments)
    if not maker.endswith(
        ("_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor", "_rebuild_tensor")
    ):
        return None
    storage = arguments[0] if arguments else None
    key = storage.key if isinstance(storage, Stored) else None
    offset, shape, strides = (arguments[at] if len(arguments) > at else None for at in (1, 2, 3))
    if not _are_sizes(shape):
        return None
    dtype = _dtype(key)
    if maker.endswith("_v3"):
        dtype = next((a.path.removeprefix("torch.") for a in arguments if isinstance(a, Named)), dtype)
    quantizer = arguments[4] if maker.endswith("_qtensor") and len(arguments) > 4 else ()
    return Placed(
        dtype,
        shape,
        str(key[2]) if isinstance(key, tuple) and len(key) > 2 else "",
        offset if isinstance(offset, int) else -1,
        strides if _are_sizes(strides) else (),
        _quantization(quantizer, dtype),
        _channels(quantizer),
    )


def _are_sizes(value: Any) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and all(isinstance(size, int) for size in value)


def _sparse(arguments: tuple[Any, ...]) -> Placed | None:
    """A sparse tensor: its full shape with the type of its values, which lie nowhere as they are."""
    parts = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], tuple) else ()
    inner = next((found for part in reversed(parts) if (found := placed_of(part)) is not None), None)
    shape = next((part for part in parts if _are_sizes(part)), None)
    if shape is None:
        made = next((part for part in parts if isinstance(part, Made) and part.name.endswith("Size")), None)
        held = made.arguments[0] if made is not None and isinstance(made.arguments, tuple) else None
        shape = tuple(held) if isinstance(held, (list, tuple)) and _are_sizes(tuple(held)) else None
    return None if inner is None or shape is None else Placed(inner.dtype, shape, "", -1, ())


def _quantization(given: Any, dtype: str) -> Quantization | None:
    """Scale and zero point of a tensor that is quantised as a whole."""
    if not isinstance(given, tuple) or len(given) < 3:
        return None
    _, scale, zero = given[:3]
    if isinstance(scale, (int, float)) and isinstance(zero, int):
        return Quantization((float(scale),), (zero,), None, dtype)
    return None


def _channels(given: Any) -> tuple[Placed, Placed, int] | None:
    if not isinstance(given, tuple) or len(given) < 4 or not isinstance(given[3], int):
        return None
    scales, zeros = placed_of(given[1]), placed_of(given[2])
    return None if scales is None or zeros is None else (scales, zeros, given[3])


def read_placed(storage: memoryview, placed: Placed) -> Array | None:
    """The elements of a tensor from the bytes of its storage."""
    start = placed.offset * BITS.get(placed.dtype, 0) // 8
    return None if placed.offset < 0 else strided(storage, start, placed.dtype, placed.shape, placed.strides)


def small_storage(archive: zipfile.ZipFile, folder: str, key: str) -> memoryview | None:
    """The bytes of a storage in the archive, None for one that is missing or too large for scales."""
    info = archive.NameToInfo.get(f"{folder}{key}")
    if info is None or info.file_size > 16 * _MAX_CHANNELS:
        return None
    return memoryview(read_entry(archive, info.filename))


def with_channels(placed: Placed, storage_of: Callable[[str], memoryview | None]) -> Placed:
    """The tensor with the scale and zero point of each channel, which lie in storages of their own."""
    if placed.channels is None:
        return placed
    *tensors, axis = placed.channels
    found = []
    for tensor in tensors:
        storage = storage_of(tensor.storage)
        values = None if storage is None else read_placed(storage, tensor)
        if values is None or values.size > _MAX_CHANNELS:
            return placed
        found.append(values.reshape(-1))
    scales = tuple(float(value) for value in found[0])
    zeros = tuple(int(value) for value in found[1])
    return placed._replace(quantization=Quantization(scales, zeros, axis, placed.dtype))


def tensor_of(name: str, value: Any) -> Tensor | None:
    """The tensor that a call of PyTorch's rebuild functions stands for; None for anything else."""
    placed = placed_of(value)
    return None if placed is None else described(name, placed)


def described(name: str, placed: Placed) -> Tensor:
    """A placed tensor as a weight of the model."""
    size = size_bytes(placed.dtype, placed.shape)
    return Tensor(name, placed.dtype, placed.shape, "constant", size, placed.quantization)


def _dtype(key: Any) -> str:
    kind = key[1] if isinstance(key, tuple) and len(key) > 1 else None
    return _STORAGES.get(kind.path.rpartition(".")[2], "") if isinstance(kind, Named) else ""


def placed_below(value: Any) -> list[tuple[str, Placed]]:
    """Every tensor in what a pickle describes, with the dotted path at which it is."""
    return [
        (path or "tensor", placed) for path, item in walk(value) if (placed := placed_of(item)) is not None
    ]


def tensors_below(value: Any, storage_of: Callable[[str], memoryview | None]) -> list[Tensor]:
    """As `placed_below`, as weights of the model; `storage_of` gives a storage's bytes."""
    return [described(path, with_channels(placed, storage_of)) for path, placed in placed_below(value)]


def storage_types(value: Any) -> dict[str, str]:
    """The element type of every storage that these tensors lie in, by its key."""
    return {placed.storage: placed.dtype for _, placed in placed_below(value)}
