"""Writes the graph as a picture, a drawing, a table, or one page that needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QByteArray, QRect, QSize
from PySide6.QtGui import QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgGenerator

from edgestudio.model.picture.page import write_page
from edgestudio.ui import theme
from edgestudio.ui.graph.look import Look
from edgestudio.ui.graph.painter import PIXEL_ZOOM, ScenePainter
from edgestudio.ui.graph.view import GraphView
from edgestudio.wire.errors import EdgeStudioError

if TYPE_CHECKING:
    from edgestudio.ui.graph.panel import GraphPanel

_LARGEST_PICTURE_PX = 16_000
_MOST_PIXELS = 60_000_000
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def write(panel: GraphPanel, path: Path, kind: str) -> None:
    """Write one of view, picture, drawing, table, page; raises OSError or EdgeStudioError."""
    if kind == "view":
        _saved(panel.view.viewport().grab().toImage(), path)
    elif kind == "picture":
        _saved(picture(panel.view), path)
    elif kind == "drawing":
        draw_svg(panel.view, path)
    elif kind == "table":
        path.write_text(panel.table.layer_model.as_csv(), "utf-8")
    elif panel.document is not None:
        write_page(panel.document.graph, panel.view.layout_shown, path, panel.header.title())


def picture(view: GraphView) -> QImage:
    """The whole graph as an image, at full size or as large as an image can sensibly be."""
    bounds = view.scene_shown.bounds
    across, down = bounds.right - bounds.left, bounds.bottom - bounds.top
    zoom = min(
        2.0, _LARGEST_PICTURE_PX / across, _LARGEST_PICTURE_PX / down, (_MOST_PIXELS / (across * down)) ** 0.5
    )
    image = QImage(max(1, round(across * zoom)), max(1, round(down * zoom)), QImage.Format.Format_RGB32)
    painter = QPainter(image)
    is_readable = zoom >= PIXEL_ZOOM
    _fresh(view).paint(painter, image.rect(), bounds.left, bounds.top, zoom, is_drawing=is_readable)
    painter.end()
    return image


def draw_svg(view: GraphView, path: Path) -> None:
    """The whole graph as vectors with its texts."""
    bounds = view.scene_shown.bounds
    size = QSize(round(bounds.right - bounds.left), round(bounds.bottom - bounds.top))
    generator, drawn = QSvgGenerator(), QBuffer()
    generator.setOutputDevice(drawn)
    generator.setSize(size)
    generator.setViewBox(QRect(0, 0, size.width(), size.height()))
    generator.setTitle("Model graph")
    painter = QPainter()
    painter.begin(generator)
    _fresh(view).paint(
        painter, QRect(0, 0, size.width(), size.height()), bounds.left, bounds.top, 1.0, is_drawing=True
    )
    painter.end()
    # Qt writes the names of a model as they are, and XML has no form for some characters.
    path.write_text(_NOT_IN_XML.sub("\ufffd", bytes(drawn.data().data()).decode("utf-8", "replace")), "utf-8")


def _fresh(view: GraphView) -> ScenePainter:
    """A painter of its own, so that nothing on screen is disturbed."""
    return ScenePainter(view.scene_shown, Look(theme.palette()))


def _saved(image: QImage, path: Path) -> None:
    if not QImageWriter(str(path), QByteArray(b"png")).write(image):
        raise EdgeStudioError(
            f"{path.name} cannot be written.", hint="Choose a folder that you may write to."
        )
