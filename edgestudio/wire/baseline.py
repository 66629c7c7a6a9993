"""What a model's confidences looked like at home: the file that travels with a release, to judge drift by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.wire.errors import InputError
from edgestudio.wire.histogram import CONFIDENCE_BINS

BINS = CONFIDENCE_BINS
HELD_OUT_WINDOWS = 30
MIN_WINDOWS = 5
"""Fewer held-out windows say nothing about a threshold; none are kept then."""
MIN_WINDOW, MAX_WINDOW = 20, 500


def wasserstein(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """W1 distance of two histograms of counts over [0, 1] with equal bins, in 0..1; NaN when one is empty."""
    if a.sum() <= 0 or b.sum() <= 0:
        return float("nan")
    return float(np.abs(np.cumsum(a / a.sum() - b / b.sum())).sum() / len(a))


@dataclass(frozen=True)
class Baseline:
    """What the confidences of one variant looked like at home: 64 counts over [0, 1].

    `held_out` are the W1 distances of held-out contiguous windows to the reference; `window` is how many
    predictions each of them held.
    """

    counts: NDArray[np.float64]
    held_out: tuple[float, ...] = ()
    window: int = 0

    @property
    def n(self) -> int:
        """Predictions behind the baseline."""
        return int(self.counts.sum())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as it travels with a release (`baseline.json`)."""
        return {
            "schema_version": 1,
            "confidence": {"b": len(self.counts), "c": [int(count) for count in self.counts]},
            "held_out": {"window": self.window, "w1": [round(value, 6) for value in self.held_out]},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Baseline:
        """Read `baseline.json`; raises InputError when it is not one."""
        try:
            counts = np.asarray(document["confidence"]["c"], dtype=np.float64)
            held = document.get("held_out", {})
            distances = tuple(float(value) for value in held.get("w1", ()))
            window = int(held.get("window", 0))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "This is not a baseline of confidences.", hint="Pack the release again."
            ) from error
        if counts.shape != (BINS,) or not np.isfinite(counts).all() or (counts < 0).any():
            raise InputError(
                f"A baseline has {BINS} counts, none below zero.", hint="Pack the release again."
            )
        if not all(0 <= value <= 1 for value in distances):
            raise InputError("A baseline's distances lie between 0 and 1.", hint="Pack the release again.")
        return cls(counts, distances, window)


def baseline_of(confidences: Iterable[float], windows: int = HELD_OUT_WINDOWS) -> Baseline:
    """Baseline from confidences in their order of time: all of them are the histogram; for the threshold one
    half is the reference and the other is cut into contiguous held-out windows (at least 20 values each)."""
    values = np.asarray([value for value in confidences if 0 <= value <= 1], dtype=np.float64)
    half = len(values) // 2
    size = min(max(half // windows, MIN_WINDOW), MAX_WINDOW)
    reference, rest = histogram(values[:half]), values[half:]
    held = tuple(
        wasserstein(reference, histogram(rest[start : start + size]))
        for start in range(0, len(rest) - size + 1, size)
    )
    return Baseline(histogram(values), held if len(held) >= MIN_WINDOWS else (), size)


def histogram(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """64 counts of values in [0, 1]."""
    index = np.clip((values * BINS).astype(np.int64), 0, BINS - 1)
    return np.bincount(index, minlength=BINS).astype(np.float64)
