"""A distribution on 0..1 as bars, with its baseline as a stepped line over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from edgestudio.ui import theme

Floats = NDArray[np.float64]
_AXIS_PX = 18


class Histogram(QWidget):
    """Both are drawn as shares, so that a thousand samples compare with a hundred."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Distribution of confidence")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setMinimumSize(40, 40)
        self._counts: Floats | None = None
        self._baseline: Floats | None = None
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """A card's width."""
        return QSize(280, 140)

    def draw(self, counts: Floats | None, baseline: Floats | None) -> None:
        """Draw counts in equal bins, and the baseline where there is one."""
        self._counts, self._baseline = _shares(counts), _shares(baseline)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Bars, then the line, then the axis."""
        colors = theme.palette()
        painter = QPainter(self)
        area = QRectF(0, 4, self.width(), self.height() - _AXIS_PX - 4)
        known = [shares for shares in (self._counts, self._baseline) if shares is not None]
        top = max((float(shares.max()) for shares in known), default=0.0) or 1.0
        if self._counts is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            fill = QColor(colors.chart[0])
            fill.setAlpha(150)
            painter.setBrush(fill)
            width = area.width() / len(self._counts)
            for index in np.flatnonzero(self._counts).tolist():
                height = float(self._counts[index]) / top * area.height()
                painter.drawRect(QRectF(index * width, area.bottom() - height, max(1.0, width - 1), height))
        if self._baseline is not None:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(colors.chart[1]), 1.8))
            painter.drawPolyline(_steps(self._baseline, area, top))
        painter.setPen(QColor(colors.border))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.setPen(QColor(colors.muted))
        for share, flag in (
            (0.0, Qt.AlignmentFlag.AlignLeft),
            (0.5, Qt.AlignmentFlag.AlignHCenter),
            (1.0, Qt.AlignmentFlag.AlignRight),
        ):
            room = QRectF(0, area.bottom() + 3, self.width(), _AXIS_PX)
            painter.drawText(room, int(flag | Qt.AlignmentFlag.AlignTop), f"{share:g}")
        painter.end()


def _shares(counts: Floats | None) -> Floats | None:
    if counts is None or not len(counts) or float(counts.sum()) <= 0:
        return None
    return np.asarray(counts, np.float64) / float(counts.sum())


def _steps(shares: Floats, area: QRectF, top: float) -> QPolygonF:
    width = area.width() / len(shares)
    points = []
    for index, share in enumerate(shares.tolist()):
        y = area.bottom() - share / top * area.height()
        points += [QPointF(index * width, y), QPointF((index + 1) * width, y)]
    return QPolygonF(points)
