"""What a scan collects on its way through a model file, its limits, and how it refuses."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from edgestudio.wire.errors import ModelError


@dataclass(frozen=True)
class ScanLimits:
    """What is still accepted. The defaults are far above any model for a board."""

    max_file_bytes: int = 8 << 30
    max_nodes: int = 100_000
    max_depth: int = 32
    max_tensor_bytes: int = 4 << 30
    max_made_bytes: int = 1 << 30  # of one tensor that a few bytes of file let the runtime make
    max_trips: int = 1_000_000_000
    max_ir_version: int = 20
    max_opset: int = 40
    domains: frozenset[str] = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
    external_files: frozenset[str] | None = None  # names that the release lists; None: any in the folder
    allows_custom_operators: bool = False


@dataclass
class Findings:
    """What a format's scan collects while it walks through a file."""

    path: Path
    limits: ScanLimits
    nodes: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    custom: dict[str, None] = field(default_factory=dict)
    external: dict[str, None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, what: str, code: str, hint: str = "") -> ModelError:
        """The error that refuses this file because it `what`."""
        return ModelError(
            f"{self.path.name} {what}",
            hint=hint or "Take it from where it was made, or do not use it.",
            code=code,
        )

    def count_nodes(self, count: int = 1) -> None:
        """Add nodes; ModelError beyond the limit."""
        self.nodes += count
        if self.nodes > self.limits.max_nodes:
            raise self.refuse(f"has more than {self.limits.max_nodes} nodes", "too-many-nodes")

    def warn(self, text: str) -> None:
        """Remember something odd but harmless; each text once, twenty at most."""
        if text not in self.warnings and len(self.warnings) < 20:
            self.warnings.append(text)


def check_external(found: Findings, location: str, offset: int, length: int | None) -> None:
    """ModelError unless `location` is a regular file beside the model that holds [offset, offset + length)."""
    name = location.removeprefix("./")
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name or ":" in name:
        raise found.refuse(
            f"wants to read weights from '{location[:100]}', outside its own folder", "external-data",
            "Only a file beside the model may hold its weights.",
        )  # fmt: skip
    allowed = found.limits.external_files
    if allowed is not None and name not in allowed:
        raise found.refuse(f"wants to read '{name}', which is not part of the release", "external-data")
    try:
        status = (found.path.parent / name).lstat()
    except OSError:
        raise found.refuse(
            f"keeps weights in '{name}', which is missing", "external-data-missing",
            "Copy that file along, into the same folder and under the same name.",
        ) from None  # fmt: skip
    if not stat.S_ISREG(status.st_mode):
        raise found.refuse(f"wants to read '{name}', which is a link or no regular file", "external-data")
    end = offset + (length if length is not None else 0)
    if offset < 0 or (length is not None and length < 0) or end > status.st_size:
        raise found.refuse(
            f"wants bytes {offset} to {end} of '{name}', which has {status.st_size}", "external-data",
            "The weights file is damaged or belongs to another model.",
        )  # fmt: skip
    found.external[name] = None
