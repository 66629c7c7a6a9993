"""Draws the histogram of a weight and the scales of its channels as small pictures for the properties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter

from edgestudio.ui import theme

WIDTH_PX, HEIGHT_PX = 232, 72
_SHARP = 2
_MOST_BARS = 140


def histogram(counts: Sequence[int], low: float, high: float) -> QImage:
    """Counts in equal bins between two values; zero is marked where it lies between them."""
    colors = theme.palette()
    image, painter = _begun()
    _bars(painter, np.asarray(counts, np.float64), QColor(colors.chart[0]))
    if low < 0 < high:
        at = -low / (high - low) * WIDTH_PX
        painter.setPen(QColor(colors.muted))
        painter.drawLine(round(at), 0, round(at), HEIGHT_PX)
    painter.end()
    return image


def channels(scales: Sequence[float]) -> QImage:
    """One bar for each channel's scale, or for the largest of a few where there are many."""
    values = np.asarray(scales, np.float64)
    if len(values) > _MOST_BARS:
        parts = np.array_split(values, _MOST_BARS)
        values = np.array([part.max() for part in parts])
    image, painter = _begun()
    _bars(painter, values, QColor(theme.palette().chart[1]))
    painter.end()
    return image


def _begun() -> tuple[QImage, QPainter]:
    image = QImage(WIDTH_PX * _SHARP, HEIGHT_PX * _SHARP, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(_SHARP)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setPen(QColor(theme.palette().border))
    painter.drawLine(0, HEIGHT_PX - 1, WIDTH_PX, HEIGHT_PX - 1)
    return image, painter


def _bars(painter: QPainter, values: np.ndarray, color: QColor) -> None:
    top = float(values.max()) if len(values) else 0.0
    if top <= 0:
        return
    width = WIDTH_PX / len(values)
    gap = 1.0 if width > 3 else 0.0
    for index in np.flatnonzero(values > 0).tolist():
        height = max(1.0, float(values[index]) / top * (HEIGHT_PX - 2))
        painter.fillRect(QRectF(index * width, HEIGHT_PX - 1 - height, width - gap, height), color)
