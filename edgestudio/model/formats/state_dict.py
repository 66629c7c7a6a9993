"""Lists the weights of a PyTorch state dict or checkpoint, new (zip) or old (pickle); it holds no graph."""

from __future__ import annotations

import io
from typing import Any

from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.archive import TEXT_LIMIT_BYTES, opened_zip, read_entry
from edgestudio.model.formats.pickle_text import PickleError, Reading
from edgestudio.model.formats.torch_values import check_names, tensors_below
from edgestudio.model.graph import Model, Tensor
from edgestudio.wire.errors import ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_NO_GRAPH = (
    "the file holds weights only, no graph: export the model to ONNX or torch.export to see and run it"
)


def read(found: Recognised) -> Model:
    """The weights in `found.file`; raises ModelError when it would run code or holds no tensors."""
    name = found.path.name
    with opened(found.file) as buffer:
        size = len(buffer)
        if bytes(buffer[:2]) == b"PK":
            with opened_zip(found.file) as archive:
                entry = min((item for item in archive.namelist() if item.endswith("data.pkl")), key=len)
                reading = Reading(read_entry(archive, entry))
            version = "zip"
        else:
            reading = _legacy(buffer[:TEXT_LIMIT_BYTES], name)
            version = "legacy pickle"
    warnings = [*found.warnings, *check_names(name, reading)]
    weights = tensors_below(reading.value)
    if not weights:
        raise ModelError(
            f"{name} is a Python pickle that holds no tensors. It was not loaded, since loading could run code.",
            hint="Open the model file itself: ONNX, TorchScript, torch.export, safetensors or a state dict.",
            code="not-a-model",
        )
    return Model(
        format="state-dict",
        format_version=version,
        producer="PyTorch",
        opsets={},
        graphs=(),
        size_bytes=size,
        metadata=_facts(reading.value, weights),
        warnings=(*warnings, _NO_GRAPH),
        weights=tuple(weights),
    )


def _legacy(data: bytes, name: str) -> Reading:
    """The fourth of the pickles that old files hold in a row: magic number, protocol, system, then the object."""
    stream = io.BytesIO(data)
    try:
        first = Reading(stream)
        if first.value != _MAGIC:
            return first
        for _ in range(2):
            check_names(name, Reading(stream))
        return Reading(stream)
    except PickleError as error:
        raise ModelError(
            f"{name} is {error}.",
            hint="Fetch it again and compare its size or checksum with the source.",
            code="damaged-model",
        ) from error


def _facts(value: Any, weights: list[Tensor]) -> dict[str, str]:
    """Plain numbers and texts at the top of a checkpoint, such as its epoch."""
    facts = {"tensors": str(len(weights))}
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (int, float, str)) and isinstance(key, str) and len(str(item)) < 200:
                facts[key] = str(item)
    return facts
