"""Walking the edges: upstream, downstream and between."""

from __future__ import annotations

import numpy as np

from edgestudio.model.picture.trace import Tracer

# 0 -> 1 -> 3 -> 4, 0 -> 2 -> 3, 5 alone
SOURCE = np.array([0, 1, 0, 2, 3], np.int32)
TARGET = np.array([1, 3, 2, 3, 4], np.int32)
TRACER = Tracer.of(6, SOURCE, TARGET)


def test_neighbours_by_edge() -> None:
    assert TARGET[TRACER.edges_from(0)].tolist() == [1, 2]
    assert SOURCE[TRACER.edges_into(3)].tolist() == [1, 2]
    assert TRACER.edges_from(5).tolist() == []


def test_upstream_and_downstream() -> None:
    assert np.flatnonzero(TRACER.downstream(1)).tolist() == [1, 3, 4]
    assert np.flatnonzero(TRACER.upstream(1)).tolist() == [0, 1]


def test_between_works_in_either_direction() -> None:
    assert np.flatnonzero(TRACER.between(0, 3)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(TRACER.between(4, 1)).tolist() == [1, 3, 4]
    assert not TRACER.between(1, 2).any()
    assert not TRACER.between(5, 0).any()


def test_cycles_end() -> None:
    ring = Tracer.of(3, np.array([0, 1, 2], np.int32), np.array([1, 2, 0], np.int32))
    assert ring.downstream(0).all()
