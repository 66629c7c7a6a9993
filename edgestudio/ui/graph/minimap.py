"""The whole graph as a strip beside the view: where one is, and a click away from anywhere else."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from edgestudio.ui import theme
from edgestudio.ui.graph.view import GraphView

_WIDTH_PX = 84
_MARGIN_PX = 8
_LARGEST_SCALE = 0.16


class MiniMap(QWidget):
    """Follows a view. Width and height are scaled apart, so that even a chain of 50,000 nodes can be read."""

    def __init__(self, view: GraphView) -> None:
        super().__init__()
        self.setObjectName("graph-minimap")
        self.setAccessibleName("Overview of the whole graph")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self._view = view
        self._picture: QImage | None = None
        view.camera_changed.connect(self.update)
        view.content_changed.connect(self._redraw)
        theme.changed.connect(self._redraw)

    def sizeHint(self) -> QSize:
        """A narrow strip."""
        return QSize(_WIDTH_PX, 200)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw for the new size."""
        self._redraw()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture, and a frame around what the view shows."""
        if self._picture is None:
            self._picture = self._draw()
        painter = QPainter(self)
        painter.drawImage(0, 0, self._picture)
        colors = theme.palette()
        frame = QColor(colors.accent)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(frame, 1.2))
        frame.setAlpha(36)
        painter.setBrush(frame)
        painter.drawRoundedRect(self.frame(), 3, 3)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QColor(colors.border))
        painter.drawLine(0, 0, 0, self.height())
        painter.end()

    def frame(self) -> QRectF:
        """What the view shows, in this widget; never thinner than can be seen."""
        left, top, scale_x, scale_y = self._scales()
        shown = self._view.visible()
        x0 = max(2.0, (shown.left - left) * scale_x + _MARGIN_PX)
        x1 = min(self.width() - 2.0, (shown.right - left) * scale_x + _MARGIN_PX)
        y0 = max(1.0, (shown.top - top) * scale_y + _MARGIN_PX)
        y1 = min(self.height() - 1.0, (shown.bottom - top) * scale_y + _MARGIN_PX)
        return QRectF(x0, min(y0, self.height() - 5.0), max(4.0, x1 - x0), max(4.0, y1 - y0))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Look there."""
        self._look(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on looking while the button is down."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._look(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Move by pages."""
        self._view.pan(0, np.sign(event.angleDelta().y()) * self._view.viewport().height() * 0.8)
        event.accept()

    def _look(self, event: QMouseEvent) -> None:
        left, top, scale_x, scale_y = self._scales()
        at = event.position()
        self._view.look_at(left + (at.x() - _MARGIN_PX) / scale_x, top + (at.y() - _MARGIN_PX) / scale_y)

    def _scales(self) -> tuple[float, float, float, float]:
        """Left and top of the graph, and widget pixels per graph pixel across and down."""
        bounds = self._view.scene_shown.bounds
        across, down = max(1.0, bounds.right - bounds.left), max(1.0, bounds.bottom - bounds.top)
        room_x, room_y = max(1, self.width() - 2 * _MARGIN_PX), max(1, self.height() - 2 * _MARGIN_PX)
        scale_x, scale_y = min(_LARGEST_SCALE, room_x / across), min(_LARGEST_SCALE, room_y / down)
        left = bounds.left - (room_x / scale_x - across) / 2
        return left, bounds.top, scale_x, scale_y

    def _redraw(self) -> None:
        self._picture = None
        self.update()

    def _draw(self) -> QImage:
        scale = self.devicePixelRatioF()
        width, height = max(1, round(self.width() * scale)), max(1, round(self.height() * scale))
        pixels = np.full((height, width), QColor(theme.palette().panel).rgb(), np.uint32)
        scene = self._view.scene_shown
        left, top, scale_x, scale_y = self._scales()
        if len(scene):
            rows = np.arange(len(scene))
            x0 = ((scene.x - scene.half_w - left) * scale_x + _MARGIN_PX) * scale
            x1 = ((scene.x + scene.half_w - left) * scale_x + _MARGIN_PX) * scale
            y0 = (((scene.y - scene.half_h - top) * scale_y + _MARGIN_PX) * scale).astype(np.intp)
            first, last = (
                np.clip(x0.astype(np.intp), 0, width - 1),
                np.clip(np.ceil(x1).astype(np.intp), 1, width),
            )
            colors = self._view.overview_colors(rows)
            thickness = max(1, int(scene.tallest * 2 * scale_y * scale * 0.8))
            for dx in range(int((last - first).max())):
                wide = first + dx < last
                for dy in range(thickness):
                    pixels[np.clip(y0[wide] + dy, 0, height - 1), first[wide] + dx] = colors[wide]
        image = QImage(pixels.data, width, height, width * 4, QImage.Format.Format_RGB32).copy()
        image.setDevicePixelRatio(scale)
        return image
