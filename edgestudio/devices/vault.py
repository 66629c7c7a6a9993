"""Files that are changed by one process at a time."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgestudio.wire.errors import DeviceError

LOCK_TIMEOUT_S = 20.0


@contextlib.contextmanager
def exclusive(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold `path` as a lock against the user's other windows and commands; raises DeviceError when it stays taken."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    deadline = time.monotonic() + timeout_s
    with path.open("ab") as f:
        while not _try_lock(f.fileno()):
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"Another EdgeStudio process has been using {path.parent} for {timeout_s:.0f} s.",
                    hint="Wait for its push or pairing to end, then try again.",
                    code="locked",
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            _unlock(f.fileno())


class Turn:
    """A lock on `path` that is asked for without waiting, and that ends with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def take(self) -> bool:
        """Take the turn; False while somebody else has it, also within this process."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._path.open("ab")
        if not _try_lock(file.fileno()):
            file.close()
            return False
        self._file = file
        return True

    def leave(self) -> None:
        """Let the next one have it."""
        if self._file is not None:
            _unlock(self._file.fileno())
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, 0, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
