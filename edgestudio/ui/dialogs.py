"""The window's dialogs: settings, discovery doctor, help, keys, about. None of them blocks anything."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import PySide6
from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from edgestudio import __version__
from edgestudio.assets import resource
from edgestudio.studio.commands.commands import CommandSet
from edgestudio.studio.settings import Settings
from edgestudio.ui import icons
from edgestudio.ui.menus import TITLES
from edgestudio.ui.requests import Requests
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.code import copy_to_clipboard
from edgestudio.ui.widgets.schema_form import SchemaForm
from edgestudio.ui.widgets.text import IconLabel, label, set_role
from edgestudio.wire.errors import EdgeStudioError


class Sheet(QDialog):
    """A dialog with a title, a scrolling body and a row of buttons; deleted when closed."""

    def __init__(self, name: str, title: str, parent: QWidget, width: int = 520, height: int = 560) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(width, min(height, parent.height()))
        self.body = QVBoxLayout()
        self.body.setContentsMargins(20, 16, 20, 16)
        self.body.setSpacing(8)
        host = QWidget()
        host.setProperty("kind", "page")
        host.setLayout(self.body)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(host)
        foot = QFrame()
        foot.setProperty("kind", "foot")
        self.buttons = QHBoxLayout(foot)
        self.buttons.setContentsMargins(16, 10, 16, 10)
        self.buttons.setSpacing(8)
        self.buttons.addStretch(1)
        self.setProperty("kind", "sheet")
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)  # the edge, where no window manager draws one
        column.setSpacing(0)
        column.addWidget(scroll, 1)
        column.addWidget(foot)

    def showEvent(self, event: QShowEvent) -> None:
        """Keys go to it at once, also where no window manager sees to that."""
        super().showEvent(event)
        self.raise_()
        self.activateWindow()

    def add_close(self, text: str = "Close") -> None:
        """The button that closes."""
        button = Button(text, f"{self.objectName()}-close", run=self.close)
        button.setAutoDefault(False)
        self.buttons.addWidget(button)


class MessageDialog(Sheet):
    """A sentence, and what to do about it."""

    def __init__(self, name: str, title: str, sentence: str, parent: QWidget) -> None:
        super().__init__(name, title, parent, 420, 180)
        self.body.addWidget(label(title, "title", wraps=True))
        self.body.addWidget(label(sentence, "muted", wraps=True))
        self.body.addStretch(1)
        self.add_close()


class SettingsDialog(Sheet):
    """The form of the settings' own model."""

    def __init__(self, requests: Requests, parent: QWidget) -> None:
        super().__init__("settings-dialog", "Settings", parent)
        self._requests = requests
        self.body.addWidget(label("Settings", "title"))
        self.form = SchemaForm(Settings, "settings")
        self.form.set_values(requests.settings().model_dump())
        self.body.addWidget(self.form)
        self._problem = label("", "bad", wraps=True, name="settings-problem")
        self.body.addWidget(self._problem)
        self.body.addStretch(1)
        self.add_close("Cancel")
        save = Button("Save", "settings-save", kind="primary", run=self._save)
        save.setDefault(True)
        self.buttons.addWidget(save)

    def _save(self) -> None:
        if not self.form.validate():
            return
        try:
            self._requests.change_settings(self.form.values())
        except EdgeStudioError as error:
            self._problem.setText(error.in_full)
            return
        self.close()


class DoctorDialog(Sheet):
    """Why a board may be missing: one line per check, with what to do."""

    def __init__(self, requests: Requests, parent: QWidget) -> None:
        super().__init__("doctor-dialog", "Why is my board missing?", parent, 600, 480)
        self._report: list[str] = []
        self.body.addWidget(label("Why is my board missing?", "title"))
        self._state = label(
            "Looking at interfaces, mDNS and the firewall …", "muted", wraps=True, name="doctor-state"
        )
        self.body.addWidget(self._state)
        self._lines = QVBoxLayout()
        self._lines.setSpacing(8)
        self.body.addLayout(self._lines)
        self.body.addStretch(1)
        copy = Button("Copy report", "doctor-copy", kind="quiet", run=self._copy)
        copy.setAutoDefault(False)
        self.buttons.insertWidget(0, copy)
        self.add_close()
        self._is_open = True
        self.finished.connect(self._closed)
        requests.doctor(self._show, self._failed)

    def _show(self, checks: list[Mapping[str, Any]]) -> None:
        if not self._is_open:
            return
        wrong = sum(check.get("ok") is False for check in checks)
        self._state.setText(
            "Nothing here keeps boards away." if not wrong else f"{wrong} of {len(checks)} checks fail."
        )
        for check in checks:
            self._lines.addWidget(self._line(check))

    def _line(self, check: Mapping[str, Any]) -> QWidget:
        icon, role, word = {
            True: ("success", "good", "Fine"),
            False: ("error", "bad", "Problem"),
            None: ("info", "muted", "Note"),
        }[check.get("ok")]
        self._report.append(
            f"{word}: {check['name']}: {check.get('detail', '')} {check.get('remedy') or ''}".strip()
        )
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(IconLabel(icon, 18, role, word), 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(2)
        name = str(check["name"])
        column.addWidget(label(name[:1].upper() + name[1:], "heading"))
        for key, look in (("detail", "muted"), ("remedy", "")):
            if check.get(key):
                column.addWidget(label(str(check[key]).replace("`", ""), look, wraps=True))
        row.addLayout(column, 1)
        return line

    def _failed(self, error: EdgeStudioError) -> None:
        if self._is_open:
            self._state.setText(error.in_full)
            set_role(self._state, "bad")

    def _copy(self) -> None:
        copy_to_clipboard("\n".join(self._report))

    def _closed(self) -> None:
        self._is_open = False


class HelpDialog(Sheet):
    """The help that comes with the application; needs no network."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__("help-dialog", "Help", parent, 720, 640)
        text = QTextBrowser()
        text.setObjectName("help-text")
        text.setAccessibleName("Help")
        text.setProperty("kind", "plain")
        text.setOpenExternalLinks(False)
        text.document().setDocumentMargin(4)
        text.setMarkdown(resource("help", "help.md").read_text("utf-8"))
        self.body.addWidget(text, 1)
        self.add_close()


class KeysDialog(Sheet):
    """Every shortcut, from the list of commands."""

    def __init__(self, commands: CommandSet, parent: QWidget) -> None:
        super().__init__("keys-dialog", "Keyboard shortcuts", parent, 460, 600)
        self.body.addWidget(label("Keyboard shortcuts", "title"))
        for group, title in TITLES.items():
            mine = [command for command in commands if command.group == group and command.shortcut]
            if not mine:
                continue
            self.body.addWidget(label(title.replace("&", ""), "heading"))
            for command in mine:
                key = label(command.shortcut)
                key.setProperty("kind", "key")
                line = QHBoxLayout()
                line.addWidget(label(command.title.rstrip("…"), "muted"), 1)
                line.addWidget(key)
                self.body.addLayout(line)
        self.body.addStretch(1)
        self.add_close()


class AboutDialog(Sheet):
    """Name, version, licences."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__("about-dialog", "About EdgeStudio", parent, 460, 380)
        picture = label()
        picture.setPixmap(icons.application_icon().pixmap(64, 64))
        self.body.addWidget(picture)
        name = label("EdgeStudio", "title")
        name.setFont(QFont(name.font()))
        self.body.addWidget(name)
        lines = (
            f"Version {__version__}, Python {platform.python_version()}, Qt for Python {PySide6.__version__}",
            "Drop a model on a board, and see it run there, better and safely.",
            "Apache License 2.0. Uses Qt for Python (LGPL 3.0) and the typeface Inter (SIL Open Font License 1.1).",
            "No account, no cloud, no usage data: what you open stays on your computer and your boards.",
        )
        for line in lines:
            self.body.addWidget(label(line, "muted", wraps=True))
        self.body.addStretch(1)
        self.add_close()
