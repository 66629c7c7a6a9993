"""Hashes models, and copies them so that what was hashed is what was copied."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edgestudio.model.content import refuse_os_error
from edgestudio.model.links import refuse_links
from edgestudio.wire.errors import ModelError

_READ_BYTES = 1 << 20


def content_sha256(path: Path, goes_on: Callable[[], bool] = lambda: True) -> str:
    """The hash of a model: of a file's bytes, or of a folder's names, sizes and hashes in order.

    Raises ModelError (`given-up`) soon after `goes_on` says False: a large file takes minutes.
    """
    try:
        if path.is_file():
            whole = hashlib.sha256()
            with path.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    if not goes_on():
                        raise ModelError(
                            f"Nobody waits for the hash of {path.name} any more.", code="given-up"
                        )
                    whole.update(data)
            return whole.hexdigest()
        return tree_sha256({
            item.relative_to(path).as_posix(): content_sha256(item, goes_on)
            for item in path.rglob("*") if item.is_file()
        })  # fmt: skip
    except OSError as error:
        raise refuse_os_error(path, error) from error


def tree_sha256(hashes: Mapping[str, str]) -> str:
    """The hash of several files, by their names and hashes."""
    whole = hashlib.sha256()
    for name in sorted(hashes):
        whole.update(f"{name}\0{hashes[name]}\n".encode())
    return whole.hexdigest()


def copy_in(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file or folder and return (hash, size in bytes) of what was copied."""
    if source.is_dir():
        refuse_links(source)  # once more: what was looked at may have been exchanged
        hashes, size = {}, 0
        for item in sorted(source.rglob("*")):
            if item.is_file():
                inside = item.relative_to(source)
                hashes[inside.as_posix()], part = copy_in(item, target / inside)
                size += part
        return tree_sha256(hashes), size
    target.parent.mkdir(parents=True, exist_ok=True)
    whole, size = hashlib.sha256(), 0
    try:
        reading = source.open("rb")
    except OSError as error:
        raise refuse_os_error(source, error) from error
    with reading, target.open("wb") as writing:
        while data := reading.read(_READ_BYTES):
            whole.update(data)
            writing.write(data)
            size += len(data)
        writing.flush()
        os.fsync(writing.fileno())
    return whole.hexdigest(), size
