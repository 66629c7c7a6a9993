"""Reads from an engine's first bytes which library and version built it, before that library opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEADER_BYTES = 28
MAGIC = {b"ftrt": "tensorrt", b"ptrt": "tensorrt", b"vtrt": "tensorrt_rtx"}
"""First four bytes -> backend."""
_VERSION = slice(24, 28)
"""Major, minor, patch and build, a byte each (TensorRT's developer guide, version compatibility)."""


@dataclass(frozen=True)
class EngineHeader:
    """What an engine says of itself. `version` is "major.minor.patch.build"."""

    backend: str
    version: str

    def fits(self, installed: str) -> bool:
        """Whether the library's `installed` version is the one that built it: major, minor and patch count."""
        ours, theirs = self.version.split(".")[:3], installed.split(".")[:3]
        return ours[: len(theirs)] == theirs


def engine_header(path: Path) -> EngineHeader | None:
    """The header of the engine at `path`; None when it is no engine. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(HEADER_BYTES)
    backend = MAGIC.get(data[:4])
    if backend is None or len(data) < HEADER_BYTES:
        return None
    return EngineHeader(backend, ".".join(map(str, data[_VERSION])))
