"""What is dragged inside the window: the payload of a model, and who must know that a drag is under way."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, Signal

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
