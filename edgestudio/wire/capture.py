"""A captured inference as a file: what came in, what the model saw, what it said, and what the board was like."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgestudio.wire.errors import InputError
from edgestudio.wire.fields import Fields, parse_json
from edgestudio.wire.tensors import DTYPES, MAX_RANK

FORMAT_VERSION = 1
SUFFIX = ".capture"
MAX_CAPTURE_BYTES = 40 << 20
MAX_HEADER_BYTES = 4 << 20
_MAGIC = b"ESCAP\n"
_HEAD = struct.Struct(">6sI")
_GROUPS = ("raw", "feeds", "outputs")
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Capture:
    """One inference with all that is needed to do it again.

    `raw` is the item before preprocessing, by input name, or under "input" for a single one; `raw_kind` is
    "array", "sound" (then `rate_hz` is its sample rate), "mapping", or "" where prepared tensors came in and there
    is none. `feeds` and `outputs` are the model's own. `result` is the answer without its arrays.
    `preprocessing` is the version of the preprocessing's code and `pipeline` the document's text.
    """

    id: str
    time_s: float
    boot: str
    device: str
    model: str
    release: int
    version: str
    model_sha256: str
    pipeline: str
    preprocessing: int
    raw_kind: str = ""
    rate_hz: int = 0
    raw: Mapping[str, Array] = field(default_factory=dict)
    feeds: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    sensors: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False

    def to_bytes(self) -> bytes:
        """The file; InputError for tensors that do not travel or when it would be larger than 40 MiB."""
        table, parts, offset = [], [], 0
        for group in _GROUPS:
            for name, array in getattr(self, group).items():
                if array.dtype.name not in DTYPES:
                    raise InputError(
                        f"the tensor {name} has the dtype {array.dtype}, which is not captured",
                        code="bad-field",
                    )
                data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
                shape = list(array.shape)
                table.append(
                    {"group": group, "name": name, "dtype": array.dtype.name, "shape": shape, "at": offset}
                )
                parts.append(data)
                offset += len(data)
        header = {name: getattr(self, name) for name in _PLAIN}
        header.update({name: dict(getattr(self, name)) for name in ("result", "sensors", "environment")})
        text = json.dumps({"v": FORMAT_VERSION, **header, "tensors": table}, allow_nan=False).encode()
        whole = b"".join((_HEAD.pack(_MAGIC, len(text)), text, *parts))
        if len(whole) > MAX_CAPTURE_BYTES or len(text) > MAX_HEADER_BYTES:
            raise InputError("the inference is too large to capture", code="too-large")
        return whole + hashlib.sha256(whole).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Capture:
        """Read a file from a stranger; InputError (code `bad-capture`) when it is torn, damaged or no capture."""
        f, body = _opened(data)
        groups: dict[str, dict[str, Array]] = {group: {} for group in _GROUPS}
        for entry in f.items("tensors", limit=256):
            group, name, array = _tensor(entry, body)
            groups[group][name] = array
        return cls(
            id=f.text("id", limit=64), time_s=f.number("time_s") or 0.0, boot=f.text("boot", limit=64),
            device=f.text("device", limit=100, default=""), model=f.text("model", limit=100),
            release=f.integer("release"), version=f.text("version", limit=100, default=""),
            model_sha256=f.text("model_sha256", limit=64, default=""),
            pipeline=f.text("pipeline", limit=MAX_HEADER_BYTES, default=""),
            preprocessing=f.integer("preprocessing"), raw_kind=f.text("raw_kind", limit=16, default=""),
            rate_hz=f.integer("rate_hz", default=0), result=f.mapping("result", default={}),
            sensors=f.mapping("sensors", default={}), environment=f.mapping("environment", default={}),
            simulated=f.flag("simulated", default=False), **groups,
        )  # fmt: skip

    @staticmethod
    def summary(data: bytes) -> dict[str, Any]:
        """What a list of captures shows of the file `data`; InputError as `from_bytes`."""
        f, _ = _opened(data)
        result = f.mapping("result", default={})
        return {
            "id": f.text("id", limit=64), "time_s": f.number("time_s"), "model": f.text("model", limit=100),
            "release": f.integer("release"), "version": f.text("version", limit=100, default=""),
            "label": result.get("label"), "confidence": result.get("confidence"), "size_bytes": len(data),
        }  # fmt: skip


_PLAIN = (
    "id", "time_s", "boot", "device", "model", "release", "version", "model_sha256", "pipeline", "preprocessing",
    "raw_kind", "rate_hz", "simulated",
)  # fmt: skip


def _opened(data: bytes) -> tuple[Fields, bytes]:
    if not _HEAD.size + 32 <= len(data) <= MAX_CAPTURE_BYTES + 32:
        raise InputError("this is no capture", hint="Give a .capture file.", code="bad-capture")
    magic, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise InputError("this is no capture", hint="Give a .capture file.", code="bad-capture")
    if hashlib.sha256(data[:-32]).digest() != data[-32:] or length > len(data) - 32 - _HEAD.size:
        raise InputError("the capture is damaged or cut short", hint="Fetch it again.", code="bad-capture")
    end = _HEAD.size + length
    f = Fields(parse_json(data[_HEAD.size : end], where="the capture"), "the capture")
    if f.integer("v") != FORMAT_VERSION:
        raise InputError("the capture has a form that is not understood here", code="bad-capture")
    return f, data[end:-32]


def _tensor(entry: object, body: bytes) -> tuple[str, str, Array]:
    f = Fields(entry, "a tensor")
    group, dtype = f.text("group", limit=8), f.text("dtype", limit=10)
    shape, at = f.items("shape", limit=MAX_RANK), f.integer("at", high=len(body))
    if (
        group not in _GROUPS
        or dtype not in DTYPES
        or not all(type(n) is int and 0 <= n < 2**31 for n in shape)
    ):
        raise InputError("the capture has a tensor of an unknown kind", code="bad-capture")
    count = math.prod(shape)
    kind = np.dtype(dtype).newbyteorder("<")
    if count * kind.itemsize > len(body) - at:
        raise InputError("the capture has a tensor outside its data", code="bad-capture")
    array = np.frombuffer(body, kind, count=count, offset=at).reshape(shape)
    return group, f.text("name", limit=512), array.astype(np.dtype(dtype))
