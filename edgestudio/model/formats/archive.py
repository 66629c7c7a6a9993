"""Opens zip archives of untrusted origin: entries are read within limits, none is written to disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgestudio.wire.errors import ModelError

_MAX_RATIO = 1000
_FREE_BYTES = 1 << 20
_LOCAL_HEADER_BYTES = 30
TEXT_LIMIT_BYTES = 64 << 20
"""Descriptions (JSON, code, pickles) larger than this are refused; honest ones stay below a tenth of it."""


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; raises ModelError when it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, RecursionError):
            raise
        raise ModelError(
            f"{path.name} is a damaged zip archive: {error}.",
            hint="It is probably cut short: fetch it again and compare its size with the source.",
            code="damaged-model",
        ) from error


def read_entry(archive: zipfile.ZipFile, name: str, limit: int = TEXT_LIMIT_BYTES) -> bytes:
    """The bytes of an entry; raises ModelError when it unpacks to more than `limit` bytes."""
    info = archive.getinfo(name)
    check_ratio(info)
    if info.file_size > limit:
        raise ModelError(
            f"{name} inside of the archive is {info.file_size >> 20} MB, more than a model's description can be.",
            hint="Do not use this file: it may be hostile.",
            code="too-large",
        )
    with archive.open(info) as file:
        # The size in the directory may lie: never read more than it says.
        return file.read(info.file_size)


def stored_span(archive: zipfile.ZipFile, name: str) -> tuple[int, int] | None:
    """Start and size of an entry's bytes in the archive's file; None when they are compressed or damaged."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or archive.fp is None:
        return None
    archive.fp.seek(info.header_offset)
    header = archive.fp.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES or header[:4] != b"PK\x03\x04":
        return None
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.header_offset + _LOCAL_HEADER_BYTES + lengths, info.file_size


def check_ratio(info: zipfile.ZipInfo) -> None:
    """Refuse an entry that unpacks to a thousand times its size."""
    if info.file_size > _FREE_BYTES and info.file_size > _MAX_RATIO * max(info.compress_size, 1):
        raise ModelError(
            f"{info.filename} in the archive unpacks from {info.compress_size} bytes to {info.file_size >> 20} MB.",
            hint="Do not use this file: it is made to exhaust memory.",
            code="hostile-model",
        )
