"""Turns bytes that came over HTTP or MQTT into a raw item: a picture, a sound, an array or a JSON of numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from edgestudio.runtime.arrays import decode_npy
from edgestudio.runtime.pipeline.imaging import decode_image
from edgestudio.runtime.pipeline.sound import decode_sound
from edgestudio.runtime.pipeline.sources import RawLayout
from edgestudio.wire.errors import InputError
from edgestudio.wire.fields import parse_json

KINDS = ("auto", "image", "wav", "npy", "raw", "json")
_BY_TYPE = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "application/json": "json",
    "application/x-npy": "npy",
}  # fmt: skip
_IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"P5", b"P6")


def kind_of_type(content_type: str) -> str:
    """The payload kind of an HTTP content type; "auto" for the ones that say nothing."""
    plain = content_type.partition(";")[0].strip().lower()
    return "image" if plain.startswith("image/") else _BY_TYPE.get(plain, "auto")


def decode_payload(data: bytes, kind: str, raw: RawLayout | None) -> Any:
    """The raw item in `data`; InputError for what is not of this kind. `raw` is the layout of bare numbers.

    JSON is a nested list of numbers, or an object of such lists by input name.
    """
    if kind == "auto":
        kind = _guess(data)
    if kind == "image":
        return decode_image(data, "payload")
    if kind == "wav":
        return decode_sound(data, "payload")
    if kind == "npy":
        return decode_npy(data, "the payload")
    if kind == "json":
        return _json(data)
    if raw is None:
        raise InputError(
            "the element type and shape of the payload are unknown",
            hint="Send an image, WAV, .npy or JSON, or set raw_dtype and raw_shape in the pipeline.",
            code="bad-item",
        )
    array = np.frombuffer(data[: len(data) - len(data) % np.dtype(raw.dtype).itemsize], raw.dtype)
    if array.nbytes != len(data) or array.size != int(np.prod(raw.shape)):
        raise InputError(
            f"a payload of {len(data)} bytes is no {raw.dtype} of shape {list(raw.shape)}", code="bad-item"
        )
    return array.reshape(raw.shape)


def _guess(data: bytes) -> str:
    if data.startswith(b"\x93NUMPY"):
        return "npy"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data.startswith(_IMAGE_STARTS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return "image"
    return "json" if data[:1] in (b"[", b"{") else "raw"


def _json(data: bytes) -> Any:
    value = parse_json(data, where="the payload")
    try:
        if isinstance(value, dict):
            if not value or len(value) > 64:
                raise InputError("the payload names no inputs, or too many", code="bad-item")
            return {str(name): np.asarray(part, dtype=np.float64) for name, part in value.items()}
        return np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("the payload's JSON is no rectangular list of numbers", code="bad-item") from error


def json_bytes(value: Any) -> bytes:
    """`value` as compact JSON without NaN."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
