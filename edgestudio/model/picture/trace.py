"""Walks the edges of a graph: everything upstream or downstream of a box, and what lies between two boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgestudio.model.picture.lanes import Ints

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tracer:
    """Edges of one graph, indexed from both ends."""

    count: int
    source: Ints
    target: Ints
    by_source: Ints
    by_target: Ints
    start_of_source: NDArray[np.int64]
    start_of_target: NDArray[np.int64]

    @classmethod
    def of(cls, count: int, source: Ints, target: Ints) -> Tracer:
        """Index the edges between `count` boxes."""
        return cls(
            count,
            source,
            target,
            np.argsort(source, kind="stable").astype(np.int32),
            np.argsort(target, kind="stable").astype(np.int32),
            _starts(count, source),
            _starts(count, target),
        )

    def edges_from(self, box: int) -> Ints:
        """Edges that leave a box."""
        return self.by_source[self.start_of_source[box] : self.start_of_source[box + 1]]

    def edges_into(self, box: int) -> Ints:
        """Edges that enter a box."""
        return self.by_target[self.start_of_target[box] : self.start_of_target[box + 1]]

    def downstream(self, box: int) -> Mask:
        """Which boxes a change of this one can reach, itself included."""
        return self._reach(box, self.start_of_source, self.by_source, self.target)

    def upstream(self, box: int) -> Mask:
        """Which boxes this one depends on, itself included."""
        return self._reach(box, self.start_of_target, self.by_target, self.source)

    def between(self, first: int, last: int) -> Mask:
        """The boxes on any way between two, in whichever direction there is one; none where there is no way."""
        on_way: Mask = self.downstream(first) & self.upstream(last)
        if not on_way[last]:
            on_way = self.downstream(last) & self.upstream(first)
            if not on_way[first]:
                return np.zeros(self.count, bool)
        return on_way

    def _reach(self, box: int, start: NDArray[np.int64], by_end: Ints, other_end: Ints) -> Mask:
        reached = np.zeros(self.count, bool)
        reached[box] = True
        begins, neighbours = start.tolist(), other_end[by_end].tolist()
        waiting = [box]
        while waiting:
            at = waiting.pop()
            for other in neighbours[begins[at] : begins[at + 1]]:
                if not reached[other]:
                    reached[other] = True
                    waiting.append(other)
        return reached


def _starts(count: int, ends: Ints) -> NDArray[np.int64]:
    starts = np.zeros(count + 1, np.int64)
    starts[1:] = np.cumsum(np.bincount(ends, minlength=count))
    return starts
