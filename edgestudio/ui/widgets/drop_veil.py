"""Files dropped anywhere on the window: what accepts them shows it while they hover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, QTimer
from PySide6.QtGui import QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from edgestudio.ui.dragging import dragged_files
from edgestudio.ui.widgets.text import IconLabel, label


@dataclass(frozen=True)
class Aim:
    """What dropping here would do: in words, and done."""

    words: str
    drop: Callable[[], object]


class DropVeil(QFrame):
    """Covers the window while files hover over it; itself it is no target, so that the window stays one.

    `aim` says what dropping these files at a point of the screen would do; `left` hears that they are gone again.
    """

    def __init__(
        self,
        window: QWidget,
        aim: Callable[[list[Path], QPoint], Aim],
        left: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(window)
        self._window, self._aim, self._left = window, aim, left
        self.setObjectName("drop-veil")
        self.setProperty("kind", "veil")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        said = QFrame()
        said.setProperty("kind", "popup")
        self._words = label("", "title")
        self._words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        inside = QVBoxLayout(said)
        inside.setContentsMargins(32, 20, 32, 20)
        inside.addWidget(IconLabel("open", 40, "accent"), 0, Qt.AlignmentFlag.AlignHCenter)
        inside.addWidget(self._words)
        column = QVBoxLayout(self)
        column.addWidget(said, 0, Qt.AlignmentFlag.AlignCenter)
        self.hide()
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Judge drags of files over the window; anything else goes its way."""
        kind = event.type()
        if kind in (QEvent.Type.DragEnter, QEvent.Type.DragMove) and isinstance(event, QDragMoveEvent):
            files = dragged_files(event.mimeData())
            if files:
                self._show(self._aim(files, self._place(event)).words)
                event.setDropAction(Qt.DropAction.CopyAction)
                event.accept()
                return True
        elif kind == QEvent.Type.DragLeave:
            self._hide()
        elif kind == QEvent.Type.Drop and isinstance(event, QDropEvent):
            files = dragged_files(event.mimeData())
            aim = self._aim(files, self._place(event)) if files else None
            self._hide()
            if aim is not None:
                event.setDropAction(Qt.DropAction.CopyAction)
                event.accept()
                # Not here: the drag's own event loop is still on the stack.
                QTimer.singleShot(0, self, aim.drop)
                return True
        return super().eventFilter(watched, event)

    def _place(self, event: QDropEvent) -> QPoint:
        return self._window.mapToGlobal(event.position().toPoint())

    def _hide(self) -> None:
        self.hide()
        self._left()

    def _show(self, words: str) -> None:
        self._words.setText(words)
        if self.isHidden():
            self.setGeometry(self._window.rect().adjusted(8, 8, -8, -8))
            self.show()
            self.raise_()
