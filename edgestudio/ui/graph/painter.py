"""Paints the part of a scene that a rectangle shows: boxes with texts near, plain boxes further, pixels from afar."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPen

from edgestudio.model.picture.boxes import BoxKind
from edgestudio.ui.graph import wide_edges
from edgestudio.ui.graph.edge_paths import piece_paths
from edgestudio.ui.graph.look import CORNER_PX, Look
from edgestudio.ui.graph.overlay import ramp_rgb
from edgestudio.ui.graph.scene import BLOCK, MARGIN_PX, Rows, Scene, View

TEXT_ZOOM, DETAIL_ZOOM, ROUND_ZOOM, PIXEL_ZOOM = 0.5, 0.62, 0.3, 0.12
_MOST_VECTORS = 1500
_PATHS_KEPT = 600


@dataclass(slots=True)
class Emphasis:
    """What stands out: rows not in `shown` step back; `positions`, `texts` per row and `ramp` are of an overlay."""

    shown: NDArray[np.bool_] | None = None
    positions: NDArray[np.float64] | None = None
    texts: list[str] = field(default_factory=list)
    ramp: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """Titled frames behind the boxes, such as open groups; `edges` holds left, top, right, bottom of each."""

    edges: NDArray[np.float64]
    titles: list[str]


class ScenePainter:
    """Paints one scene in one look; keeps the paths that it has built."""

    def __init__(self, scene: Scene, look: Look) -> None:
        self.scene = scene
        self.look = look
        self.emphasis = Emphasis()
        self.frames = Frames(np.zeros((0, 4)), [])
        self._paths: dict[int, tuple[QPainterPath, QPainterPath]] = {}
        self._rgb = look.overview_rgb(scene.families)

    def paint(
        self,
        painter: QPainter,
        target: QRect,
        left: float,
        top: float,
        zoom: float,
        *,
        is_drawing: bool = False,
    ) -> None:
        """Paint `target` (pixels of the painter), where (left, top) of the graph lies at the painter's origin.

        A drawing is made of vectors however many boxes it holds.
        """
        painter.save()
        painter.setClipRect(target)
        painter.fillRect(target, self.look.ground)
        view = View(
            left + target.left() / zoom,
            top + target.top() / zoom,
            left + (target.right() + 1) / zoom,
            top + (target.bottom() + 1) / zoom,
        )
        rows = self.scene.rows_in(view)
        if not is_drawing and (zoom < PIXEL_ZOOM or len(rows) > _MOST_VECTORS):
            self._paint_pixels(painter, target, view, zoom, rows)
        else:
            painter.translate(-left * zoom, -top * zoom)
            painter.scale(zoom, zoom)
            self._paint_frames(painter, view, zoom)
            self._paint_edges(painter, view, zoom)
            if zoom > ROUND_ZOOM:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                self._paint_boxes(painter, rows, zoom)
            else:
                self._paint_plain_boxes(painter, rows)
        painter.restore()

    def _paint_frames(self, painter: QPainter, view: View, zoom: float) -> None:
        """The frames of expanded groups, with their titles in the corner that is in sight."""
        pen = QPen(self.look.frame_edge, 1.0)
        pen.setCosmetic(True)
        painter.setFont(self.look.detail_font)
        edges = self.frames.edges
        seen = (
            (edges[:, 0] < view.right)
            & (edges[:, 2] > view.left)
            & (edges[:, 1] < view.bottom)
            & (edges[:, 3] > view.top)
        )
        for index in np.flatnonzero(seen).tolist():
            left, top, right, bottom = edges[index].tolist()
            painter.setPen(pen)
            painter.setBrush(self.look.frame_fill)
            painter.drawRoundedRect(QRectF(left, top, right - left, bottom - top), 10, 10)
            if zoom > TEXT_ZOOM:
                painter.setPen(self.look.muted)
                painter.drawText(QPointF(left + 10, top + 14), self.frames.titles[index])

    def _paint_edges(self, painter: QPainter, view: View, zoom: float) -> None:
        is_dim = self.emphasis.shown is not None
        pen = QPen(self.look.dim_pen if is_dim else self.look.edge_pen)
        if zoom <= ROUND_ZOOM:
            pen.setCosmetic(True)
            pen.setWidthF(1.0)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, zoom > ROUND_ZOOM)
        scene, trunks = self.scene, self.scene.trunks_in(view)
        if len(trunks):
            x = scene.trunk_x[trunks].tolist()
            y0 = np.maximum(scene.trunk_top[trunks], view.top - MARGIN_PX).tolist()
            y1 = np.minimum(scene.trunk_bottom[trunks], view.bottom + MARGIN_PX).tolist()
            painter.drawLines([QLineF(a, b, a, c) for a, b, c in zip(x, y0, y1, strict=True) if c > b])
        if zoom <= ROUND_ZOOM:
            lines = [
                scene.pieces[block * BLOCK : block * BLOCK + BLOCK, :4] for block in scene.blocks_in(view)
            ]
            if lines:
                painter.drawLines([QLineF(*ends) for ends in np.concatenate(lines).tolist()])
            painter.drawLines(wide_edges.lines(scene.wide_in(view)))
            return
        paths = [self._block_paths(block) for block in scene.blocks_in(view)]
        wide = scene.wide_in(view)
        if len(wide):
            paths.append(wide_edges.paths(wide))
        for curves, _ in paths:
            painter.drawPath(curves)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.look.dim_brush if is_dim else self.look.edge_brush)
        for _, arrows in paths:
            painter.drawPath(arrows)

    def _block_paths(self, block: int) -> tuple[QPainterPath, QPainterPath]:
        """The curves and the arrow heads of one block, built when first seen."""
        found = self._paths.get(block)
        if found is None:
            if len(self._paths) >= _PATHS_KEPT:
                self._paths.clear()
            found = self._paths[block] = piece_paths(self.scene.pieces[block * BLOCK : block * BLOCK + BLOCK])
        return found

    def _paint_boxes(self, painter: QPainter, rows: Rows, zoom: float) -> None:
        scene, look, emphasis = self.scene, self.look, self.emphasis
        half_w, half_h = scene.half_w[rows], scene.half_h[rows]
        corners = (scene.x[rows] - half_w, scene.y[rows] - half_h, half_w * 2, half_h * 2)
        x, y, w, h = (column.tolist() for column in corners)
        families, kinds = scene.family[rows].tolist(), scene.kind[rows].tolist()
        shown = [True] * len(rows) if emphasis.shown is None else emphasis.shown[rows].tolist()
        ramp = self._ramp(rows)
        for i in range(len(rows)):
            style = look.family(scene.families[families[i]], is_dim=not shown[i])
            painter.setPen(style.edge)
            painter.setBrush(style.fill)
            rect = QRectF(x[i], y[i], w[i], h[i])
            if kinds[i] in (BoxKind.INPUT, BoxKind.OUTPUT):
                painter.drawRoundedRect(rect, h[i] / 2, h[i] / 2)
                continue
            if kinds[i] == BoxKind.GROUP:
                painter.drawRoundedRect(rect.translated(3.0, 3.0), CORNER_PX, CORNER_PX)
            painter.drawRoundedRect(rect, CORNER_PX, CORNER_PX)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(style.stripe if ramp is None else ramp[i])
            width = 4.0 if ramp is None else 14.0
            painter.drawRoundedRect(QRectF(x[i] + 3, y[i] + 5, width, h[i] - 10), 2, 2)
        if zoom > TEXT_ZOOM:
            self._paint_texts(painter, rows, shown, zoom)

    def _ramp(self, rows: Rows) -> list[QBrush] | None:
        """The overlay's colour of each row; see-through where it has no value."""
        positions = self.emphasis.positions
        if positions is None:
            return None
        places = positions[rows]
        colors = ramp_rgb(places, self.emphasis.ramp or self.look.ramp).tolist()
        return [
            QBrush(QColor(*rgb)) if known else QBrush(Qt.BrushStyle.NoBrush)
            for rgb, known in zip(colors, np.isfinite(places).tolist(), strict=True)
        ]

    def _paint_texts(self, painter: QPainter, rows: Rows, shown: list[bool], zoom: float) -> None:
        scene, look, texts = self.scene, self.look, self.emphasis.texts
        boxes = scene.layout.boxes
        has_details = zoom > DETAIL_ZOOM
        dim_text, dim_muted = look.dim(look.text), look.dim(look.muted)
        below: list[tuple[QPointF, str, int, bool]] = []
        painter.setFont(look.label_font)
        for row, is_shown in zip(rows.tolist(), shown, strict=True):
            room, x, y = round(scene.half_w[row] * 2), float(scene.x[row]), float(scene.y[row])
            text, size = look.label(boxes.labels[scene.label[row]], room)
            detail = texts[row] if texts else boxes.details[scene.detail[row]]
            lift = size.height() * 0.42 if detail and has_details else 0.0
            painter.setPen(look.text if is_shown else dim_text)
            indent = 2.0 if scene.kind[row] in (BoxKind.OPERATOR, BoxKind.GROUP) else 0.0
            painter.drawStaticText(QPointF(x + indent - size.width() / 2, y - lift - size.height() / 2), text)
            if lift:
                below.append((QPointF(x + indent, y + lift), detail, room, is_shown))
        painter.setFont(look.detail_font)
        for point, detail, room, is_shown in below:
            text, size = look.detail(detail, room)
            painter.setPen(look.muted if is_shown else dim_muted)
            painter.drawStaticText(point - QPointF(size.width() / 2, size.height() / 2 - 1), text)

    def _paint_plain_boxes(self, painter: QPainter, rows: Rows) -> None:
        """One call per family: boxes too small for corners and texts."""
        colors = self.pixel_colors(rows)
        painter.setPen(Qt.PenStyle.NoPen)
        for color in np.unique(colors).tolist():
            of_color = rows[colors == color]
            s, half_w, half_h = self.scene, self.scene.half_w[of_color], self.scene.half_h[of_color]
            corners = np.stack([s.x[of_color] - half_w, s.y[of_color] - half_h, half_w * 2, half_h * 2], 1)
            painter.setBrush(QColor.fromRgb(color))
            painter.drawRects([QRectF(*each) for each in corners.tolist()])

    def pixel_colors(self, rows: Rows) -> NDArray[np.uint32]:
        """One 32-bit colour per row, by family or by overlay, dimmed where it is not emphasised."""
        colors = self._rgb[self.scene.family[rows]]
        if self.emphasis.positions is not None:
            places = self.emphasis.positions[rows]
            rgb = ramp_rgb(places, self.emphasis.ramp or self.look.ramp).astype(np.uint32)
            ramp = np.uint32(0xFF000000) | (rgb[:, 0] << 16) | (rgb[:, 1] << 8) | rgb[:, 2]
            colors = np.where(np.isfinite(places), ramp, np.uint32(self.look.dim(self.look.muted).rgb()))
        if self.emphasis.shown is not None:
            faint = np.uint32(self.look.dim(self.look.muted).rgb())
            colors = np.where(self.emphasis.shown[rows], colors, faint)
        return colors.astype(np.uint32)

    def _paint_pixels(self, painter: QPainter, target: QRect, view: View, zoom: float, rows: Rows) -> None:
        """Write boxes and trunks straight into an image that is as wide as the graph on the screen."""
        bounds, height = self.scene.bounds, target.height()
        west = max(0, int((bounds.left - view.left) * zoom))
        east = min(target.width(), int(np.ceil((bounds.right - view.left) * zoom)) + 1)
        if east <= west:
            return
        pixels = np.full((height, east - west), self.look.ground.rgb(), np.uint32)
        self._trunk_pixels(pixels, view, zoom, west)
        self._box_pixels(pixels, view, zoom, west, rows)
        image = QImage(pixels.data, east - west, height, (east - west) * 4, QImage.Format.Format_RGB32)
        painter.drawImage(target.left() + west, target.top(), image)

    def _trunk_pixels(self, pixels: NDArray[np.uint32], view: View, zoom: float, west: int) -> None:
        trunks = self.scene.trunks_in(view)
        if not len(trunks):
            return
        height, width = pixels.shape
        top = np.clip((self.scene.trunk_top[trunks] - view.top) * zoom, 0, height).astype(np.intp)
        bottom = np.clip((self.scene.trunk_bottom[trunks] - view.top) * zoom, 0, height).astype(np.intp)
        x = ((self.scene.trunk_x[trunks] - view.left) * zoom).astype(np.intp) - west
        kept = (bottom > top) & (x >= 0) & (x < width)
        depth = np.zeros((height + 1, width), np.int32)
        np.add.at(depth, (top[kept], x[kept]), 1)
        np.add.at(depth, (bottom[kept], x[kept]), -1)
        pixels[np.cumsum(depth[:-1], 0) > 0] = self.look.dim_pen.color().rgb()

    def _box_pixels(self, pixels: NDArray[np.uint32], view: View, zoom: float, west: int, rows: Rows) -> None:
        if not len(rows):
            return
        s, (height, width) = self.scene, pixels.shape
        left = np.clip(((s.x[rows] - s.half_w[rows] - view.left) * zoom).astype(np.intp) - west, 0, width - 1)
        right = np.clip(
            np.ceil((s.x[rows] + s.half_w[rows] - view.left) * zoom).astype(np.intp) - west, left + 1, width
        )
        top = np.clip(((s.y[rows] - s.half_h[rows] - view.top) * zoom).astype(np.intp), 0, height - 1)
        colors = self.pixel_colors(rows)
        for dx in range(int((right - left).max())):
            wide = (left + dx) < right
            x, y, color = left[wide] + dx, top[wide], colors[wide]
            for dy in range(max(1, int(s.tallest * 2 * zoom))):
                pixels[np.minimum(y + dy, height - 1), x] = color
