"""Lists the weights of a safetensors file from its header; it holds no graph."""

from __future__ import annotations

import json

from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.graph import Model, Tensor
from edgestudio.wire.errors import ModelError

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000
_NO_GRAPH = (
    "the file holds weights only, no graph: export the model to ONNX or torch.export to see and run it"
)


def read(found: Recognised) -> Model:
    """The weights in `found.file`; raises ModelError when the header is damaged."""
    with opened(found.file) as buffer:
        size = len(buffer)
        length = int.from_bytes(buffer[:8], "little")
        if length > min(_MAX_HEADER_BYTES, size - 8):
            raise _damaged(found, f"its header claims {length} bytes, the file has {size}")
        try:
            header = json.loads(bytes(buffer[8 : 8 + length]))
        except ValueError as error:
            raise _damaged(found, f"its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(found, "its header is no JSON object")
    facts = header.pop("__metadata__", None)
    weights = []
    for name, entry in header.items():
        try:
            start, end = entry["data_offsets"]
            shape = tuple(int(item) for item in entry["shape"])
            weights.append(
                Tensor(name, _DTYPES.get(entry["dtype"], ""), shape, "constant", int(end) - int(start))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(found, f"the entry of {name} is incomplete") from error
        if 8 + length + int(end) > size or start > end:
            raise _damaged(found, f"weight {name} lies past the end of the file")
    return Model(
        format="safetensors",
        format_version=None,
        producer=None,
        opsets={},
        graphs=(),
        size_bytes=size,
        metadata={"tensors": str(len(weights)), **{str(k): str(v) for k, v in (facts or {}).items()}},
        warnings=(*found.warnings, _NO_GRAPH),
        weights=tuple(weights),
    )


def _damaged(found: Recognised, reason: str) -> ModelError:
    return ModelError(
        f"{found.path.name} is a safetensors file that is cut short or damaged: {reason}.",
        hint="Fetch it again and compare its size or checksum with the source.",
        code="damaged-model",
    )
