"""A block of fixed-width text that can be copied with one button."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from edgestudio.ui import theme
from edgestudio.ui.widgets.buttons import IconButton
from edgestudio.ui.widgets.text import ElidedLabel


def copy_to_clipboard(text: str) -> None:
    """Put `text` on the clipboard."""
    QGuiApplication.clipboard().setText(text)


class CodeBlock(QWidget):
    """Shows a command, a document or a log; `name` is the object name of the text."""

    def __init__(self, title: str, name: str, *, lines: int = 4, wraps: bool = True) -> None:
        super().__init__()
        self._view = QPlainTextEdit()
        self._view.setReadOnly(True)
        self._view.setObjectName(name)
        self._view.setAccessibleName(title)
        self._view.setProperty("kind", "code")
        self._view.setFont(theme.mono_font())
        self._view.setTabChangesFocus(True)
        if not wraps:
            self._view.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._view.setFixedHeight(round(self._view.fontMetrics().lineSpacing() * lines) + 18)
        head = QHBoxLayout()
        head.addWidget(ElidedLabel(title, "caption"), 1)
        self.copy_button = IconButton("copy", f"Copy: {title}", f"{name}-copy", self.copy)
        head.addWidget(self.copy_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self._view)

    def set_text(self, text: str) -> None:
        """Show `text`."""
        if text != self._view.toPlainText():
            self._view.setPlainText(text)

    def text(self) -> str:
        """What is shown."""
        return self._view.toPlainText()

    def copy(self) -> None:
        """Put the text on the clipboard."""
        copy_to_clipboard(self.text())
