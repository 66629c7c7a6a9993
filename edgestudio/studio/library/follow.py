"""Keeps the rows of the library in step with its folder, which other windows and verbs change too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgestudio.model.library.library import Entry, Library
from edgestudio.model.library.watch import LibraryWatch, stamp_of
from edgestudio.studio.bus import Ledger
from edgestudio.studio.library.files import row_of
from edgestudio.studio.rows import ModelRow

_LOOK_S = 1.0


class LibraryFollower:
    """Shows what the library holds, and what others change in it about a second later."""

    def __init__(self, rows: Ledger[ModelRow], library: Library) -> None:
        self._rows, self._library = rows, library
        self._watch = LibraryWatch(library)
        self._own: set[str] = set()
        self._adding: list[str] = []

    async def begin(self) -> None:
        """Show what is there."""
        for entry, _ in (await asyncio.to_thread(self._watch.look)).entries:
            self._rows.put(row_of(entry))

    async def follow(self) -> None:
        """Catch up every second; never ends by itself."""
        while True:
            await self.catch_up()
            await asyncio.sleep(_LOOK_S)

    async def catch_up(self) -> None:
        """Show what has changed in the library since the last look."""
        changes = await asyncio.to_thread(self._watch.look)
        for sha256 in changes.gone:
            if self._rows.get(sha256) is not None:
                self._rows.remove(sha256)
        for entry, stamp in changes.entries:
            # What has been written meanwhile is read at the next look; what is older must not overtake it.
            if stamp_of(entry.folder) != stamp:
                continue
            is_own = bool(self._adding) or entry.sha256 in self._own
            is_new = self._rows.get(entry.sha256) is None and not is_own
            self._rows.put(replace(row_of(entry), is_from_elsewhere=is_new))

    def add(self, source: Path, *, name: str, **said: Any) -> Entry:
        """Add to the library, and remember that it was done here; runs in a thread."""
        self._adding.append(name)
        try:
            entry = self._library.add(source, name=name, **said)
            self._own.add(entry.sha256)
        finally:
            self._adding.remove(name)
        return entry
