"""How far a variant's outputs are from its parent's: largest difference, cosine, signal to quantisation noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.runtime.compare import Comparison, Difference
from edgestudio.wire.errors import ModelError


class ErrorMeter:
    """Adds up differences sample by sample, so that no outputs have to be kept."""

    def __init__(self) -> None:
        self.samples = 0
        self._sum = Comparison()
        self._agreed = 0

    def add(self, expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]]) -> bool:
        """Compare the outputs of one sample; False when their number or shapes differ."""
        try:
            self._sum.add_all(expected, actual)
        except ModelError:
            return False
        self._agreed += _same_choice(next(iter(expected.values())), next(iter(actual.values())))
        self.samples += 1
        return True

    @property
    def difference(self) -> Difference:
        """What was added so far."""
        return self._sum.result()

    @property
    def is_finite(self) -> bool:
        """False when one side has numbers where the other has NaN or infinity."""
        return self.difference.differing_nan == 0

    def as_dict(self) -> dict[str, float | int | None]:
        """`max_abs, cosine, sqnr_db` over `n` samples, and the share whose first output has its peak at the
        same place (`agreement`); `sqnr_db` is None without any error."""
        found = self.difference.to_dict()
        return {
            "max_abs": found["max_abs"],
            "cosine": found["cosine"],
            "sqnr_db": found["sqnr_db"],
            "agreement": self._agreed / self.samples if self.samples else None,
            "n": self.samples,
        }


def _same_choice(a: NDArray[Any], b: NDArray[Any]) -> bool:
    is_numeric = a.dtype.kind in "fiub"
    return bool(np.argmax(a) == np.argmax(b)) if is_numeric and a.size else True
