"""Draws the line icons of `resources/icons` in the colours of the theme."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QGuiApplication, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from edgestudio.assets import resource
from edgestudio.ui import theme

_SIZES = (16, 20, 24, 32, 48)


def icon(name: str, role: str = "muted") -> QIcon:
    """The icon `name` in the colour of a palette role; a disabled widget shows it in the outline's colour."""
    colors = theme.palette()
    return _icon(name, getattr(colors, role), colors.outline)


def pixmap(name: str, size: int = 16, role: str = "muted") -> QPixmap:
    """One icon as a picture of `size` logical pixels, sharp at the screen's scale."""
    return _draw(name, getattr(theme.palette(), role), size, scale())


def application_icon() -> QIcon:
    """The application's own picture."""
    made = QIcon()
    for size in (*_SIZES, 128):
        made.addPixmap(_draw("edgestudio", "", size, 1.0))
    return made


@lru_cache(maxsize=512)
def _icon(name: str, color: str, disabled: str) -> QIcon:
    made = QIcon()
    for size in _SIZES:
        made.addPixmap(_draw(name, color, size, scale()), QIcon.Mode.Normal)
        made.addPixmap(_draw(name, disabled, size, scale()), QIcon.Mode.Disabled)
    return made


@lru_cache(maxsize=1024)
def _draw(name: str, color: str, size: int, scale: float) -> QPixmap:
    picture = QPixmap(round(size * scale), round(size * scale))
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    _renderer(name, color).render(painter, QRectF(0, 0, picture.width(), picture.height()))
    painter.end()
    picture.setDevicePixelRatio(scale)
    return picture


def _renderer(name: str, color: str) -> QSvgRenderer:
    drawing = resource("icons", f"{name}.svg").read_text("utf-8").replace("currentColor", color)
    return QSvgRenderer(QByteArray(drawing.encode()))


def scale() -> float:
    """Device pixels per logical pixel."""
    app = QGuiApplication.instance()
    return app.devicePixelRatio() if isinstance(app, QGuiApplication) else 1.0
