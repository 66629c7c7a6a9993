"""How the pieces of edges are drawn: curves from box to lane or box, and arrow heads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QPainterPath

_ARROW_PX = 4.0


def piece_paths(pieces: NDArray[np.float64]) -> tuple[QPainterPath, QPainterPath]:
    """The curves and the arrow heads of pieces (x0, y0, x1, y1, ends in an arrow)."""
    curves, arrows = QPainterPath(), arrow_path()
    for x0, y0, x1, y1, has_arrow in pieces.tolist():
        add_curve(curves, x0, y0, x1, y1 - (1.0 if has_arrow else 0.0))
        if has_arrow:
            add_arrow(arrows, x1, y1)
    return curves, arrows


def arrow_path() -> QPainterPath:
    """An empty path for arrow heads, which may overlap."""
    arrows = QPainterPath()
    arrows.setFillRule(Qt.FillRule.WindingFill)
    return arrows


def add_curve(path: QPainterPath, x0: float, y0: float, x1: float, y1: float) -> None:
    """Append a piece of an edge: straight down, an S, or, where it goes far aside, two rounded corners."""
    path.moveTo(x0, y0)
    aside, middle = x1 - x0, (y0 + y1) / 2
    if abs(aside) < 0.5:
        path.lineTo(x1, y1)
    elif abs(aside) < 2 * (y1 - y0):
        path.cubicTo(x0, middle, x1, middle, x1, y1)
    else:
        corner = (y1 - y0) / 2
        step = corner if aside > 0 else -corner
        path.quadTo(x0, middle, x0 + step, middle)
        path.lineTo(x1 - step, middle)
        path.quadTo(x1, middle, x1, y1)


def add_arrow(path: QPainterPath, x: float, y: float, *, is_upward: bool = False) -> None:
    """Append an arrow head with its point at (x, y)."""
    back = y + _ARROW_PX * 1.7 if is_upward else y - _ARROW_PX * 1.7
    path.moveTo(x, y)
    path.lineTo(x - _ARROW_PX, back)
    path.lineTo(x + _ARROW_PX, back)
    path.closeSubpath()
