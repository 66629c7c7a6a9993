"""What is dragged inside the window: the payload of a model, and who must know that a drag is under way."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, QRect, Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPixmap
from PySide6.QtWidgets import QApplication

from edgestudio.ui import icons, theme

MODEL_MIME = "application/x-edgestudio-model"


class DragState(QObject):
    """Announces drags of models, so that places which accept them can show it."""

    began = Signal()
    ended = Signal()


def model_mime(sha256: str, name: str) -> QMimeData:
    """The payload of one model; other programs see its name as text."""
    data = QMimeData()
    data.setData(MODEL_MIME, json.dumps({"sha256": sha256, "name": name}).encode())
    data.setText(name)
    return data


def model_picture(name: str) -> QPixmap:
    """What is seen under the pointer: the model's name on the accent colour, whole even without transparency."""
    font = QFont(QApplication.font())
    metrics = QFontMetrics(font)
    text = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, 220)
    width, height, scale = metrics.horizontalAdvance(text) + 44, metrics.height() + 14, icons.scale()
    picture = QPixmap(round(width * scale), round(height * scale))
    picture.setDevicePixelRatio(scale)
    picture.fill(theme.palette().color("fill"))
    painter = QPainter(picture)
    painter.drawPixmap(10, (height - 16) // 2, icons.pixmap("model", 16, "on_fill"))
    painter.setFont(font)
    painter.setPen(theme.palette().color("on_fill"))
    painter.drawText(QRect(34, 0, width - 34, height), int(Qt.AlignmentFlag.AlignVCenter), text)
    painter.end()
    return picture


def dragged_model(data: QMimeData) -> str | None:
    """SHA-256 of the model in the payload; None when it is something else."""
    if not data.hasFormat(MODEL_MIME):
        return None
    try:
        payload = json.loads(bytes(data.data(MODEL_MIME).data()))
    except ValueError:
        return None
    sha256 = payload.get("sha256") if isinstance(payload, dict) else None
    return sha256 if isinstance(sha256, str) else None


def dragged_files(data: QMimeData) -> list[Path]:
    """The local files and folders in the payload."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
