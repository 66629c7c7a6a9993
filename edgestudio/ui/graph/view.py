"""The graph as one painted widget: pan, zoom, select, walk by keyboard, highlight neighbours and traces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from edgestudio.model.graph import Model
from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.layout import Layout
from edgestudio.runtime.format_names import format_title
from edgestudio.ui.graph import walk
from edgestudio.ui.graph.camera import Camera
from edgestudio.ui.graph.canvas import Canvas
from edgestudio.ui.graph.marks import paint_marks
from edgestudio.ui.graph.painter import Emphasis, Frames

_ZOOM_STEP = 1.25
NO_FRAMES = Frames(np.zeros((0, 4)), [])
_WHEEL_ZOOM = 1.0015
_CLICK_SLOP_PX = 4
_MOST_EMPTY = 0.1
"""Of a window after groups were opened or closed."""
_FIRST_ZOOM = 0.9


class GraphView(Canvas):
    """Shows a layout. Boxes are numbered as in the layout; nodes as in the graph, -1 standing for none.

    Select by click, walk by keyboard, trace the way between two boxes by Shift and a click.
    """

    node_selected = Signal(int)
    box_selected = Signal(int)
    box_activated = Signal(int)
    menu_requested = Signal(int, QPoint)
    trace_changed = Signal()
    left_upwards = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-view")
        self.setAccessibleName("Graph")
        self.viewport().setMouseTracking(True)
        self._pressed: QPointF | None = None
        self._moved = False
        self._hovered = -1
        self._selected = -1
        self._trace: NDArray[np.bool_] | None = None
        self._found: NDArray[np.bool_] | None = None
        self._frames = NO_FRAMES
        self._overlay: tuple[NDArray[np.float64], list[str], tuple[str, ...] | None] | None = None

    # --- what is shown

    def set_model(self, model: Model | None, layout: Layout) -> None:
        """Show the layout of a model's graph, from its top; `model` is not needed for painting."""
        self.setAccessibleDescription(
            f"{len(layout)} boxes" + (f" of {format_title(model.format)}" if model else "")
        )
        self._show(layout)
        self._selected = self._hovered = -1
        self._trace = self._found = None
        self._overlay = None
        self._frames = NO_FRAMES
        self._apply_emphasis()
        self._needs_first_look = True
        self._look_first()

    def retell(self, layout: Layout) -> None:
        """Take over other texts for the boxes that are shown; places and edges are the same."""
        self._retell(layout)

    def replace_layout(self, layout: Layout, *, hold: tuple[int, int]) -> None:
        """Show another layout of the same graph, so that box `hold[0]` of the old is where `hold[1]` of the new is."""
        old, new = hold
        at = (
            self._camera.to_window(float(self.layout_shown.x[old]), float(self.layout_shown.y[old]))
            if old >= 0
            else None
        )
        self._show(layout)
        self._selected, self._hovered = -1, -1
        self._trace = self._found = None
        self._overlay = None
        self._frames = NO_FRAMES
        self._apply_emphasis()
        if at is not None and new >= 0:
            zoom = self._camera.zoom
            camera = Camera(zoom, float(layout.x[new]) - at[0] / zoom, float(layout.y[new]) - at[1] / zoom)
            width, height = self.viewport().width(), self.viewport().height()
            self._move_to(camera.kept_near(self._scene.bounds, width, height, empty=_MOST_EMPTY))
        else:
            self.fit_width()

    # --- selection, search results, traces, overlays

    @property
    def selected_box(self) -> int:
        """The selected box, -1 for none."""
        return self._selected

    def select(self, node: int, *, reveals: bool = True) -> None:
        """Select the box of a node of the graph and bring it into sight; -1 clears the selection."""
        found = np.flatnonzero(
            (self.layout_shown.boxes.ref == node) & (self.layout_shown.boxes.kind == BoxKind.OPERATOR)
        )
        self.select_box(int(found[0]) if node >= 0 and len(found) else -1, reveals=reveals)

    def select_box(self, box: int, *, reveals: bool = True) -> None:
        """Select a box and bring it into sight; -1 clears the selection."""
        if reveals and box >= 0:
            self.reveal(box)
        if box == self._selected:
            return
        self._selected = box
        self.viewport().update()
        self.box_selected.emit(box)
        self.node_selected.emit(self.node_of(box))

    def node_of(self, box: int) -> int:
        """The node that a box stands for, -1 for terminals, groups and none."""
        boxes = self.layout_shown.boxes
        return int(boxes.ref[box]) if box >= 0 and boxes.kind[box] == BoxKind.OPERATOR else -1

    def show_found(self, boxes: NDArray[np.bool_] | None) -> None:
        """Let everything but these boxes step back; None brings all of them forward again."""
        self._found = boxes
        self._apply_emphasis()

    def show_trace(self, boxes: NDArray[np.bool_] | None) -> None:
        """Emphasise the boxes of a trace (a path, all downstream); None ends it."""
        self._trace = boxes
        self._apply_emphasis()
        self.trace_changed.emit()

    @property
    def trace(self) -> NDArray[np.bool_] | None:
        """The boxes of the trace that is shown."""
        return self._trace

    def show_overlay(
        self,
        positions: NDArray[np.float64] | None,
        texts: list[str] | None = None,
        ramp: tuple[str, ...] | None = None,
    ) -> None:
        """Colour boxes by a place in 0..1 each (NaN for none) and write `texts` into them; None ends it.

        `ramp` are the colours from 0 to 1, by default those of the theme.
        """
        self._overlay = None if positions is None else (positions, texts or [], ramp)
        self._apply_emphasis()

    def show_frames(self, frames: Frames) -> None:
        """Draw titled frames behind the boxes, such as those of open groups."""
        self._frames = frames
        self._painter.frames = frames
        self._repaint_all()

    def _paint_over(self, painter: QPainter) -> None:
        paint_marks(painter, self, self._painter.look, self._selected, self._hovered)

    def _apply_emphasis(self) -> None:
        order = self._scene.box_of_row
        shown = self._trace if self._trace is not None else self._found
        emphasis = Emphasis(shown=None if shown is None else shown[order])
        if self._overlay is not None:
            positions, texts, emphasis.ramp = self._overlay
            emphasis.positions = positions[order]
            emphasis.texts = [texts[box] for box in order.tolist()] if texts else []
        self._painter.emphasis = emphasis
        self._painter.frames = self._frames
        self._repaint_all()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a drag or a click."""
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._pressed, self._moved = event.position(), False
            event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan while a button is down, else light up what the pointer is on."""
        if self._pressed is not None:
            step = event.position() - self._pressed
            if self._moved or step.manhattanLength() > _CLICK_SLOP_PX:
                self._moved = True
                self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
                self._pressed = event.position()
                self.pan(step.x(), step.y())
            return
        self._hover(self.box_at(event.position()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag, or select what was clicked; Shift traces the way from the selection."""
        if self._pressed is None:
            return
        was_click, self._pressed = not self._moved, None
        self.viewport().unsetCursor()
        if was_click and event.button() == Qt.MouseButton.LeftButton:
            box = self.box_at(event.position())
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and box >= 0 and self._selected >= 0:
                self.show_trace(self.tracer.between(self._selected, box))
            else:
                self.select_box(box, reveals=False)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Activate the box: open a group, show properties."""
        box = self.box_at(event.position())
        if box >= 0:
            self.box_activated.emit(box)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Pan; with Ctrl, zoom at the pointer."""
        turned, pixels = event.angleDelta(), event.pixelDelta()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom_by(_WHEEL_ZOOM ** turned.y(), event.position())
        elif not pixels.isNull():
            self.pan(pixels.x(), pixels.y())
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.pan(turned.y() or turned.x(), 0)
        else:
            self.pan(turned.x(), turned.y())
        event.accept()

    def viewportEvent(self, event: QEvent) -> bool:
        """Also pinch to zoom, and forget the hovered box when the pointer leaves."""
        if (
            isinstance(event, QNativeGestureEvent)
            and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture
        ):
            self.zoom_by(1.0 + event.value(), event.position())
            return True
        if event.type() == QEvent.Type.Leave:
            self._hover(-1)
        return super().viewportEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Ask for a menu on the box under the pointer, or on the selected one."""
        is_mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        box = self.box_at(QPointF(event.pos())) if is_mouse else self._selected
        self.menu_requested.emit(box, event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Walk, pan and zoom by keyboard."""
        if not walk.handle_key(self, event):
            super().keyPressEvent(event)

    def _hover(self, box: int) -> None:
        if box != self._hovered:
            self._hovered = box
            self.viewport().update()
            boxes = self.layout_shown.boxes
            tip = (
                ""
                if box < 0
                else f"{boxes.labels[boxes.label[box]]}\n{boxes.details[boxes.detail[box]]}".strip()
            )
            self.viewport().setToolTip(tip if self._camera.zoom < 0.62 else "")
