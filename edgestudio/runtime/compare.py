"""How far two sets of outputs are apart: largest difference, direction, signal to noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgestudio.wire.errors import ModelError

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Difference:
    """`sqnr_db` is 10 log10(sum reference² / sum error²), infinite for equal values; `n` counts values.

    `cosine` is None where one side is all zero; `differing_nan` counts values that only one side has finite.
    """

    max_abs: float
    mean_abs: float
    cosine: float | None
    sqnr_db: float
    n: int
    differing_nan: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether every value is the same."""
        return self.max_abs == 0 and self.differing_nan == 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; an infinite ratio is None."""
        return {
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "cosine": self.cosine,
            "sqnr_db": self.sqnr_db if math.isfinite(self.sqnr_db) else None,
            "n": self.n,
            "differing_nan": self.differing_nan,
        }


class Comparison:
    """Adds up differences over many samples and outputs, in one pass."""

    def __init__(self) -> None:
        self._n = self._nan = 0
        self._max = self._sum = self._error = self._dot = self._left = self._right = 0.0

    def add(self, reference: npt.NDArray[Any], candidate: npt.NDArray[Any]) -> None:
        """Add two arrays of one shape; ModelError when the shapes differ or the values are no numbers."""
        if reference.shape != candidate.shape:
            raise ModelError(
                f"outputs of shapes {list(reference.shape)} and {list(candidate.shape)} cannot be compared",
                code="bad-output",
            )
        if reference.dtype.kind not in "fiub" or candidate.dtype.kind not in "fiub":
            different = int(np.sum(reference != candidate))
            self._n += reference.size
            self._nan += different
            return
        a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
        finite = np.isfinite(a) & np.isfinite(b)
        self._nan += int(np.sum(~finite & ~((a == b) | (np.isnan(a) & np.isnan(b)))))
        a, b = a[finite], b[finite]
        self._n += len(a)
        if len(a) == 0:
            return
        error = np.abs(a - b)
        self._max = max(self._max, float(error.max()))
        self._sum += float(error.sum())
        self._error += float(error @ error)
        self._dot += float(a @ b)
        self._left += float(a @ a)
        self._right += float(b @ b)

    def add_all(self, reference: Arrays, candidate: Arrays) -> None:
        """Add outputs that go by the same names, or, where names changed, in the same order."""
        for a, b in paired(reference, candidate):
            self.add(a, b)

    def result(self) -> Difference:
        """What was added so far; all zero when nothing was."""
        norm = math.sqrt(self._left) * math.sqrt(self._right)
        if self._left == 0 == self._right:
            cosine = 1.0 if self._n else None
        else:
            cosine = min(1.0, max(-1.0, self._dot / norm)) if norm > 0 else None
        if self._error == 0:
            sqnr_db = math.inf
        else:
            sqnr_db = 10 * math.log10(self._left / self._error) if self._left > 0 else -math.inf
        mean = self._sum / self._n if self._n else 0.0
        return Difference(self._max, mean, cosine, sqnr_db, self._n, self._nan)


def compare(reference: Arrays, candidate: Arrays) -> Difference:
    """The difference of one pair of outputs."""
    comparison = Comparison()
    comparison.add_all(reference, candidate)
    return comparison.result()


def paired(reference: Arrays, candidate: Arrays) -> Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Outputs by name, or by position where another tool renamed them; ModelError when counts differ."""
    if len(reference) != len(candidate):
        raise ModelError(
            f"{len(reference)} outputs cannot be compared with {len(candidate)}", code="bad-output"
        )
    if set(reference) == set(candidate):
        return [(reference[name], candidate[name]) for name in reference]
    return list(zip(reference.values(), candidate.values(), strict=True))
