"""What the tests of the window share: real stores with made-up rows, and drags as Qt sends them."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget

from edgestudio.studio.bus import AnyRow, RowEvent
from edgestudio.studio.commands.commands import Command, CommandSet
from edgestudio.studio.rows import (
    ActiveModel,
    BoardRow,
    DeploymentRow,
    JobRow,
    ModelRow,
    NoticeRow,
    TimelineStep,
)
from edgestudio.studio.stores import Stores
from edgestudio.ui.desk import Desk
from edgestudio.ui.selection import Selected

SOURCE, VARIANT = "a" * 64, "b" * 64
_STORES = {
    ModelRow: "models",
    JobRow: "jobs",
    BoardRow: "boards",
    DeploymentRow: "deployments",
    NoticeRow: "notices",
}


class Bench:
    """Real stores and a real command set whose commands only say that they were run."""

    def __init__(self) -> None:
        self.stores = Stores()
        self.runs: list[tuple[str, dict[str, Any]]] = []
        selected = Selected()
        commands = CommandSet((), lambda: selected.rows(self.stores))
        for command_id, title, group, shortcut in (
            ("model.open", "Open model…", "file", "Ctrl+O"),
            ("model.open_sample", "Open the sample model", "file", ""),
            ("model.remove", "Remove from the library", "model", ""),
            ("model.export_failing", "Export what fails the check…", "model", ""),
            ("optimize.run", "Run recipe", "model", "Ctrl+R"),
            ("board.add_simulated", "Add a simulated board", "board", ""),
            ("board.add_this_computer", "Use this computer as a board", "board", ""),
            ("board.pair", "Pair…", "board", ""),
            ("board.start", "Start this board again", "board", ""),
            ("board.push", "Push the model to the board", "board", ""),
            ("job.cancel", "Cancel job", "job", ""),
            ("job.retry", "Start job again", "job", ""),
            ("deployment.cancel", "Cancel deployment", "job", ""),
            ("help.doctor", "Why is my board missing?", "help", ""),
            ("view.recipe", "Recipe", "view", ""),
        ):
            commands.add(Command(command_id, title, self._recorder(command_id), group, shortcut))  # type: ignore[arg-type]
        self.desk = Desk(self.stores, commands, selected)

    def _recorder(self, command_id: str) -> Any:
        def run(**arguments: Any) -> None:
            self.runs.append((command_id, arguments))

        return run

    def put(self, *rows: AnyRow) -> None:
        for row in rows:
            store = _STORES[type(row)]
            known = getattr(self.stores, store).get(getattr(row, "sha256", None) or getattr(row, "id", None))
            self.stores.apply(RowEvent(store, "changed" if known else "added", row))  # type: ignore[arg-type]

    def take(self, row: AnyRow) -> None:
        self.stores.apply(RowEvent(_STORES[type(row)], "removed", row))  # type: ignore[arg-type]


def model(sha256: str = SOURCE, name: str = "digits", **fields: Any) -> ModelRow:
    return ModelRow(
        sha256, name, f"/models/{name}.onnx", "onnx", fields.pop("size_bytes", 155_000), 1.0, **fields
    )


def variant(**fields: Any) -> ModelRow:
    after = {"size_bytes": 42_000, "latency_ms": {"p50": 0.08}, "accuracy": {"top1": 0.986, "n": 360}}
    before = {"size_bytes": 155_000, "latency_ms": {"p50": 0.14}, "accuracy": {"top1": 0.989, "n": 360}}
    return model(
        VARIANT,
        "digits-int8",
        parent=SOURCE,
        recipe="INT8 static",
        size_bytes=42_000,
        before=before,
        after=after,
        **fields,
    )


def board(board_id: str = "b1", **fields: Any) -> BoardRow:
    defaults: dict[str, Any] = {
        "presence": "online",
        "is_paired": True,
        "hardware": "Raspberry Pi 5",
        "arch": "aarch64",
    }
    return BoardRow(board_id, fields.pop("name", board_id), "127.0.0.1", 4433, **{**defaults, **fields})


def active(release: int = 1, sha256: str = VARIANT) -> ActiveModel:
    return ActiveModel("digits", release, f"1.{release}", sha256, healthy=True)


def deployment(state: str, *states: str, **fields: Any) -> DeploymentRow:
    names = ("preflight", "package", "transfer", "verify", "dry run", "trial", "commit")
    steps = tuple(TimelineStep(name, each) for name, each in zip(names, states, strict=False))  # type: ignore[arg-type]
    return DeploymentRow(
        "d1", "b1", VARIANT, "digits-int8 to b1", state, steps, started=time.time(), **fields
    )  # type: ignore[arg-type]


def drag_over(target: QWidget, mime: QMimeData, where: QPoint | None = None) -> bool:
    """Technique A, up to the drop: enter and move over `target`; True when it accepts.

    A drag that was accepted must end by `drag_out` or a drop: Qt keeps a plain pointer to its target.
    """
    point = target.rect().center() if where is None else where
    actions = Qt.DropAction.CopyAction | Qt.DropAction.MoveAction
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(point, actions, mime, left, none)
    QApplication.sendEvent(target, enter)
    if not enter.isAccepted():
        return False
    move = QDragMoveEvent(point, actions, mime, left, none)
    QApplication.sendEvent(target, move)
    if not move.isAccepted():
        drag_out(target)
        return False
    return True


def drag_out(target: QWidget) -> None:
    """The drag leaves the target that accepted it."""
    QApplication.sendEvent(target, QDragLeaveEvent())


def drop_on(target: QWidget, mime: QMimeData, where: QPoint | None = None) -> bool:
    """Technique A: enter, move and drop as Qt sends them; True when the drop was accepted."""
    point = target.rect().center() if where is None else where
    if not drag_over(target, mime, point):
        return False
    actions = Qt.DropAction.CopyAction | Qt.DropAction.MoveAction
    drop = QDropEvent(
        QPointF(point), actions, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(target, drop)
    return drop.isAccepted()
