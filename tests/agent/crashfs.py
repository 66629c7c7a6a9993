"""A file system in memory that can lose power: contents are durable after fsync, names after fsync of their folder.

At a crash every prefix of the pending name changes may have reached the disk, in order, and every file that was
not synced may be as it was at its last fsync, half written, or as it is. (As in ALICE, Pillai et al., OSDI 2014.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class PowerCutError(Exception):
    """The power went at the chosen operation."""


class CrashFS:
    """Implements `FileOps`. `stop_at` cuts the power before that operation; `skip` leaves out fsyncs by number."""

    def __init__(self, files: dict[Path, bytes] | None = None, folders: set[Path] | None = None) -> None:
        self.inodes: dict[int, bytearray] = {}
        self.synced: dict[int, bytes] = {}
        self.names: dict[Path, int] = {}
        self.folders: set[Path] = {Path("/"), *(folders or ())}
        self.durable: dict[Path, int] = {}
        self.pending: list[tuple[str, Path, Path | None]] = []
        self.count = 0
        self.stop_at: int | None = None
        self.sync_number = 0
        self.sync_operations: list[int] = []
        """Which operation each sync was."""
        self.skip: set[int] = set()
        self._next = 0
        self._linked: dict[Path, int] = {}
        for path, data in (files or {}).items():
            self.names[path] = self._inode(data)
            self.synced[self.names[path]] = data
        self.durable = dict(self.names)
        self.durable_folders = set(self.folders)

    # -- FileOps

    def mkdir(self, path: Path) -> None:
        self._tick()
        if path not in self.folders:
            self.folders.add(path)
            self.pending.append(("mkdir", path, None))

    def write_new(self, path: Path, data: bytes) -> None:
        self._create(path)
        self._tick()
        self.inodes[self.names[path]] += data

    def append(self, path: Path, data: bytes) -> None:
        self._tick()
        self.inodes[self.names[path]] += data

    def pwrite(self, path: Path, offset: int, data: bytes) -> None:
        self._tick()
        self.inodes[self.names[path]][offset : offset + len(data)] = data

    def preallocate(self, path: Path, size_bytes: int) -> None:
        self._create(path)
        self._tick()
        self.inodes[self.names[path]] += bytes(size_bytes)

    def copy_new(self, source: Path, target: Path) -> None:
        self.write_new(target, self.read(source))

    def fsync(self, path: Path) -> None:
        self._tick()
        if not self._skipped():
            number = self.names[path]
            self.synced[number] = bytes(self.inodes[number])

    def replace(self, source: Path, target: Path) -> None:
        self._tick()
        if source in self.folders and source not in self.names:
            self.folders = {self._moved(folder, source, target) for folder in self.folders}
        self._rename(self.names, source, target)
        if source.parent == target.parent:
            self.pending.append(("rename", source, target))
        else:  # two folders: each keeps its own half, and the wrong half alone loses the file
            self._linked[target] = self.names[target]
            self.pending += [("link", target, None), ("remove", source, None)]

    def fsync_dir(self, path: Path) -> None:
        self._tick()
        if not self._skipped():
            # A real journal may keep more; what counts is that it keeps at least the names in this folder.
            for change in [change for change in self.pending if change[1].parent == path]:
                self._apply(self.durable, self.durable_folders, change)
                self.pending.remove(change)

    def remove(self, path: Path) -> None:
        self._tick()
        if self.names.pop(path, None) is not None:
            self.pending.append(("remove", path, None))

    def rmdir(self, path: Path) -> None:
        self._tick()
        self.folders.discard(path)

    def protect(self, path: Path, mode: int) -> None:
        self._tick()

    def read(self, path: Path) -> bytes:
        if path not in self.names:
            raise FileNotFoundError(path)
        return bytes(self.inodes[self.names[path]])

    def read_at(self, path: Path, offset: int, size_bytes: int) -> bytes:
        return self.read(path)[offset : offset + size_bytes]

    def size(self, path: Path) -> int | None:
        return len(self.inodes[self.names[path]]) if path in self.names else None

    def exists(self, path: Path) -> bool:
        return path in self.names or path in self.folders

    def list_dir(self, path: Path) -> list[str]:
        # By text: comparing `Path.parents` here was nine tenths of an enumeration's time.
        start = f"{path}/"
        below = [name for name in map(str, (*self.names, *self.folders)) if name.startswith(start)]
        return sorted({name[len(start) :].partition("/")[0] for name in below})

    def is_dir(self, path: Path) -> bool:
        return path in self.folders or any(str(p).startswith(f"{path}/") for p in self.names)

    def free_bytes(self, path: Path) -> int:
        return 1 << 40

    # -- power cuts

    def after_power_cut(self) -> Iterator[CrashFS]:
        """Every disk that may be found when the power comes back."""
        for kept in range(len(self.pending) + 1):
            names, folders = dict(self.durable), set(self.durable_folders)
            for change in self.pending[:kept]:
                self._apply(names, folders, change)
            reached = {folder for folder in folders if folders.issuperset(folder.parents)}
            names = {path: number for path, number in names.items() if path.parent in reached}
            dirty = [n for n in sorted(set(names.values())) if bytes(self.inodes[n]) != self.synced.get(n)]
            for choice in _choices(len(dirty)):
                contents = {n: self.synced.get(n, b"") for n in names.values()}
                for number, how in zip(dirty, choice, strict=True):
                    contents[number] = self._torn(number, how)
                files = {path: contents[number] for path, number in names.items()}
                yield CrashFS(files, folders)

    def _torn(self, number: int, how: int) -> bytes:
        old, new = self.synced.get(number, b""), bytes(self.inodes[number])
        if how == 0:
            return old
        if how == 2:
            return new
        half = max(len(old), (len(new) + len(old)) // 2)
        return new[: half if len(new) != len(old) else len(new) // 2] + (
            old[len(new) // 2 :] if len(new) == len(old) else b""
        )

    def _apply(
        self, names: dict[Path, int], folders: set[Path], change: tuple[str, Path, Path | None]
    ) -> None:
        kind, path, other = change
        if kind == "mkdir":
            folders.add(path)
        elif kind == "link":
            names[path] = self._linked[path]
        elif kind == "remove":
            names.pop(path, None)
        elif other is not None:
            self._rename(names, path, other)
            moved = {self._moved(folder, path, other) for folder in folders}
            folders.clear()
            folders.update(moved)

    def _rename(self, names: dict[Path, int], source: Path, target: Path) -> None:
        for path in list(names):
            moved = self._moved(path, source, target)
            if moved != path:
                names[moved] = names.pop(path)

    @staticmethod
    def _moved(path: Path, source: Path, target: Path) -> Path:
        if path == source:
            return target
        return target / path.relative_to(source) if source in path.parents else path

    def _create(self, path: Path) -> None:
        self._tick()
        if path in self.names:
            raise FileExistsError(path)
        self.names[path] = self._inode(b"")
        self._linked[path] = self.names[path]
        self.pending.append(("link", path, None))

    def _inode(self, data: bytes) -> int:
        self._next += 1
        self.inodes[self._next] = bytearray(data)
        return self._next

    def _skipped(self) -> bool:
        self.sync_number += 1
        self.sync_operations.append(self.count)
        return self.sync_number in self.skip

    def _tick(self) -> None:
        if self.stop_at is not None and self.count == self.stop_at:
            raise PowerCutError
        self.count += 1


def _choices(dirty: int) -> list[tuple[int, ...]]:
    """How torn each unsynced file is: all alike, or one that differs from all others; not the full product."""
    alike = [(how,) * dirty for how in (0, 1, 2)]
    single = [
        tuple(how if at == index else 2 for at in range(dirty)) for how in (0, 1) for index in range(dirty)
    ]
    return sorted({*alike, *single})
