"""Paints what lies over the graph: the selection with its producers and consumers, and the box under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from edgestudio.ui.graph.edge_paths import add_arrow, add_curve
from edgestudio.ui.graph.look import CORNER_PX, Look
from edgestudio.ui.graph.scene import BEND_PX, Scene

if TYPE_CHECKING:
    from edgestudio.ui.graph.view import GraphView

_MOST_EDGES = 400
"""A tensor that thousands read is marked by its box alone; its edges would paint the view over."""


def paint_marks(painter: QPainter, view: GraphView, look: Look, selected: int, hovered: int) -> None:
    """Mark the selected and the hovered box, and the edges and boxes next to the selected one."""
    if selected < 0 and hovered < 0:
        return
    camera = view.camera
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(-camera.left * camera.zoom, -camera.top * camera.zoom)
    painter.scale(camera.zoom, camera.zoom)
    if hovered >= 0 and hovered != selected:
        halo = QColor(look.accent)
        halo.setAlpha(110)
        _outline(painter, view.scene_shown, hovered, QPen(halo, 1.5), grow=2.0)
    if selected >= 0:
        _neighbourhood(painter, view, look, selected)
    painter.restore()


def _neighbourhood(painter: QPainter, view: GraphView, look: Look, box: int) -> None:
    scene, tracer = view.scene_shown, view.tracer
    above, below = tracer.edges_into(box), tracer.edges_from(box)
    produced, consumed = QColor(look.colors.chart[0]), QColor(look.colors.chart[1])
    for edges, color, dashes in ((above, produced, None), (below, consumed, [6.0, 3.0])):
        pen = QPen(color, max(1.8, 1.5 / view.camera.zoom))
        if dashes:
            pen.setDashPattern(dashes)
        _edges(painter, scene, edges[:_MOST_EDGES].tolist(), pen)
        ends = tracer.source[edges] if edges is above else tracer.target[edges]
        for other in ends[:_MOST_EDGES].tolist():
            _outline(painter, scene, other, QPen(color, 1.6), grow=2.0)
    width = max(2.4, 2.0 / view.camera.zoom)
    _outline(painter, scene, box, QPen(look.accent, width), grow=2.0 + width / 2)


def _edges(painter: QPainter, scene: Scene, edges: list[int], pen: QPen) -> None:
    lines, arrows = QPainterPath(), QPainterPath()
    for edge in edges:
        x0, y0, x1, y1, lane, is_upward = scene.edge_points(edge)
        if np.isnan(lane):
            add_curve(lines, x0, y0, x1, y1)
        else:
            add_curve(lines, x0, y0, lane, y0 + BEND_PX)
            lines.lineTo(lane, y1 - BEND_PX)
            add_curve(lines, lane, y1 - BEND_PX, x1, y1)
        add_arrow(arrows, *((x0, y0) if is_upward else (x1, y1)), is_upward=is_upward)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(pen)
    painter.drawPath(lines)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(pen.color())
    painter.drawPath(arrows)


def _outline(painter: QPainter, scene: Scene, box: int, pen: QPen, *, grow: float) -> None:
    boxes, layout = scene.layout.boxes, scene.layout
    half_w, half_h = float(boxes.width[box]) / 2 + grow, float(boxes.height[box]) / 2 + grow
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    corner = CORNER_PX + grow
    if boxes.kind[box] in (1, 2):
        corner = half_h
    rect = QRectF(float(layout.x[box]) - half_w, float(layout.y[box]) - half_h, half_w * 2, half_h * 2)
    painter.drawRoundedRect(rect, corner, corner)
