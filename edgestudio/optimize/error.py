"""How far a variant's outputs are from its parent's: largest difference, cosine, signal to quantisation noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.runtime.compare import Comparison, Difference, paired
from edgestudio.wire.errors import ModelError


class ErrorMeter:
    """Adds up differences sample by sample, so that no outputs have to be kept."""

    def __init__(self) -> None:
        self.samples = 0
        self.is_reference_finite = True
        """Whether the reference itself answered in numbers throughout."""
        self._sum = Comparison()
        self._agreed = 0

    def add(self, expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]]) -> bool:
        """Compare the outputs of one sample; False when their number or shapes differ.

        Where a model gives reals and classes, the reals are compared: a distance between the numbers of two classes
        means nothing.
        """
        try:
            pairs = list(paired(expected, actual))
            reals = [(a, b) for a, b in pairs if a.dtype.kind == "f"]
            for a, b in reals or pairs:
                self._sum.add(a, b)
        except ModelError:
            return False
        self.is_reference_finite &= all(bool(np.isfinite(a).all()) for a, _ in reals)
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
