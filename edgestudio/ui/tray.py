"""The tray's switches in the line at the foot: what happens on boards, which jobs run, what needs attention."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from edgestudio.ui import icons, theme
from edgestudio.ui.docks import TRAY, Docks
from edgestudio.ui.widgets.buttons import ToolButton

_ICONS = {"timeline": "push", "jobs": "jobs", "notices": "notices"}


class TraySwitches(QWidget):
    """A button for each dock of the tray: shows it, or folds the tray when it is in front already."""

    def __init__(self, docks: Docks) -> None:
        super().__init__()
        self._docks = docks
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 0, 2)
        row.setSpacing(2)
        self._buttons: dict[str, QToolButton] = {}
        for name in TRAY:
            button = ToolButton()
            button.setObjectName(f"tray-{name}")
            button.setCheckable(True)
            button.setProperty("kind", "tray")
            button.setIconSize(QSize(14, 14))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.clicked.connect(partial(self._turn, name))
            self._buttons[name] = button
            row.addWidget(button)
        docks.changed.connect(self.refresh)
        theme.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show which one is in front, and how many things each of them has to say."""
        for name, button in self._buttons.items():
            is_open, title = self._docks.is_in_front(name), self._docks.title(name)
            button.setChecked(is_open)
            button.setText(title)
            button.setIcon(icons.icon(_ICONS[name], "text" if is_open else "muted"))
            button.setToolTip(f"{'Fold away' if is_open else 'Show'} {title.lower()} (Ctrl+J)")
            button.setAccessibleName(title)

    def _turn(self, name: str) -> None:
        self._docks.turn(name)
        self.refresh()
