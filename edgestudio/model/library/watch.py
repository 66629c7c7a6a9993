"""Notices what other processes change in a library: models that came, models that went, other words about one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgestudio.model.library.library import ENTRY, Entry, Library

_SETTLED_NS = 2_000_000_000
"""A change so shortly ago may be followed by another one at the same time of the file system's coarse clock."""
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different since the last look: entries with the stamp that each was read under, and what is gone."""

    entries: tuple[tuple[Entry, Stamp], ...] = ()
    gone: tuple[str, ...] = ()


class LibraryWatch:
    """Asks for the time of the library's folder, which every change renews, and reads only what has changed.

    One question to the file system a look while nothing happens. Reads files: call it in a thread.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._seen: dict[str, Stamp] = {}
        self._at = 0

    def look(self) -> Changes:
        """What has changed since the last look; at first, everything."""
        try:
            at = self._library.directory.stat().st_mtime_ns
        except OSError:
            return Changes()
        if at == self._at:
            return Changes()
        is_settled = time.time_ns() - at > _SETTLED_NS
        self._at = at if is_settled else 0
        stamps = {
            folder.name: stamp
            for folder in self._library.directory.iterdir()
            if len(folder.name) == 64 and (stamp := stamp_of(folder)) is not None
        }
        entries = []
        for sha256, stamp in stamps.items():
            if self._seen.get(sha256) == stamp:
                continue
            entry = self._library.get(sha256)
            if entry is not None:
                entries.append((entry, stamp))
        gone = tuple(sha256 for sha256 in self._seen if sha256 not in stamps)
        self._seen = stamps
        return Changes(tuple(sorted(entries, key=lambda each: each[0].created)), gone)


def stamp_of(folder: Path) -> Stamp | None:
    """What tells one state of a model's description from another; None where there is none."""
    try:
        found = (folder / ENTRY).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
