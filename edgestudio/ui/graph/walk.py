"""Walking a graph by keyboard: along edges with Up and Down, among siblings with Left and Right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent

if TYPE_CHECKING:
    from edgestudio.ui.graph.view import GraphView

Key = Qt.Key
_PAN_PX = 80.0
_ZOOM_STEP = 1.25


def handle_key(view: GraphView, event: QKeyEvent) -> bool:
    """Do what a key means to a graph view; False when it means nothing here."""
    modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    if modifiers & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier):
        return False
    key = Qt.Key(event.key())
    steps = {Key.Key_Up: (0, -1), Key.Key_Down: (0, 1), Key.Key_Left: (-1, 0), Key.Key_Right: (1, 0)}
    if key in steps:
        dx, dy = steps[key]
        if modifiers & Qt.KeyboardModifier.ShiftModifier:
            view.pan(-dx * _PAN_PX, -dy * _PAN_PX)
        else:
            view.select_box(neighbour(view, dx, dy))
        return True
    action = _actions(view).get(key)
    if action is None:
        return False
    action()
    return True


def _actions(view: GraphView) -> dict[Qt.Key, Callable[[], object]]:
    page = view.viewport().height() * 0.85
    bounds = view.scene_shown.bounds
    return {
        Key.Key_Plus: lambda: view.zoom_by(_ZOOM_STEP),
        Key.Key_Equal: lambda: view.zoom_by(_ZOOM_STEP),
        Key.Key_Minus: lambda: view.zoom_by(1 / _ZOOM_STEP),
        Key.Key_1: lambda: view.zoom_to(1.0),
        Key.Key_0: view.fit,
        Key.Key_F: view.fit,
        Key.Key_PageUp: lambda: view.pan(0, page),
        Key.Key_PageDown: lambda: view.pan(0, -page),
        Key.Key_Home: view.fit_width,
        Key.Key_End: lambda: view.look_at((view.visible().left + view.visible().right) / 2, bounds.bottom),
        Key.Key_Escape: lambda: _clear(view),
        Key.Key_Return: lambda: _activate(view),
        Key.Key_Enter: lambda: _activate(view),
        Key.Key_Backspace: view.left_upwards.emit,
    }


def _clear(view: GraphView) -> None:
    """First the trace, then the selection."""
    if view.trace is not None:
        view.show_trace(None)
    else:
        view.select_box(-1)


def _activate(view: GraphView) -> None:
    if view.selected_box >= 0:
        view.box_activated.emit(view.selected_box)


def neighbour(view: GraphView, dx: int, dy: int) -> int:
    """The box that a step leads to; from nowhere, the one nearest to the middle; the same where there is none."""
    scene, box = view.scene_shown, view.selected_box
    layout = scene.layout
    if box < 0:
        shown = view.visible()
        row = scene.nearest_row((shown.left + shown.right) / 2, (shown.top + shown.bottom) / 2)
        return int(scene.box_of_row[row]) if row >= 0 else -1
    if dy:
        edges = view.tracer.edges_from(box) if dy > 0 else view.tracer.edges_into(box)
        ends = layout.boxes.target[edges] if dy > 0 else layout.boxes.source[edges]
        if not len(ends):
            return box
        # Straight on first: along the path that the layout kept in one column, then to the nearest.
        distance = np.abs(layout.x[ends] - layout.x[box]) * 4 + np.abs(layout.y[ends] - layout.y[box])
        return int(ends[np.argmin(distance)])
    beside = np.flatnonzero(np.abs(layout.y - layout.y[box]) < layout.boxes.height[box] / 2)
    beside = beside[(layout.x[beside] - layout.x[box]) * dx > 0]
    return int(beside[np.argmin(np.abs(layout.x[beside] - layout.x[box]))]) if len(beside) else box
