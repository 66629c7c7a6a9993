"""What is remembered between runs and is nobody's choice: recently opened files."""

from __future__ import annotations

import json
from pathlib import Path

from edgestudio.wire.files import write_atomically


class RecentFiles:
    """The files opened last, newest first; a file that cannot be read or written costs only the memory."""

    def __init__(self, path: Path, *, limit: int = 9) -> None:
        self._path = path
        self._limit = limit

    def paths(self) -> list[Path]:
        """Recently opened files that still exist."""
        return [path for path in map(Path, self._read()) if path.exists()]

    def add(self, path: Path) -> None:
        """Put a file first."""
        text = str(path.absolute())
        entries = [text, *(entry for entry in self._read() if entry != text)][: self._limit]
        try:
            write_atomically(self._path, json.dumps({"recent": entries}, indent=2) + "\n")
        except OSError:
            return

    def _read(self) -> list[str]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            return [str(entry) for entry in document["recent"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []
