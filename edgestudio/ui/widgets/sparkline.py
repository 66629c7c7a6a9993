"""Many boards at a glance: one painted widget with a tile per board, cheap enough for dozens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from edgestudio.ui import theme
from edgestudio.ui.widgets.chart_card import line_pen

Floats = NDArray[np.float64]
_TILE_PX, _TILE_HEIGHT_PX, _GAP_PX = 260, 116, 12


@dataclass(frozen=True, slots=True)
class Tile:
    """One board: its state in a word, up to three lines with a text each, and what must not be missed."""

    key: str
    name: str
    state: str
    is_well: bool
    is_simulated: bool
    lines: tuple[tuple[str, Floats], ...]


class SparkWall(QWidget):
    """Tiles in a grid; `chosen` carries the key of the one that was clicked."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("board-wall")
        self.setAccessibleName("All boards")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._tiles: tuple[Tile, ...] = ()
        self._at = 0
        theme.changed.connect(self.update)

    def draw(self, tiles: Sequence[Tile]) -> None:
        """Draw these boards."""
        self._tiles = tuple(tiles)
        self.setMinimumHeight(self._rows() * (_TILE_HEIGHT_PX + _GAP_PX) + _GAP_PX)
        self.update()

    def sizeHint(self) -> QSize:
        """Room for a few tiles."""
        return QSize(3 * (_TILE_PX + _GAP_PX), 3 * (_TILE_HEIGHT_PX + _GAP_PX))

    def tile_rect(self, index: int) -> QRect:
        """Where a tile is."""
        columns = self._columns()
        width = (self.width() - _GAP_PX * (columns + 1)) // columns
        x = _GAP_PX + index % columns * (width + _GAP_PX)
        return QRect(x, _GAP_PX + index // columns * (_TILE_HEIGHT_PX + _GAP_PX), width, _TILE_HEIGHT_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint every tile in sight."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for index, tile in enumerate(self._tiles):
            rect = self.tile_rect(index)
            if rect.intersects(event.rect()):
                self._paint(painter, rect, tile, has_focus=self.hasFocus() and index == self._at)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a board."""
        for index, tile in enumerate(self._tiles):
            if self.tile_rect(index).contains(event.position().toPoint()):
                self._at = index
                self.chosen.emit(tile.key)
                return

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Walk with the arrows, choose with Enter."""
        steps = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -self._columns(), Qt.Key.Key_Down: self._columns()
        }  # fmt: skip
        key = Qt.Key(event.key())
        if key in steps and self._tiles:
            self._at = min(max(0, self._at + steps[key]), len(self._tiles) - 1)
            self.update()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._tiles:
            self.chosen.emit(self._tiles[self._at].key)
        else:
            super().keyPressEvent(event)

    def _columns(self) -> int:
        return max(1, (self.width() - _GAP_PX) // (_TILE_PX + _GAP_PX))

    def _rows(self) -> int:
        return -(-len(self._tiles) // self._columns())

    def _paint(self, painter: QPainter, rect: QRect, tile: Tile, *, has_focus: bool) -> None:
        colors = theme.palette()
        painter.setPen(QPen(QColor(colors.accent if has_focus else colors.border), 1))
        painter.setBrush(QColor(colors.raised))
        painter.drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        inner = rect.adjusted(12, 8, -12, -8)
        top = QRect(inner.left(), inner.top(), inner.width(), 18)
        painter.setPen(QColor(colors.text))
        name = painter.fontMetrics().elidedText(
            tile.name, Qt.TextElideMode.ElideRight, inner.width() * 2 // 3
        )
        painter.drawText(top, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), name)
        painter.setPen(QColor(colors.good if tile.is_well else colors.bad))
        mark = "●" if tile.is_well else "▲"
        painter.drawText(
            top, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{mark} {tile.state}"
        )
        if tile.is_simulated:
            painter.setPen(QColor(colors.warning))
            below = QRect(inner.left(), inner.top() + 17, inner.width(), 16)
            painter.drawText(
                below, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), "SIMULATED SENSORS"
            )
        height = max(1, (inner.height() - 36) // max(1, len(tile.lines)))
        for number, (text, values) in enumerate(tile.lines):
            row = QRect(inner.left(), inner.top() + 36 + number * height, inner.width(), height)
            painter.setPen(QColor(colors.muted))
            painter.drawText(row, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)
            painter.setPen(line_pen(number, 1.4))
            for run in _runs(values, QRectF(row.adjusted(0, 3, -row.width() * 2 // 5, -3))):
                painter.drawPolyline(run)


def _runs(values: Floats, area: QRectF) -> list[QPolygonF]:
    """Polylines of the stretches without gaps, at most two points for each pixel."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return []
    low, high = float(known.min()), float(known.max())
    low, high = (low - 0.5, high + 0.5) if math.isclose(low, high) else (low, high)
    step = max(1, int(len(values) / max(1.0, area.width() * 2)))
    x = area.left() + np.arange(0, len(values), step) / max(1, len(values) - 1) * area.width()
    y = area.bottom() - (values[::step] - low) / (high - low) * area.height()
    breaks = np.flatnonzero(~np.isfinite(y))
    pieces = np.split(np.arange(len(y)), breaks)
    runs = []
    for piece in pieces:
        inside = piece[np.isfinite(y[piece])]
        if len(inside) > 1:
            runs.append(
                QPolygonF(
                    [QPointF(a, b) for a, b in zip(x[inside].tolist(), y[inside].tolist(), strict=True)]
                )
            )
    return runs
