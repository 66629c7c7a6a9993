"""Pieces of edges that go far aside: thousands of them lie on one line, which is drawn once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF
from PySide6.QtGui import QPainterPath

from edgestudio.ui.graph.edge_paths import add_arrow, arrow_path

Pieces = NDArray[np.float64]
Span = tuple[float, float]


def paths(pieces: Pieces) -> tuple[QPainterPath, QPainterPath]:
    """The curves and arrow heads of pieces, as `edge_paths.piece_paths` draws them."""
    curves, arrows = QPainterPath(), arrow_path()
    spans: dict[float, list[Span]] = {}
    for x0, y0, x1, y1, has_arrow in pieces.tolist():
        end = y1 - (1.0 if has_arrow else 0.0)
        middle, corner = (y0 + end) / 2, (end - y0) / 2
        spans.setdefault(middle, []).append((min(x0, x1) + corner, max(x0, x1) - corner))
        if has_arrow:
            add_arrow(arrows, x1, y1)
    for x0, y0, step, end in _corners(pieces):
        middle = (y0 + end) / 2
        curves.moveTo(x0, y0)
        curves.quadTo(x0, middle, x0 + step, middle)
    for middle, parts in spans.items():
        for left, right in _joined(parts):
            curves.moveTo(left, middle)
            curves.lineTo(right, middle)
    return curves, arrows


def lines(pieces: Pieces) -> list[QLineF]:
    """The same as they look from afar: down, across and down."""
    spans: dict[float, list[Span]] = {}
    found = []
    for x0, y0, x1, y1, _ in pieces.tolist():
        middle = (y0 + y1) / 2
        spans.setdefault(middle, []).append((min(x0, x1), max(x0, x1)))
        found += [(x0, y0, x0, middle), (x1, middle, x1, y1)]
    across = ((left, y, right, y) for y, parts in spans.items() for left, right in _joined(parts))
    return [QLineF(*ends) for ends in (*dict.fromkeys(found), *across)]


def _corners(pieces: Pieces) -> Iterable[tuple[float, float, float, float]]:
    """Each end once: its x, the y of the box, how far its corner reaches aside, the y at the other end."""
    found: dict[tuple[float, float, float, float], None] = {}
    for x0, y0, x1, y1, has_arrow in pieces.tolist():
        end = y1 - (1.0 if has_arrow else 0.0)
        step = (end - y0) / 2 if x1 > x0 else (y0 - end) / 2
        found[x0, y0, step, end] = None
        found[x1, end, -step, y0] = None
    return found


def _joined(spans: list[Span]) -> list[Span]:
    """Spans of one line, those that touch as one."""
    found: list[Span] = []
    for left, right in sorted(spans):
        if found and left <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found
