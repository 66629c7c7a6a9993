"""Two values as two bars, one above the other: before, and after."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from edgestudio.ui import theme


class PairBar(QWidget):
    """The upper bar is muted, the lower one in the colour of `role`."""

    def __init__(self, before: float, after: float, *, role: str = "accent") -> None:
        super().__init__()
        self._values, self._role = (before, after), role
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """Two thin bars."""
        return QSize(120, 18)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint both bars to the same scale."""
        colors = theme.palette()
        largest = max(*self._values, 1e-12)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        for index, (value, role) in enumerate(zip(self._values, ("outline", self._role), strict=True)):
            painter.setBrush(QColor(colors.hover))
            painter.drawRoundedRect(QRectF(0, index * 10, self.width(), 6), 3, 3)
            painter.setBrush(QColor(getattr(colors, role)))
            painter.drawRoundedRect(QRectF(0, index * 10, max(6.0, value / largest * self.width()), 6), 3, 3)
        painter.end()
