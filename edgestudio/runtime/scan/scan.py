"""Refuses hostile and damaged model files before any runtime opens them.

The reader is our own and small: it follows no link, allocates nothing that the file asks for, and looks at
structure alone. It says nothing about what a model computes; golden inputs do.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.runtime.flatbuffer import FlatBufferError
from edgestudio.runtime.format_names import format_title
from edgestudio.runtime.protobuf import WireError
from edgestudio.runtime.recognise import recognise
from edgestudio.runtime.scan.findings import Findings, ScanLimits
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
        found.warn(
            f"the suffix {path.suffix} says {format_title(expected)}, but the content is {format_title(format_name)}"
        )
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
        from edgestudio.runtime.scan.onnx import scan_onnx

        return scan_onnx
    if format_name == "tflite":
        from edgestudio.runtime.scan.tflite import scan_tflite

        return scan_tflite
    if format_name == "openvino":
        from edgestudio.runtime.scan.openvino import scan_openvino

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
