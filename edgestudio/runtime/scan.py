"""Refuses hostile and damaged model files before any runtime opens them.

The reader is our own and small: it follows no link, allocates nothing that the file asks for, and looks at
structure alone. It says nothing about what a model computes; golden inputs do.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.runtime.flatbuffer import FlatBufferError
from edgestudio.runtime.protobuf import WireError
from edgestudio.runtime.recognise import recognise
from edgestudio.wire.errors import ModelError

# Smaller files are read at once, so that a file cut short by someone else cannot crash the reader.
_READ_WHOLE_BYTES = 256 << 20
_SUFFIXES = {
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".lite": "tflite",
    ".xml": "openvino",
    ".engine": "tensorrt",
}


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


@dataclass(frozen=True)
class ScanReport:
    """What the scan found in a file that it accepts."""

    format: str
    size_bytes: int
    nodes: int = 0
    opsets: Mapping[str, int] = field(default_factory=dict)
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


def scan_model(path: Path | str, limits: ScanLimits | None = None) -> ScanReport:
    """Judge the file at `path` by its content; ModelError says what is wrong with a bad or hostile one."""
    path = Path(path)
    limits = limits or ScanLimits()
    format_name = recognise(path)
    found = Findings(path, limits)
    size = path.stat().st_size
    if size > limits.max_file_bytes:
        raise found.refuse(
            f"has {size} bytes, more than the {limits.max_file_bytes} that are allowed", "too-large"
        )
    expected = _SUFFIXES.get(path.suffix.lower())
    if expected not in (None, format_name):
        found.warn(f"the suffix {path.suffix} says {expected}, but the content is {format_name}")
    scanner = _scanner(format_name)
    if scanner is not None:
        with file_bytes(path) as data:
            try:
                scanner(data, found)
            except (WireError, FlatBufferError) as error:
                raise found.refuse(
                    f"is damaged or cut short: {error}", "damaged", "Download or export it again."
                ) from error
    if found.custom and not limits.allows_custom_operators:
        names = ", ".join(list(found.custom)[:5])
        raise found.refuse(
            f"needs operators that no runtime has built in: {names}",
            "custom-operators",
            "Export the model without custom operators.",
        )
    return ScanReport(
        format_name,
        size,
        found.nodes,
        found.opsets,
        tuple(found.custom),
        tuple(found.external),
        tuple(found.warnings),
    )


def _scanner(format_name: str) -> Callable[[bytes | mmap.mmap, Findings], None] | None:
    if format_name == "onnx":
        from edgestudio.runtime.scan_onnx import scan_onnx

        return scan_onnx
    if format_name == "tflite":
        from edgestudio.runtime.scan_tflite import scan_tflite

        return scan_tflite
    if format_name == "openvino":
        from edgestudio.runtime.scan_openvino import scan_openvino

        return scan_openvino
    return None  # a TensorRT engine is opaque: boards take only those that they built themselves


@contextmanager
def file_bytes(path: Path) -> Iterator[bytes | mmap.mmap]:
    """The file's content: read at once when small, mapped when large. Views of it may outlive the context."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= _READ_WHOLE_BYTES:
                yield file.read()
            else:
                # Not closed by hand: memoryviews into it may still be alive. It ends with the last of them.
                yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", code="unreadable") from error


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
