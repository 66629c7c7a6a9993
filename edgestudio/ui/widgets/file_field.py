"""A line for a file or folder: typed, dropped, or picked in a dialog that blocks nothing."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QStyle,
    QStyleOptionFrame,
    QWidget,
)

from edgestudio.ui.dragging import dragged_files
from edgestudio.ui.widgets.buttons import IconButton
from edgestudio.ui.widgets.text import set_property

_CLEAR_BUTTON_PX = 24


class _DropLine(QLineEdit):
    """A line edit that takes one dropped file as its path; the end of a long one is shown, behind an ellipsis."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """While nobody edits it, the file's name is what is to be seen."""
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        style = self.style()
        room = style.subElementRect(QStyle.SubElement.SE_LineEditContents, option, self)
        room.adjust(2, 0, -_CLEAR_BUTTON_PX, 0)
        metrics = self.fontMetrics()
        if self.hasFocus() or metrics.horizontalAdvance(self.text()) <= room.width():
            super().paintEvent(event)
            return
        painter = QPainter(self)
        style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelLineEdit, option, painter, self)
        painter.setPen(self.palette().color(self.palette().ColorRole.Text))
        shown = metrics.elidedText(self.text(), Qt.TextElideMode.ElideLeft, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files and text."""
        if dragged_files(event.mimeData()):
            event.acceptProposedAction()
        else:
            super().dragEnterEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:
        """The first file's path."""
        files = dragged_files(event.mimeData())
        if files:
            self.setText(str(files[0]))
            event.acceptProposedAction()
        else:
            super().dropEvent(event)


class FileField(QWidget):
    """`path()` is None while empty; a path that does not exist is marked, unless it is to be written (`is_new`)."""

    changed = Signal()

    def __init__(
        self,
        title: str,
        name: str,
        placeholder: str,
        *,
        takes_folders: bool,
        pattern: str,
        is_new: bool = False,
    ) -> None:
        super().__init__()
        self.title, self._pattern = title, pattern
        self.line = _DropLine()
        self.line.setObjectName(name)
        self.line.setAccessibleName(title)
        self.line.setPlaceholderText(placeholder)
        self.line.setClearButtonEnabled(True)
        self.line.textChanged.connect(self._edited)
        self._browse = IconButton("open", f"Choose: {title} …", f"{name}-browse", self._open)
        self._takes_folders, self._is_new = takes_folders, is_new
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.line, 1)
        row.addWidget(self._browse)
        self.setFocusProxy(self.line)

    def path(self) -> Path | None:
        """What is chosen."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def set_path(self, path: str | Path | None) -> None:
        """Choose a path, or none."""
        self.line.setText(str(path) if path else "")

    def is_valid(self) -> bool:
        """False for a path that does not exist."""
        path = self.path()
        return path is None or (path.parent if self._is_new else path).exists()

    def _edited(self) -> None:
        set_property(self.line, "invalid", "false" if self.is_valid() else "true")
        self.line.setToolTip(self.line.text() if self.is_valid() else f"There is no {self.line.text()}")
        self.changed.emit()

    def _open(self) -> None:
        if not self._takes_folders:
            self._ask(is_folder=False)
            return
        menu = QMenu(self)
        menu.addAction("A file …", lambda: self._ask(is_folder=False))
        menu.addAction("A folder …", lambda: self._ask(is_folder=True))
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(self._browse.mapToGlobal(self._browse.rect().bottomLeft()))

    def _ask(self, *, is_folder: bool) -> None:
        dialog = QFileDialog(self, self.title, str(self.path() or ""), self._pattern)
        dialog.setFileMode(QFileDialog.FileMode.Directory if is_folder else QFileDialog.FileMode.ExistingFile)
        if self._is_new:
            dialog.setFileMode(QFileDialog.FileMode.AnyFile)
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.fileSelected.connect(self.set_path)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
