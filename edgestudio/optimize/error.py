"""How far a variant's outputs are from its parent's: largest difference, cosine, signal to quantisation noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ErrorMeter:
    """Adds up differences sample by sample, so that no outputs have to be kept."""

    def __init__(self) -> None:
        self.samples = 0
        self.is_finite = True
        self._largest = self._product = self._signal = self._other = self._noise = 0.0
        self._agreed = 0

    def add(self, expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]]) -> bool:
        """Compare the outputs of one sample, by name or, where names differ, by place; False when shapes differ."""
        pairs = [(expected[name], actual[name]) for name in expected if name in actual]
        if len(pairs) < len(expected):
            pairs = list(zip(expected.values(), actual.values(), strict=False))
        numbers = [(a, b) for a, b in pairs if a.dtype.kind in "fiub" and b.dtype.kind in "fiub"]
        if not numbers or any(a.shape != b.shape for a, b in numbers):
            return False
        for a, b in numbers:
            self._add(a.astype(np.float64).ravel(), b.astype(np.float64).ravel())
        self._agreed += _same_choice(*numbers[0])
        self.samples += 1
        return True

    def _add(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        if np.isfinite(a).all() and not np.isfinite(b).all():
            self.is_finite = False
            return
        there = np.isfinite(a) & np.isfinite(b)
        a, b = a[there], b[there]
        difference = a - b
        self._largest = max(self._largest, float(np.abs(difference).max(initial=0)))
        self._product += float(a @ b)
        self._signal += float(a @ a)
        self._other += float(b @ b)
        self._noise += float(difference @ difference)

    @property
    def cosine(self) -> float | None:
        """Cosine between all outputs, None when one side is zero."""
        length = math.sqrt(self._signal * self._other)
        return min(1.0, self._product / length) if length else None

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantisation noise in dB, None when there is no noise or no signal."""
        return 10 * math.log10(self._signal / self._noise) if self._noise and self._signal else None

    def as_dict(self) -> dict[str, float | int | None]:
        """`max_abs, cosine, sqnr_db` over `n` samples, and the share whose first output has its peak at the
        same place (`agreement`)."""
        return {
            "max_abs": self._largest,
            "cosine": self.cosine,
            "sqnr_db": self.sqnr_db,
            "agreement": self._agreed / self.samples if self.samples else None,
            "n": self.samples,
        }


def _same_choice(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.size == 0 or bool(np.argmax(a) == np.argmax(b))
