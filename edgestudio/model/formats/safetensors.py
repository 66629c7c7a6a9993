"""Lists the weights of a safetensors file, or of the files that an index lists, from the headers; there is no graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgestudio.model.content import head, opened
from edgestudio.model.detect import Recognised
from edgestudio.model.graph import Model, Tensor
from edgestudio.model.links import stays_inside
from edgestudio.wire.errors import ModelError

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000
_MAX_INDEX_BYTES = 16 << 20
_NO_GRAPH = (
    "the file holds weights only, no graph: export the model to ONNX or torch.export to see and run it"
)


def read(found: Recognised) -> Model:
    """The weights in `found.file`, or in the files that it lists; raises ModelError when a header is damaged."""
    weights: list[Tensor] = []
    facts: dict[str, str] = {}
    size = 0
    files = shards(found)
    for file in files:
        length, header = _header(found, file)
        facts.update(
            {str(key): str(value) for key, value in (header.pop("__metadata__", None) or {}).items()}
        )
        own = file.stat().st_size
        size += own
        weights += [_weight(found, name, entry, own - 8 - length) for name, entry in header.items()]
    if len({weight.name for weight in weights}) < len(weights):
        raise _damaged(found, "two of its files hold a weight of the same name")
    is_index = files[0] != found.file
    return Model(
        format="safetensors",
        format_version=f"{len(files)} files" if is_index else None,
        producer=None,
        opsets={},
        graphs=(),
        size_bytes=size + (found.file.stat().st_size if is_index else 0),
        metadata={"tensors": str(len(weights)), **facts},
        warnings=(*found.warnings, _NO_GRAPH),
        weights=tuple(weights),
        companions=tuple(file.name for file in files) if is_index else (),
    )


def shards(found: Recognised) -> list[Path]:
    """The files that hold the weights: those that an index lists, or the file itself; raises ModelError."""
    start = head(found.file, _MAX_INDEX_BYTES)
    if start[8:9] == b"{" and start.lstrip()[:1] != b"{":
        return [found.file]
    try:
        names = sorted({str(name) for name in json.loads(start)["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError):
        if start[8:9] == b"{":
            return [found.file]
        raise _damaged(found, "its list of weights is no JSON") from None
    files = [found.file.parent / name for name in names]
    for name, file in zip(names, files, strict=True):
        if Path(name).name != name or not stays_inside(file, file.parent):
            raise ModelError(
                f"{found.path.name} lists a file outside of its folder ({name}).",
                hint="Do not use this file: it may be hostile.",
                code="hostile-model",
            )
        if not file.is_file():
            raise ModelError(
                f"{found.path.name} lists {name}, which is missing.",
                hint=f"Put all {len(names)} files beside the list.",
                code="missing-file",
            )
    if not files:
        raise _damaged(found, "it lists no weights")
    return files


def _header(found: Recognised, file: Path) -> tuple[int, dict[str, Any]]:
    with opened(file) as buffer:
        size = len(buffer)
        length = int.from_bytes(buffer[:8], "little")
        if length > min(_MAX_HEADER_BYTES, size - 8):
            raise _damaged(found, f"the header of {file.name} claims {length} bytes, the file has {size}")
        try:
            header = json.loads(bytes(buffer[8 : 8 + length]))
        except ValueError as error:
            raise _damaged(found, f"the header of {file.name} is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(found, f"the header of {file.name} is no JSON object")
    return length, header


def _weight(found: Recognised, name: str, entry: Any, available: int) -> Tensor:
    try:
        start, end = entry["data_offsets"]
        shape = tuple(int(item) for item in entry["shape"])
        weight = Tensor(name, _DTYPES.get(entry["dtype"], ""), shape, "constant", int(end) - int(start))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(found, f"the entry of {name} is incomplete") from error
    if int(end) > available or start > end:
        raise _damaged(found, f"weight {name} lies past the end of the file")
    return weight


def _damaged(found: Recognised, reason: str) -> ModelError:
    return ModelError(
        f"{found.path.name} is a safetensors file that is cut short or damaged: {reason}.",
        hint="Fetch it again and compare its size or checksum with the source.",
        code="damaged-model",
    )
