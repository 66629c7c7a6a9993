"""The surface that a graph is painted on: camera, the kept picture, and moving about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from edgestudio.model.graph import Graph
from edgestudio.model.picture.layout import Layout, lay_out
from edgestudio.model.picture.trace import Tracer
from edgestudio.ui import theme
from edgestudio.ui.graph.camera import Camera
from edgestudio.ui.graph.look import Look
from edgestudio.ui.graph.painter import ScenePainter
from edgestudio.ui.graph.scene import Scene, View

_FIRST_ZOOM, _NARROWEST_ZOOM = 0.9, 0.35


class Canvas(QAbstractScrollArea):
    """Shows a layout and moves over it.

    What is painted is kept as a picture: panning moves it and paints only the strip that comes into sight.
    """

    camera_changed = Signal()
    content_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 120)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._camera = Camera()
        self._backing = QPixmap()
        self._painted: Camera | None = None
        self._needs_first_look = False
        self._tracer: Tracer | None = None
        self._show(lay_out(Graph("", (), (), (), ())))
        theme.changed.connect(self._change_look)

    @property
    def layout_shown(self) -> Layout:
        """The layout on screen."""
        return self._scene.layout

    @property
    def scene_shown(self) -> Scene:
        """The indexed layout on screen."""
        return self._scene

    @property
    def tracer(self) -> Tracer:
        """The edges on screen, indexed on first use."""
        if self._tracer is None:
            boxes = self.layout_shown.boxes
            self._tracer = Tracer.of(len(boxes), boxes.source, boxes.target)
        return self._tracer

    @property
    def camera(self) -> Camera:
        """Where one looks from."""
        return self._camera

    def visible(self) -> View:
        """The part of the graph on screen."""
        return self._camera.view(self.viewport().width(), self.viewport().height())

    def reveal(self, box: int) -> None:
        """Bring a box into sight, by as little as possible when it is near, else into the middle."""
        x, y = float(self.layout_shown.x[box]), float(self.layout_shown.y[box])
        camera = self._camera if self._camera.zoom >= 0.25 else Camera(0.7)
        width, height = self.viewport().width(), self.viewport().height()
        shown, margin = camera.view(width, height), 60 / camera.zoom
        inside = (
            shown.left + margin < x < shown.right - margin and shown.top + margin < y < shown.bottom - margin
        )
        if not inside or camera is not self._camera:
            self._move_to(camera.centred(x, y, width, height))

    def pan(self, dx: float, dy: float) -> None:
        """Move the graph by window pixels."""
        self._move_to(self._camera.panned(dx, dy))

    def zoom_by(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom so that the point `at` of the window, by default its middle, stays."""
        point = at or QPointF(self.viewport().rect().center())
        self._move_to(self._camera.zoomed(factor, point.x(), point.y()))

    def zoom_to(self, zoom: float) -> None:
        """Zoom to a scale around the middle."""
        self.zoom_by(zoom / self._camera.zoom)

    def fit(self) -> None:
        """Show the whole graph."""
        self._move_to(
            self._camera.fitting(self._scene.bounds, self.viewport().width(), self.viewport().height())
        )

    def fit_width(self) -> None:
        """Show the top of the graph, as wide as fits: what a tall graph is best opened with."""
        bounds, width, height = self._scene.bounds, self.viewport().width(), self.viewport().height()
        across = max(1.0, bounds.right - bounds.left)
        camera = Camera(min(_FIRST_ZOOM, max(0.35, width / across)))
        x = bounds.left + across / 2
        if len(self._scene):  # the first box in the middle, as far as that hides nothing at the sides
            room = max(0.0, (width / camera.zoom - across) / 2)
            first = float(self._scene.x[0])
            x = min(max(first, x - room), x + room) if room else first
        y = (bounds.top + bounds.bottom) / 2
        if (bounds.bottom - bounds.top) * camera.zoom > height:
            y = bounds.top + height / camera.zoom / 2
        self._move_to(camera.centred(x, y, width, height))

    def look_at(self, x: float, y: float) -> None:
        """Bring a point of the graph into the middle."""
        self._move_to(self._camera.centred(x, y, self.viewport().width(), self.viewport().height()))

    def set_camera(self, camera: Camera) -> None:
        """Look from there, such as from a bookmark."""
        self._move_to(camera)

    def box_at(self, point: QPointF) -> int:
        """The box under a point of the window, -1 for none."""
        row = self._scene.row_at(*self._camera.to_graph(point.x(), point.y()))
        return int(self._scene.box_of_row[row]) if row >= 0 else -1

    def box_rect(self, box: int) -> QRect:
        """Where a box is in the window."""
        layout, boxes = self.layout_shown, self.layout_shown.boxes
        half_w, half_h = float(boxes.width[box]) / 2, float(boxes.height[box]) / 2
        left, top = self._camera.to_window(float(layout.x[box]) - half_w, float(layout.y[box]) - half_h)
        zoom = self._camera.zoom
        return QRect(
            round(left), round(top), max(1, round(half_w * 2 * zoom)), max(1, round(half_h * 2 * zoom))
        )

    def _show(self, layout: Layout) -> None:
        self._scene = Scene(layout)
        self._tracer = None
        self._painter = ScenePainter(self._scene, Look(theme.palette()))
        self._repaint_all()

    def _retell(self, layout: Layout) -> None:
        """The same boxes and edges with other texts: their index, which is large, stays as it is."""
        self._scene.retell(layout)
        self._change_look()

    def _change_look(self) -> None:
        emphasis, frames = self._painter.emphasis, self._painter.frames
        self._painter = ScenePainter(self._scene, Look(theme.palette()))
        self._painter.emphasis, self._painter.frames = emphasis, frames
        self._repaint_all()

    def overview_colors(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The 32-bit colours in which rows appear from afar."""
        return self._painter.pixel_colors(rows)

    def _repaint_all(self) -> None:
        self._painted = None
        self.viewport().update()
        self.content_changed.emit()

    def _look_first(self) -> None:
        if self._needs_first_look and self.viewport().width() > 50:
            self.fit_width()
            # Until somebody moves it, the picture is placed anew for every size: the first ones are seldom the last.
            self._needs_first_look = True

    def _move_to(self, camera: Camera) -> None:
        self._needs_first_look = False
        width, height = self.viewport().width(), self.viewport().height()
        kept = camera.kept_near(self._scene.bounds, width, height).snapped(
            self.viewport().devicePixelRatioF()
        )
        if kept != self._camera:
            self._camera = kept
            self.viewport().update()
            self.camera_changed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the kept picture and what lies over it."""
        self._refresh_backing()
        painter = QPainter(self.viewport())
        painter.drawPixmap(0, 0, self._backing)
        self._paint_over(painter)
        painter.end()

    def _paint_over(self, painter: QPainter) -> None:
        """What a subclass paints over the picture, afresh in every frame."""

    def _refresh_backing(self) -> None:
        """Bring the kept picture up to date: move it if only the origin changed, and paint what is missing."""
        scale = self.viewport().devicePixelRatioF()
        size = self.viewport().size() * scale
        if self._backing.size() != size:
            self._backing = QPixmap(size)
            self._painted = None
        camera, painted = self._camera, self._painted
        if camera == painted:
            return
        zoom, whole = camera.zoom * scale, self._backing.rect()
        missing = [whole]
        if painted is not None and painted.zoom == camera.zoom:
            dx, dy = round((painted.left - camera.left) * zoom), round((painted.top - camera.top) * zoom)
            if abs(dx) < whole.width() and abs(dy) < whole.height():
                self._backing.setDevicePixelRatio(1.0)
                self._backing.scroll(dx, dy, whole)
                missing = _uncovered(whole, dx, dy)
        self._backing.setDevicePixelRatio(1.0)
        painter = QPainter(self._backing)
        for part in missing:
            self._painter.paint(painter, part, camera.left, camera.top, zoom)
        painter.end()
        self._backing.setDevicePixelRatio(scale)
        self._painted = camera

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the middle in the middle, or the first look as good as it can be."""
        super().resizeEvent(event)
        if self._needs_first_look:
            self._look_first()
        elif event.oldSize().isValid():
            grown = event.size() - event.oldSize()
            self._move_to(self._camera.panned(grown.width() / 2, 0))

    def event(self, event: QEvent) -> bool:
        """Repaint where fonts change."""
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.ApplicationFontChange) and hasattr(
            self, "_painter"
        ):
            self._change_look()
        return super().event(event)


def _uncovered(whole: QRect, dx: int, dy: int) -> list[QRect]:
    """The strips of a picture that come into sight when it moves by (dx, dy)."""
    parts = []
    if dx:
        left = 0 if dx > 0 else whole.width() + dx
        parts.append(QRect(left, 0, abs(dx), whole.height()))
    if dy:
        top = 0 if dy > 0 else whole.height() + dy
        parts.append(QRect(0, top, whole.width(), abs(dy)))
    return parts
