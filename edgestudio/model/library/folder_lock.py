"""A folder that one process at a time may use; the system frees it when that process ends, however it does."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_LONGEST_WAIT_S = 20.0
_PAUSE_S = 0.005


class FolderLock:
    """An exclusive lock on a file inside the folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".in-use"
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False when another process holds it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and keep it for a moment's work; raises TimeoutError when it does not come free."""
        until = time.monotonic() + _LONGEST_WAIT_S
        while not self.acquire():
            if time.monotonic() > until:
                raise TimeoutError(f"{self._path} is in use for long")
            time.sleep(_PAUSE_S)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None
