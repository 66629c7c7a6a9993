"""The command palette: every command found by a few letters, run with Return."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.commands.commands import Command
from edgestudio.ui import icons
from edgestudio.ui.desk import Desk
from edgestudio.ui.menus import ICONS, TITLES
from edgestudio.ui.widgets.text import ElidedLabel, IconLabel, label

_WIDTH_PX, _HEIGHT_PX = 560, 380


def score(command: Command, text: str) -> int:
    """How well a command fits what was typed; 0 when it does not. All words must occur."""
    words = text.casefold().split()
    title = command.title.casefold()
    everything = " ".join(
        (title, command.group, command.id, command.description, *command.keywords)
    ).casefold()
    if not all(word in everything for word in words):
        return 0
    return 1 + sum(10 if title.startswith(word) else 5 if word in title else 0 for word in words)


class CommandPalette(QFrame):
    """Lies over the window's upper middle; Escape or a click elsewhere closes it."""

    def __init__(self, desk: Desk, window: QWidget) -> None:
        super().__init__(window)
        self._desk, self._window = desk, window
        self.setObjectName("command-palette")
        self.setAccessibleName("Command palette")
        self.setProperty("kind", "popup")
        self.setAutoFillBackground(True)
        self.line = QLineEdit()
        self.line.setObjectName("command-palette-line")
        self.line.setAccessibleName("Search commands")
        self.line.setPlaceholderText("Type a command …")
        self.list = QListWidget()
        self.list.setObjectName("command-palette-list")
        self.list.setAccessibleName("Commands")
        self.list.setUniformItemSizes(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        column.addWidget(self.line)
        column.addWidget(self.list, 1)
        self.line.textChanged.connect(self._fill)
        self.line.installEventFilter(self)
        self.list.itemClicked.connect(self._run)
        self.hide()

    def open(self) -> None:
        """Show it, empty, with the focus in its line."""
        parent = self._window
        width = min(_WIDTH_PX, parent.width() - 32)
        self.setGeometry((parent.width() - width) // 2, 56, width, min(_HEIGHT_PX, parent.height() - 96))
        self.line.clear()
        self._fill("")
        self.show()
        self.raise_()
        self.line.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keys of the line that steer the list; losing the focus closes."""
        if event.type() == QEvent.Type.FocusOut:
            QTimer.singleShot(0, self, self._close_unless_inside)
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            key = Qt.Key(event.key())
            if key == Qt.Key.Key_Escape:
                self.hide()
                return True
            if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._run(self.list.currentItem())
                return True
            if key in (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
                self.list.keyPressEvent(event)
                return True
        return super().eventFilter(watched, event)

    def _close_unless_inside(self) -> None:
        if not self.line.hasFocus():
            self.hide()

    def _fill(self, text: str) -> None:
        ranked = sorted(
            ((score(command, text), command) for command in self._desk.commands),
            key=lambda each: -each[0],
        )
        self.list.clear()
        for points, command in ranked:
            if points and command.id != "app.palette":
                self._add(command)
        self.list.setCurrentRow(0)

    def _add(self, command: Command) -> None:
        item = QListWidgetItem()
        item.setData(Qt.ItemDataRole.UserRole, command.id)
        item.setData(Qt.ItemDataRole.AccessibleTextRole, command.title)
        item.setSizeHint(QSize(0, 34))
        is_enabled = self._desk.commands.is_enabled(command.id)
        if not is_enabled:
            item.setFlags(Qt.ItemFlag.NoItemFlags)
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(10)
        picture = IconLabel("chevron-right", 16, "muted" if is_enabled else "outline")
        picture.setPixmap(icons.pixmap(ICONS.get(command.id, "chevron-right"), 16, "muted"))
        row.addWidget(picture)
        row.addWidget(ElidedLabel(command.title.rstrip("…"), "" if is_enabled else "muted"), 1)
        row.addWidget(label(TITLES[command.group].replace("&", ""), "caption"))
        if command.shortcut:
            key = label(command.shortcut)
            key.setProperty("kind", "key")
            row.addWidget(key)
        self.list.addItem(item)
        self.list.setItemWidget(item, line)

    def _run(self, item: QListWidgetItem | None) -> None:
        if item is None or not item.flags() & Qt.ItemFlag.ItemIsEnabled:
            return
        command_id = str(item.data(Qt.ItemDataRole.UserRole))
        self.hide()
        self._desk.run(command_id)
