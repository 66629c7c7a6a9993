"""Says what the header of a TensorRT engine tells; the rest is for the library and the GPU it was built with."""

from __future__ import annotations

import json

from edgestudio.model.content import head
from edgestudio.model.detect import Recognised
from edgestudio.model.graph import Model
from edgestudio.runtime.engine_header import MAGIC, engine_header

_HEADER_BYTES = 24
_BOUND = (
    "a TensorRT engine runs only with the TensorRT version and the kind of GPU that it was built with, which alone "
    "can read its layers; keep the ONNX file beside it"
)


def read(found: Recognised) -> Model:
    """The facts of the header; there is no graph to read without TensorRT and the GPU."""
    data = head(found.file, 1 << 16)
    metadata: dict[str, str] = {}
    start = 0
    if data[:4] not in MAGIC:
        # Ultralytics puts a JSON description of its own before the engine: its length, then the text.
        start = 4 + int.from_bytes(data[:4], "little")
        described = json.loads(data[4:start])
        metadata = {str(key): str(value)[:200] for key, value in described.items()}
    header = data[start : start + _HEADER_BYTES]
    serial = int.from_bytes(header[4:8], "little") if len(header) >= 8 else None
    if len(header) >= _HEADER_BYTES:
        metadata["header"] = header.hex(" ", 4)
    built = engine_header(found.file) if start == 0 else None
    if built is not None:
        metadata["built_with"] = (
            f"{'TensorRT for RTX' if built.backend == 'tensorrt_rtx' else 'TensorRT'} {built.version}"
        )
    return Model(
        format="tensorrt",
        format_version=None if serial is None else f"serialization {serial:#06x}",
        producer="TensorRT",
        opsets={},
        graphs=(),
        size_bytes=found.file.stat().st_size,
        metadata=metadata,
        warnings=(*found.warnings, _BOUND),
    )
