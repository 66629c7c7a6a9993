"""Finds the tensors in what a PyTorch pickle describes: names, types and shapes, without their data."""

from __future__ import annotations

from typing import Any

from edgestudio.model.dtypes import size_bytes
from edgestudio.model.formats.pickle_text import Made, Named, Reading, Stored, dangers, strangers, walk
from edgestudio.model.graph import Tensor
from edgestudio.wire.errors import ModelError

_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "QInt8Storage": "int8", "QUInt8Storage": "uint8",
    "QInt32Storage": "int32", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}  # fmt: skip


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


def tensor_of(name: str, value: Any) -> Tensor | None:
    """The tensor that a call of PyTorch's rebuild functions stands for; None for anything else."""
    if not isinstance(value, Made) or not isinstance(value.arguments, tuple):
        return None
    maker, arguments = value.name, value.arguments
    if maker.endswith(("_rebuild_parameter", "_rebuild_parameter_with_state")) and arguments:
        return tensor_of(name, arguments[0])
    if maker.endswith("_rebuild_from_type_v2") and len(arguments) > 2 and isinstance(arguments[2], tuple):
        return tensor_of(name, Made(arguments[0], arguments[2]))
    if maker.endswith(("_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor", "_rebuild_tensor")):
        storage = arguments[0] if arguments else None
        key = storage.key if isinstance(storage, Stored) else None
        shape = arguments[2] if len(arguments) > 2 else None
        if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
            return None
        dtype = _dtype(key)
        if maker.endswith("_v3"):
            dtype = next((a.path.removeprefix("torch.") for a in arguments if isinstance(a, Named)), dtype)
        return Tensor(name, dtype, shape, "constant", size_bytes(dtype, shape))
    return None


def _dtype(key: Any) -> str:
    kind = key[1] if isinstance(key, tuple) and len(key) > 1 else None
    return _STORAGES.get(kind.path.rpartition(".")[2], "") if isinstance(kind, Named) else ""


def tensors_below(value: Any) -> list[Tensor]:
    """Every tensor in what a pickle describes, by the dotted path at which it is."""
    return [tensor for path, item in walk(value) if (tensor := tensor_of(path or "tensor", item)) is not None]
