"""The first page: what this is in one line, the three ways to begin, and what was open before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.text import ElidedLabel, IconLabel, label

_PAGE_PX = 760
STEPS = (
    ("open", "Open", "a trained model"),
    ("recipe", "Shrink", "with a recipe"),
    ("push", "Drop", "it on a board"),
    ("watch", "Watch", "it run there"),
)
STARTS = (
    ("open", "Open a model …", "ONNX and more; or drop files anywhere", "model.open", "welcome-open"),
    ("sample", "Try the sample", "A small digit classifier with its data", "model.open_sample",
     "welcome-sample"),
    ("computer", "This computer", "Use it as a board, with its own sensors", "board.add_this_computer",
     "welcome-local"),
    ("simulated", "Add a simulated board", "The real agent; only its sensors are simulated",
     "board.add_simulated", "welcome-simulated"),
)  # fmt: skip


_LONGEST_NAME = 40


class WelcomePanel(QScrollArea):
    """Centred, and narrow enough to read."""

    def __init__(self, desk: Desk, recents: Callable[[], Sequence[Path]]) -> None:
        super().__init__()
        self.setObjectName("welcome-panel")
        self._desk, self._recents = desk, recents
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        host = QWidget()
        host.setProperty("kind", "page")
        outer = QHBoxLayout(host)
        outer.setContentsMargins(24, 16, 24, 16)
        page = QWidget()
        page.setMaximumWidth(_PAGE_PX)
        outer.addStretch(1)
        outer.addWidget(page, 100)
        outer.addStretch(1)
        self._column = QVBoxLayout(page)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        self._build()
        self.setWidget(host)
        self.refresh()

    def refresh(self) -> None:
        """Read the recent files again."""
        while (item := self._recent_column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        paths = self._recents()
        for number, path in enumerate(paths, start=1):
            self._recent_column.addWidget(self._recent(number, path))
        self._recent_heading.setVisible(bool(paths))

    def _build(self) -> None:
        column = self._column
        column.addStretch(1)
        column.addWidget(label("EdgeStudio", "display"))
        column.addWidget(
            label("Drop a model on a board, and see it run there, better and safely.", "muted", wraps=True)
        )
        column.addSpacing(12)
        steps = QHBoxLayout()
        steps.setSpacing(8)
        for number, (icon, title, text) in enumerate(STEPS):
            if number:
                steps.addWidget(IconLabel("chevron-right", 14, "outline"))
            steps.addWidget(_step(icon, title, text), 1)
        column.addLayout(steps)
        column.addSpacing(12)
        grid = QGridLayout()
        grid.setSpacing(8)
        for number, (icon, title, text, command, name) in enumerate(STARTS):
            grid.addWidget(self._start(icon, title, text, command, name), number // 2, number % 2)
        column.addLayout(grid)
        column.addSpacing(12)
        self._recent_heading = label("Recent", "heading")
        column.addWidget(self._recent_heading)
        self._recent_column = QVBoxLayout()
        self._recent_column.setSpacing(0)
        column.addLayout(self._recent_column)
        column.addStretch(2)

    def _start(self, icon: str, title: str, text: str, command: str, name: str) -> QFrame:
        card = QFrame()
        card.setProperty("kind", "card")
        row = QHBoxLayout(card)
        row.setContentsMargins(14, 12, 14, 12)
        row.setSpacing(12)
        row.addWidget(IconLabel(icon, 24, "accent"), 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(6)
        column.addWidget(label(text, "muted", wraps=True))
        column.addStretch(1)
        kind = "primary" if command == "model.open_sample" else ""
        button = Button(title, name, kind=kind, run=lambda: self._desk.run(command))
        column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        row.addLayout(column, 1)
        return card

    def _recent(self, number: int, path: Path) -> QWidget:
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        name = (
            path.name
            if len(path.name) <= _LONGEST_NAME
            else f"{path.name[: _LONGEST_NAME - 9]}…{path.name[-8:]}"
        )
        button = Button(name, f"welcome-recent-{number}", icon="file", kind="quiet")
        button.setAccessibleName(path.name)
        button.setToolTip(str(path))
        button.clicked.connect(lambda: self._desk.run("model.open", paths=[path]))
        row.addWidget(button)
        row.addWidget(ElidedLabel(str(path.parent), "caption", Qt.TextElideMode.ElideMiddle), 1)
        if number <= 9:
            key = label(f"Ctrl+{number}")
            key.setProperty("kind", "key")
            row.addWidget(key)
        return line


def _step(icon: str, title: str, text: str) -> QWidget:
    made = QWidget()
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    row.addWidget(IconLabel(icon, 20, "text"))
    column = QVBoxLayout()
    column.setSpacing(0)
    column.addWidget(label(title, "heading"))
    column.addWidget(label(text, "caption"))
    row.addLayout(column, 1)
    return made
