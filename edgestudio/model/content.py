"""Opens a model's bytes for reading, without loading them, and notices when they change meanwhile."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgestudio.wire.errors import ModelError

Buffer = bytes | mmap.mmap

_READ_WHOLE_BYTES = 32 << 20
"""Files up to this size are read: a copy cannot change or vanish under the reader as a memory map can."""


def refuse_os_error(path: Path, error: OSError) -> ModelError:
    """The error for a file that the operating system will not hand out."""
    reasons = {
        FileNotFoundError: (f"There is no file {path}.", "Check the path.", "missing-file"),
        PermissionError: (
            f"{path} may not be read.",
            "Check the permissions of the file.",
            "unreadable-file",
        ),
    }
    for kind, (message, hint, code) in reasons.items():
        if isinstance(error, kind):
            return ModelError(message, hint=hint, code=code)
    if error.errno == errno.ENOMEM:
        return ModelError(
            f"{path.name} is too large to be looked at here ({path.stat().st_size / 1e9:.1f} GB).",
            hint="A model of this size does not fit a board; is this the right file?",
            code="too-large",
        )
    return ModelError(
        f"{path} cannot be read: {error.strerror or error}.", hint="Check the disk.", code="unreadable-file"
    )


@contextmanager
def opened(path: Path) -> Iterator[Buffer]:
    """The file's bytes, or a read-only map of them when large; raises ModelError on anything but a file.

    Raises ModelError at the end when the file was changed while it was read.
    """
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a file" if path.exists() else "missing"
            if kind == "missing":
                raise FileNotFoundError(path)
            raise ModelError(f"{path} is {kind}.", hint="Choose a model file.", code="not-a-file")
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            large = before.st_size > _READ_WHOLE_BYTES
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if large else file.read()
            yield buffer
            after = os.fstat(file.fileno())
    except OSError as error:
        raise refuse_os_error(path, error) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ModelError(
            f"{path} changed while it was being read.",
            hint="Wait until whatever writes it has finished, then open it again.",
            code="changed-file",
        )


def tree_size_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


def head(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file; raises ModelError."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise refuse_os_error(path, error) from error
