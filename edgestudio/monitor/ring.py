"""A fixed block of memory that keeps the newest rows of numbers, in order of time when read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Ring:
    """`capacity` rows of `columns` float64, the first of which is a time; the oldest row is overwritten."""

    def __init__(self, capacity: int, columns: int) -> None:
        self.capacity, self.columns = capacity, columns
        self._rows: Floats = np.full((capacity, columns), np.nan)
        self._next = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: Floats) -> None:
        """Add one row, shape [columns]."""
        self._rows[self._next] = row
        self._next = (self._next + 1) % self.capacity
        self._count = min(self._count + 1, self.capacity)

    def since(self, time: float) -> Floats:
        """A copy of the rows from `time` on, ascending in time, shape [n, columns]."""
        order = (np.arange(self._count) + (self._next - self._count)) % self.capacity
        rows: Floats = self._rows[order]
        rows = rows[rows[:, 0] >= time]
        # What a board kept while nobody listened arrives late.
        if len(rows) > 1 and (np.diff(rows[:, 0]) < 0).any():
            rows = rows[np.argsort(rows[:, 0], kind="stable")]
        return rows
