"""Lists the weights of a PyTorch state dict or checkpoint, new (zip) or old (pickle); it holds no graph."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from typing import Any

from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import BITS
from edgestudio.model.formats.archive import TEXT_LIMIT_BYTES, opened_zip, read_entry
from edgestudio.model.formats.pickle_text import PickleError, Reading
from edgestudio.model.formats.torch_values import check_names, small_storage, storage_types, tensors_below
from edgestudio.model.graph import Model, Tensor
from edgestudio.wire.errors import ModelError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_COUNT_BYTES = 8
_MAX_OPTIMIZERS = 64
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
                warnings = [*found.warnings, *check_names(name, reading)]
                folder = entry.removesuffix("data.pkl") + "data/"
                weights = tensors_below(reading.value, partial(small_storage, archive, folder))
            version = "zip"
        else:
            reading, storages = _legacy(memoryview(buffer), name)
            warnings = [*found.warnings, *check_names(name, reading)]
            weights = tensors_below(reading.value, storages.get)
            version = "legacy pickle"
    weights, others = _without_optimizers(reading.value, weights)
    if others and not weights:
        raise ModelError(
            f"{name} holds the state of an optimizer ({others} tensors), no weights of a model.",
            hint="Open the file that was saved beside it with the model's state dict.",
            code="not-a-model",
        )
    if others:
        warnings.append(
            f"{others} tensors are the state of an optimizer, not of the model; they are not counted"
        )
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
        metadata=_facts(reading.value, weights) | ({"optimizer tensors": str(others)} if others else {}),
        warnings=(*warnings, _NO_GRAPH),
        weights=tuple(weights),
    )


def _legacy(view: memoryview, name: str) -> tuple[Reading, dict[str, memoryview]]:
    """The fourth of the pickles that old files hold in a row: magic number, protocol, system, then the object.

    A fifth lists the storages, whose bytes follow.
    """
    stream = io.BytesIO(view[:TEXT_LIMIT_BYTES])
    try:
        first = Reading(stream)
        if first.value != LEGACY_MAGIC:
            return first, {}
        for _ in range(2):
            check_names(name, Reading(stream))
        reading = Reading(stream)
        types = storage_types(reading.value)
        keys = Reading(stream).value if types else ()
        return reading, legacy_storages(view, stream.tell(), keys, types)
    except PickleError as error:
        raise ModelError(
            f"{name} is {error}.",
            hint="Fetch it again and compare its size or checksum with the source.",
            code="damaged-model",
        ) from error


def legacy_storages(
    view: memoryview, position: int, keys: Any, types: Mapping[str, str]
) -> dict[str, memoryview]:
    """The bytes of each storage behind the pickles of an old file: how many elements, then the elements."""
    found: dict[str, memoryview] = {}
    for key in map(str, keys if isinstance(keys, list) else ()):
        count = int.from_bytes(view[position : position + _COUNT_BYTES], "little")
        position += _COUNT_BYTES
        size = count * BITS.get(types.get(key, ""), 0) // 8
        if (not size and count) or position + size > len(view):
            break  # from here on nobody knows where the next one begins
        found[key] = view[position : position + size]
        position += size
    return found


def _without_optimizers(value: Any, tensors: list[Tensor]) -> tuple[list[Tensor], int]:
    """The tensors that are the model's, and the number of those that an optimizer keeps for training on."""
    places = [("", value)] if isinstance(value, dict) else []
    for key, item in value.items() if isinstance(value, dict) else ():
        places.append((f"{key}.", item))
        if isinstance(item, (list, tuple)):
            places += [(f"{key}.{at}.", part) for at, part in enumerate(item[:_MAX_OPTIMIZERS])]
    prefixes = tuple(
        prefix
        for prefix, item in places
        if isinstance(item, dict) and "param_groups" in item and isinstance(item.get("state"), dict)
    )
    kept = [tensor for tensor in tensors if not prefixes or not tensor.name.startswith(prefixes)]
    return kept, len(tensors) - len(kept)


def _facts(value: Any, weights: list[Tensor]) -> dict[str, str]:
    """Plain numbers and texts at the top of a checkpoint, such as its epoch."""
    facts = {"tensors": str(len(weights))}
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (int, float, str)) and isinstance(key, str) and len(str(item)) < 200:
                facts[key] = str(item)
    return facts
