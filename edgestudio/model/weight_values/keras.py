"""Weights of Keras models: mapped where HDF5 keeps them in one piece, unpacked in a child process where it does not."""

from __future__ import annotations

from functools import partial

from edgestudio.model.arrays import Array, Loader, array_at, mapped
from edgestudio.model.content import Buffer
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import BITS
from edgestudio.model.formats.archive import opened_zip, stored_span
from edgestudio.model.formats.hdf5 import StoredArray, read_array
from edgestudio.model.formats.keras import WEIGHTS, is_archive, read_with_places


def loaders(found: Recognised) -> dict[str, Loader]:
    """A function for each weight."""
    _, places = read_with_places(found)
    buffer: Buffer = mapped(found.file)
    member, base = ("", 0)
    if is_archive(found):
        member = WEIGHTS
        with opened_zip(found.file) as archive:
            span = stored_span(archive, WEIGHTS) if WEIGHTS in archive.namelist() else None
        # An archive that is compressed has no place in the file for a weight: all are unpacked.
        base = -1 if span is None else span[0]
    return {name: partial(_array, found, buffer, base, member, array) for name, array in places.items()}


def _array(found: Recognised, buffer: Buffer, base: int, member: str, stored: StoredArray) -> Array | None:
    if stored.offset is not None and base >= 0:
        return array_at(buffer, base + stored.offset, stored.size_bytes, stored.dtype, stored.shape)
    if stored.dtype not in BITS:  # texts, records, references
        return None
    data = read_array(found.file, member, stored)
    return array_at(data, 0, len(data), stored.dtype, stored.shape)
