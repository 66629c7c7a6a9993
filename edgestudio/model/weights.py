"""Reads the values of single weights, on demand: for statistics and for comparing two models."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from edgestudio.model.arrays import Loader
from edgestudio.model.detect import detect
from edgestudio.model.reading import refuse_damage
from edgestudio.model.texts import writable
from edgestudio.runtime.format_names import format_title
from edgestudio.wire.errors import ModelError

_ROOM = "edgestudio.model.weight_values"
_READERS = {
    "onnx": "onnx", "tflite": "tflite", "safetensors": "plain:safetensors", "openvino": "plain:openvino",
    "keras": "keras", "coreml": "coreml", "torchscript": "torch:torchscript", "state-dict": "torch:state_dict",
    "torch-export": "torch_export", "savedmodel": "tensorflow:savedmodel", "graphdef": "tensorflow:graphdef",
    "metagraph": "tensorflow:metagraph",
}  # fmt: skip


def weight_loaders(path: Path) -> Mapping[str, Loader]:
    """For each weight of the model, by the name that its tensor has in the graph, a function that reads it.

    Raises ModelError for a format that holds no readable weights (a TensorRT engine) and for damaged files.
    """
    found = detect(path)
    place = _READERS.get(found.format)
    if place is None:
        raise ModelError(
            f"The values of weights in a {format_title(found.format)} file cannot be read.",
            hint="Open the model that it was made from.",
            code="unsupported-format",
        )
    module, _, name = place.partition(":")
    reader = getattr(importlib.import_module(f"{_ROOM}.{module}"), name or "loaders")
    with refuse_damage(found):
        loaders: Mapping[str, Loader] = reader(found)
    return {writable(name): load for name, load in loaders.items()}
