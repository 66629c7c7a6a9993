"""The file operations of the board: one interface, so that tests can cut the power between any two."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edgestudio.wire.errors import DeviceError

COPY_BYTES = 1 << 20


class FileOps(Protocol):
    """What the store may do to a disk; durable only after `fsync` (contents) and `fsync_dir` (names).

    Hard and symbolic links do not exist in this interface, and no operation follows one.
    """

    def mkdir(self, path: Path) -> None:
        """Make the directory `path` with mode 0700 in an existing one; one that is there already stays."""

    def write_new(self, path: Path, data: bytes) -> None:
        """Create `path`, which must not exist, with `data` and mode 0600."""

    def append(self, path: Path, data: bytes) -> None:
        """Add `data` to the end of the existing file `path`."""

    def pwrite(self, path: Path, offset: int, data: bytes) -> None:
        """Write `data` at `offset` bytes of the existing file `path`."""

    def preallocate(self, path: Path, size_bytes: int) -> None:
        """Create `path` with `size_bytes` reserved bytes; DeviceError `no-space` when the disk cannot."""

    def copy_new(self, source: Path, target: Path) -> None:
        """Create `target`, which must not exist, with the contents of `source`."""

    def fsync(self, path: Path) -> None:
        """Make the contents of the file `path` durable."""

    def replace(self, source: Path, target: Path) -> None:
        """Give the file or directory `source` the name `target`, atomically, replacing a file of that name."""

    def fsync_dir(self, path: Path) -> None:
        """Make the names in the directory `path` durable."""

    def remove(self, path: Path) -> None:
        """Remove the file `path`; one that is gone already is fine."""

    def rmdir(self, path: Path) -> None:
        """Remove the empty directory `path`; one that is gone already is fine."""

    def protect(self, path: Path, mode: int) -> None:
        """Set the permission bits of `path`."""

    def read(self, path: Path) -> bytes:
        """The contents of the file `path`; FileNotFoundError when there is none."""

    def read_at(self, path: Path, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` bytes from `offset` of the file `path`."""

    def size(self, path: Path) -> int | None:
        """The size in bytes of the regular file `path`, None when there is none."""

    def exists(self, path: Path) -> bool:
        """Whether a file or directory has the name `path`."""

    def list_dir(self, path: Path) -> list[str]:
        """The sorted names in the directory `path`; empty when there is none."""

    def is_dir(self, path: Path) -> bool:
        """Whether `path` is a directory and no link to one."""

    def free_bytes(self, path: Path) -> int:
        """Bytes that an unprivileged process may still write to the disk of `path`."""


def storage_error(failure: OSError, doing: str) -> DeviceError:
    """`failure` of the disk while `doing` something, as people and programs read it."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return DeviceError(
            f"The board's disk is full: {doing} failed.",
            hint="Free some space on the board, or remove models that are no longer used, and push again.",
            code="no-space",
        )
    if failure.errno == errno.EROFS:
        return DeviceError(
            f"The board's disk is read-only: {doing} failed.",
            hint="The running model is not affected. Remount the disk writable, then push again.",
            code="read-only",
        )
    return DeviceError(
        f"The board's disk reported an error: {doing} failed ({failure.strerror or failure}).",
        hint="The running model is not affected. Check the board's storage for wear.",
        code="storage",
    )


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns what the disk refuses while `doing` something into a DeviceError."""
    try:
        yield
    except OSError as failure:
        raise storage_error(failure, doing) from failure


class DiskOps:
    """`FileOps` on the real disk of a POSIX system."""

    def mkdir(self, path: Path) -> None:
        """See `FileOps`."""
        path.mkdir(mode=0o700, exist_ok=True)

    def write_new(self, path: Path, data: bytes) -> None:
        """See `FileOps`."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            _write_all(handle, data)
        finally:
            os.close(handle)

    def append(self, path: Path, data: bytes) -> None:
        """See `FileOps`."""
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            _write_all(handle, data)
        finally:
            os.close(handle)

    def pwrite(self, path: Path, offset: int, data: bytes) -> None:
        """See `FileOps`."""
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(handle, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(handle)

    def preallocate(self, path: Path, size_bytes: int) -> None:
        """See `FileOps`."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            if size_bytes:
                _reserve(handle, size_bytes)
        except OSError as failure:
            path.unlink(missing_ok=True)
            raise storage_error(failure, f"reserving {size_bytes} bytes") from failure
        finally:
            os.close(handle)

    def copy_new(self, source: Path, target: Path) -> None:
        """See `FileOps`."""
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                while data := os.read(reader, COPY_BYTES):
                    _write_all(writer, data)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def fsync(self, path: Path) -> None:
        """See `FileOps`."""
        _sync(path, os.O_RDONLY | os.O_NOFOLLOW)

    def replace(self, source: Path, target: Path) -> None:
        """See `FileOps`."""
        source.replace(target)

    def fsync_dir(self, path: Path) -> None:
        """See `FileOps`."""
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def remove(self, path: Path) -> None:
        """See `FileOps`."""
        path.unlink(missing_ok=True)

    def rmdir(self, path: Path) -> None:
        """See `FileOps`."""
        try:
            path.rmdir()
        except FileNotFoundError:
            return

    def protect(self, path: Path, mode: int) -> None:
        """See `FileOps`."""
        path.chmod(mode)

    def read(self, path: Path) -> bytes:
        """See `FileOps`."""
        return path.read_bytes()

    def read_at(self, path: Path, offset: int, size_bytes: int) -> bytes:
        """See `FileOps`."""
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return os.pread(handle, size_bytes, offset)
        finally:
            os.close(handle)

    def size(self, path: Path) -> int | None:
        """See `FileOps`."""
        if path.is_symlink() or not path.is_file():
            return None
        return path.stat().st_size

    def exists(self, path: Path) -> bool:
        """See `FileOps`."""
        return os.path.lexists(path)

    def list_dir(self, path: Path) -> list[str]:
        """See `FileOps`."""
        try:
            return sorted(entry.name for entry in path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def is_dir(self, path: Path) -> bool:
        """See `FileOps`."""
        return path.is_dir() and not path.is_symlink()

    def free_bytes(self, path: Path) -> int:
        """See `FileOps`."""
        usage = os.statvfs(path)
        return usage.f_bavail * usage.f_frsize


def make_folder(ops: FileOps, path: Path) -> None:
    """Make the directory `path` durably; one that is there already costs nothing."""
    if not ops.exists(path):
        ops.mkdir(path)
        ops.fsync_dir(path.parent)


def write_atomically(ops: FileOps, path: Path, data: bytes) -> None:
    """Put `data` at `path` so that after a power cut the file is the whole old or the whole new one."""
    part = path.with_name(path.name + ".part")
    ops.remove(part)
    ops.write_new(part, data)
    ops.fsync(part)
    ops.replace(part, path)
    ops.fsync_dir(path.parent)


def remove_tree(ops: FileOps, path: Path) -> None:
    """Remove the directory `path` with everything below it; links are removed, never followed."""
    if not ops.is_dir(path):
        ops.remove(path)
        return
    ops.protect(path, 0o700)
    for name in ops.list_dir(path):
        remove_tree(ops, path / name)
    ops.rmdir(path)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _reserve(handle: int, size_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size_bytes)
    else:  # macOS: the space is not reserved, but a full disk is still noticed when writing
        os.ftruncate(handle, size_bytes)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
