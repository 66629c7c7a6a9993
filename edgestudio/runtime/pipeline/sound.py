"""Reads WAV files and brings sound to the sample rate that a model expects."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgestudio.wire.errors import InputError

AUDIO_SUFFIXES = frozenset({".wav"})
MAX_SAMPLES = 1 << 26
_HALF_TAPS = 16


@dataclass(frozen=True)
class Sound:
    """Samples [n] or [n, channels], integers or reals in -1..1, at `rate_hz`."""

    samples: npt.NDArray[Any]
    rate_hz: int

    def mono(self) -> npt.NDArray[np.float32]:
        """Float32 [n] in -1..1, channels averaged; InputError when there is nothing to hear."""
        samples = np.asarray(self.samples)
        if samples.dtype.kind not in "fiu" or samples.size == 0 or samples.size > MAX_SAMPLES:
            raise InputError("the item is no sound, empty, or too long", code="bad-item")
        real: npt.NDArray[Any] = samples.astype(np.float32)
        if samples.dtype == np.uint8:
            real = (real - np.float32(128)) / np.float32(128)
        elif samples.dtype.kind == "i":
            real /= float(np.iinfo(samples.dtype).max) + 1
        real = np.squeeze(real)
        if real.ndim == 2:
            # Channels are the short side: two million channels of two samples are no sound.
            real = real.mean(axis=1 if real.shape[1] <= real.shape[0] else 0)
        if real.ndim > 1:
            raise InputError(f"a sound has one or two dimensions, not {real.ndim}", code="bad-item")
        return np.atleast_1d(real).astype(np.float32)


def read_sound(path: Path) -> Sound:
    """The whole WAV file (PCM of 8, 16, 24 or 32 bits); InputError for anything else."""
    return next(read_windows(path, None, None))


def decode_sound(data: bytes, name: str = "sound") -> Sound:
    """Encoded bytes of a whole WAV file; InputError for anything else."""
    return next(_windows(io.BytesIO(data), name, None, None))


def read_windows(path: Path, window: int | None, hop: int | None) -> Iterator[Sound]:
    """Windows of `window` samples every `hop` (None: the whole file as one); the last may be shorter."""
    try:
        with path.open("rb") as stream:
            yield from _windows(stream, path.name, window, hop)
    except OSError as error:
        raise InputError(
            f"the sound {path} cannot be read: {error.strerror or error}", code="bad-sound"
        ) from error


def _windows(stream: IO[bytes], name: str, window: int | None, hop: int | None) -> Iterator[Sound]:
    try:
        with wave.open(stream, "rb") as file:
            channels, width, rate_hz, total = (
                file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes(),
            )  # fmt: skip
            if total == 0 or channels == 0 or rate_hz <= 0:
                raise InputError(f"the sound {name} is empty", code="bad-sound")
            size = total if window is None else window
            if size * channels > MAX_SAMPLES:
                raise InputError(f"the sound {name} is too long to read as one item", code="bad-sound")
            start = 0
            while start < total:
                file.setpos(start)
                frames = file.readframes(min(size, total - start))
                if not frames:
                    raise InputError(f"the sound {name} is cut short", code="bad-sound")
                yield Sound(_decoded(frames, width, channels), rate_hz)
                start += hop or size
    except (wave.Error, EOFError) as error:
        raise InputError(f"{name} is no WAV file that can be read: {error}", code="bad-sound") from error


def _decoded(frames: bytes, width: int, channels: int) -> npt.NDArray[Any]:
    frames = frames[: len(frames) - len(frames) % (width * channels)]
    if width == 3:
        bytes3 = np.frombuffer(frames, np.uint8).reshape(-1, 3)
        padded = np.zeros((len(bytes3), 4), np.uint8)
        padded[:, 1:] = bytes3  # the three bytes become the upper ones: the sign is right
        samples: npt.NDArray[Any] = padded.view("<i4").ravel()
    elif width in (1, 2, 4):
        samples = np.frombuffer(frames, {1: "u1", 2: "<i2", 4: "<i4"}[width])
    else:
        raise InputError(f"sound of {width * 8} bits a sample cannot be read", code="bad-sound")
    return samples.reshape(-1, channels) if channels > 1 else samples


def resampled(samples: npt.NDArray[np.float32], rate_hz: int, wanted_hz: int) -> npt.NDArray[np.float32]:
    """`samples` [n] at `wanted_hz`: band-limited interpolation with a Hann-windowed sinc of 32 taps."""
    if rate_hz == wanted_hz:
        return samples
    ratio = wanted_hz / rate_hz
    count = math.floor(len(samples) * ratio)
    if count < 1 or count > MAX_SAMPLES:
        raise InputError(
            f"a sound of {len(samples)} samples at {rate_hz} Hz cannot be resampled", code="bad-item"
        )
    cutoff = min(1.0, ratio)
    half = math.ceil(_HALF_TAPS / cutoff)
    padded = np.pad(samples, half)
    result = np.empty(count, np.float32)
    taps = np.arange(-half + 1, half + 1)
    for start in range(0, count, 8192):  # bounded memory whatever the length
        moments = np.arange(start, min(start + 8192, count)) / ratio
        whole = np.floor(moments).astype(np.int64)
        distance = taps[None, :] - (moments - whole)[:, None]
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / half, -1, 1))
        kernel = np.sinc(distance * cutoff) * cutoff * window
        result[start : start + len(moments)] = (padded[whole[:, None] + taps[None, :] + half] * kernel).sum(
            axis=1
        )
    return result
