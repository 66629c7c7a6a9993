"""Files dropped anywhere on the window: what accepts them shows it while they hover."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from edgestudio.ui.dragging import dragged_files
from edgestudio.ui.widgets.text import IconLabel, label


class DropVeil(QFrame):
    """Covers the window while files hover over it; itself it is no target, so that the window stays one."""

    def __init__(self, window: QWidget, opened: Callable[[list[Path]], object]) -> None:
        super().__init__(window)
        self._window, self._opened = window, opened
        self.setObjectName("drop-veil")
        self.setProperty("kind", "veil")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        column = QVBoxLayout(self)
        column.addStretch(1)
        column.addWidget(IconLabel("open", 40, "accent"), 0, Qt.AlignmentFlag.AlignHCenter)
        self._words = label("", "title")
        self._words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self._words)
        column.addStretch(1)
        self.hide()
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Judge drags of files over the window; anything else goes its way."""
        kind = event.type()
        if kind in (QEvent.Type.DragEnter, QEvent.Type.DragMove) and isinstance(event, QDragMoveEvent):
            files = dragged_files(event.mimeData())
            if files:
                if self.isHidden():
                    self._show(files)
                event.setDropAction(Qt.DropAction.CopyAction)
                event.accept()
                return True
        elif kind == QEvent.Type.DragLeave:
            self.hide()
        elif kind == QEvent.Type.Drop and isinstance(event, QDropEvent):
            self.hide()
            files = dragged_files(event.mimeData())
            if files:
                event.setDropAction(Qt.DropAction.CopyAction)
                event.accept()
                # Not here: the drag's own event loop is still on the stack.
                QTimer.singleShot(0, self, lambda: self._opened(files))
                return True
        return super().eventFilter(watched, event)

    def _show(self, files: list[Path]) -> None:
        self._words.setText(
            f"Drop to open {files[0].name}" if len(files) == 1 else f"Drop to open {len(files)} files"
        )
        self.setGeometry(self._window.rect().adjusted(8, 8, -8, -8))
        self.show()
        self.raise_()
