"""Weights of torch.export archives: raw files with a table in the newer form, a state dict inside in the older one."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from typing import Any

from edgestudio.model.arrays import Array, Loader, mapped
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.archive import opened_zip, read_entry, stored_span
from edgestudio.model.formats.pickle_text import Reading
from edgestudio.model.formats.torch_export import dtype_of
from edgestudio.model.formats.torch_values import Placed, placed_below, read_placed

_TABLES = ("weights_config.json", "constants_config.json")
_OLD = ("serialized_state_dict.pt", "serialized_constants.pt", "serialized_state_dict.json")
_ENTRY_LIMIT_BYTES = 1 << 30


def loaders(found: Recognised) -> dict[str, Loader]:
    """A function for each parameter, buffer and constant."""
    known: dict[str, Loader] = {}
    with opened_zip(found.file) as archive:
        for entry in archive.namelist():
            if entry.endswith(_TABLES):
                document = json.loads(read_entry(archive, entry))
                table = document.get("config", document) if isinstance(document, dict) else {}
                for name, row in table.items():
                    known[str(name)] = partial(_listed, found, entry.rpartition("/")[0], row)
            elif entry.endswith(_OLD):
                known.update(_nested(found, archive, entry))
    return known


def _listed(found: Recognised, folder: str, row: dict[str, Any]) -> Array | None:
    """One weight of the table, whose bytes are an entry of their own."""
    meta = row.get("tensor_meta")
    entry = f"{folder}/{row.get('path_name')}"
    with opened_zip(found.file) as archive:
        if not isinstance(meta, dict) or entry not in archive.namelist():
            return None
        shape, strides = ([_size(item) for item in meta.get(key) or ()] for key in ("sizes", "strides"))
        offset = _size(meta.get("storage_offset"))
        dtype = dtype_of(meta.get("dtype"))
        placed = Placed(dtype, tuple(shape), "", offset, tuple(strides))
        if row.get("use_pickle"):
            return _pickled(archive, entry)
        span = stored_span(archive, entry)
        if span is None:
            return read_placed(memoryview(read_entry(archive, entry, _ENTRY_LIMIT_BYTES)), placed)
        return read_placed(memoryview(mapped(found.file))[span[0] : sum(span)], placed)


def _size(item: Any) -> int:
    value = item.get("as_int") if isinstance(item, dict) else item
    return value if isinstance(value, int) else -1


def _pickled(archive: zipfile.ZipFile, entry: str) -> Array | None:
    """A tensor that was saved on its own with torch.save."""
    tensors = _inner(read_entry(archive, entry, _ENTRY_LIMIT_BYTES))
    return next((read_placed(storage, placed) for _, placed, storage in tensors), None)


def _nested(found: Recognised, archive: zipfile.ZipFile, entry: str) -> dict[str, Loader]:
    """The state dict that older archives hold, an archive in the archive."""
    data = read_entry(archive, entry, _ENTRY_LIMIT_BYTES)
    return {name: partial(read_placed, storage, placed) for name, placed, storage in _inner(data)}


def _inner(data: bytes) -> list[tuple[str, Placed, memoryview]]:
    if data[:2] != b"PK":
        return []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        entry = min((item for item in names if item.endswith("data.pkl")), key=len)
        root = entry.removesuffix("data.pkl")
        value = Reading(read_entry(archive, entry)).value
        return [
            (
                name,
                placed,
                memoryview(read_entry(archive, f"{root}data/{placed.storage}", _ENTRY_LIMIT_BYTES)),
            )
            for name, placed in placed_below(value)
            if f"{root}data/{placed.storage}" in names
        ]
