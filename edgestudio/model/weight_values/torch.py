"""Weights of PyTorch archives: the pickle says which storage, at what offset, in what strides; nothing is unpickled."""

from __future__ import annotations

import io
import zipfile
from functools import partial

from edgestudio.model.arrays import Array, Loader, mapped
from edgestudio.model.content import Buffer
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.archive import TEXT_LIMIT_BYTES, opened_zip, read_entry, stored_span
from edgestudio.model.formats.pickle_text import Reading
from edgestudio.model.formats.state_dict import LEGACY_MAGIC, legacy_storages
from edgestudio.model.formats.torch_values import Placed, placed_below, placed_of, read_placed, storage_types

_ENTRY_LIMIT_BYTES = 1 << 30


def state_dict(found: Recognised) -> dict[str, Loader]:
    """A function for each tensor of a state dict or checkpoint."""
    buffer = mapped(found.file)
    if bytes(buffer[:2]) != b"PK":
        return _legacy(buffer)
    with opened_zip(found.file) as archive:
        names = archive.namelist()
        entry = min((item for item in names if item.endswith("data.pkl")), key=len)
        value = Reading(read_entry(archive, entry)).value
        root = entry.removesuffix("data.pkl")
        return _from_zip(found, archive, placed_below(value), f"{root}data/", buffer)


def torchscript(found: Recognised) -> dict[str, Loader]:
    """A function for each parameter, buffer and constant of the module."""
    buffer = mapped(found.file)
    with opened_zip(found.file) as archive:
        names = archive.namelist()
        root = next(item for item in names if item.endswith("data.pkl")).removesuffix("data.pkl")
        placed = placed_below(Reading(read_entry(archive, f"{root}data.pkl")).value)
        known = _from_zip(found, archive, placed, f"{root}data/", buffer)
        if f"{root}constants.pkl" in names:
            value = Reading(read_entry(archive, f"{root}constants.pkl")).value
            items = value if isinstance(value, (list, tuple)) else ()
            constants = [
                (f"CONSTANTS.c{at}", one) for at, item in enumerate(items) if (one := placed_of(item))
            ]
            known.update(_from_zip(found, archive, constants, f"{root}constants/", buffer))
        return known


def _from_zip(
    found: Recognised,
    archive: zipfile.ZipFile,
    tensors: list[tuple[str, Placed]],
    folder: str,
    buffer: Buffer,
) -> dict[str, Loader]:
    names = set(archive.namelist())
    root = folder.rstrip("/").rpartition("/")[0]
    if f"{root}/byteorder" in names and read_entry(archive, f"{root}/byteorder").strip() == b"big":
        return {}
    spans: dict[str, tuple[int, int] | None] = {}
    known: dict[str, Loader] = {}
    for name, placed in tensors:
        entry = f"{folder}{placed.storage}"
        if entry not in names or placed.offset < 0:
            continue
        if entry not in spans:
            spans[entry] = stored_span(archive, entry)
        span = spans[entry]
        if span is None:
            known[name] = partial(_compressed, found, entry, placed)
        else:
            known[name] = partial(read_placed, memoryview(buffer)[span[0] : sum(span)], placed)
    return known


def _compressed(found: Recognised, entry: str, placed: Placed) -> Array | None:
    with opened_zip(found.file) as archive:
        return read_placed(memoryview(read_entry(archive, entry, _ENTRY_LIMIT_BYTES)), placed)


def _legacy(buffer: Buffer) -> dict[str, Loader]:
    """Four pickles in a row, a fifth with the keys of the storages, then each storage: its length and its bytes."""
    stream = io.BytesIO(buffer[:TEXT_LIMIT_BYTES])
    if Reading(stream).value != LEGACY_MAGIC:
        return {}
    for _ in range(2):
        Reading(stream)
    value = Reading(stream).value
    keys = Reading(stream).value
    starts = legacy_storages(memoryview(buffer), stream.tell(), keys, storage_types(value))
    return {
        name: partial(read_placed, starts[placed.storage], placed)
        for name, placed in placed_below(value)
        if placed.storage in starts and placed.offset >= 0
    }
