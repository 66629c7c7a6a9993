"""What preparing an item changes about it beyond its numbers: size, colour, rate, length, axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgestudio.runtime.pipeline.imaging import as_hwc
from edgestudio.runtime.pipeline.preprocess import (
    AudioInput,
    ImageInput,
    Measured,
    Preparer,
    image_layout,
    image_size,
    own_length,
)
from edgestudio.runtime.pipeline.sound import Sound


def conversions(preparer: Preparer, item: Any) -> list[str]:
    """What `preparer` makes of an item that it takes, such as "resized from 28 x 28 to 32 x 32 pixels"."""
    document: Measured = preparer.document
    if isinstance(document, ImageInput):
        return _of_image(preparer, document, item)
    if isinstance(document, AudioInput):
        return _of_sound(preparer, document, item)
    return _of_tensor(preparer, np.asarray(item))


def _of_image(preparer: Preparer, document: ImageInput, item: Any) -> list[str]:
    spec, found = preparer.spec, []
    height, width, channels = as_hwc(item, spec.name).shape
    to_width, to_height = image_size(document, spec, image_layout(document, spec))
    wanted = (to_width or width, to_height or height)
    if wanted != (width, height):
        found.append(
            f"resized ({document.resize}) from {width} x {height} to {wanted[0]} x {wanted[1]} pixels"
        )
    if document.colour == "grey" and channels > 1:
        found.append("turned from colour to grey")
    elif document.colour != "grey" and channels == 1:
        found.append("turned from grey to colour")
    return found


def _of_sound(preparer: Preparer, document: AudioInput, item: Any) -> list[str]:
    sound = item if isinstance(item, Sound) else Sound(np.asarray(item), document.sample_rate_hz)
    found, have = [], len(sound.mono())
    if sound.rate_hz != document.sample_rate_hz:
        found.append(f"resampled from {sound.rate_hz} to {document.sample_rate_hz} Hz")
        have = round(have * document.sample_rate_hz / sound.rate_hz)
    length = document.samples or own_length(preparer.spec)
    if length and have != length:
        found.append(f"{'cut' if have > length else 'padded with silence'} from {have} to {length} samples")
    return found


def _of_tensor(preparer: Preparer, array: np.ndarray[Any, Any]) -> list[str]:
    found = []
    prepared = preparer.prepare(array)
    if _real_sizes(array.shape) != _real_sizes(prepared.shape) and array.size == prepared.size:
        found.append(f"reshaped from {_by(array.shape)} to {_by(prepared.shape)}")
    if array.dtype.kind == "f" and prepared.dtype.kind in "iu" and preparer.quantization is None:
        found.append(f"rounded from {array.dtype} to {prepared.dtype}")
    return found


def _real_sizes(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
