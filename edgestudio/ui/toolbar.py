"""The toolbar: the main path from left to right, then the palette and the colours."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QMenu, QSizePolicy, QToolBar, QToolButton, QWidget

from edgestudio.ui import icons, theme
from edgestudio.ui.desk import Desk
from edgestudio.ui.menus import MenuSet
from edgestudio.ui.widgets.buttons import Button, IconButton, ToolButton

_PATH = ("model.open", "optimize.run", "board.push")
_SHORT = {"model.open": "Open", "optimize.run": "Shrink", "board.push": "Install"}


class MainToolbar(QToolBar):
    """Fixed: what moves it about are the docks."""

    def __init__(self, desk: Desk, menus: MenuSet) -> None:
        super().__init__("Main path")
        self.setObjectName("main-toolbar")
        self.setMovable(False)
        self.setIconSize(QSize(18, 18))
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        for command_id in _PATH:
            button = ToolButton()
            button.setDefaultAction(menus.actions[command_id])
            button.setText(_SHORT[command_id])
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setObjectName(f"toolbar-{command_id}")
            button.setAccessibleName(menus.actions[command_id].text())
            menus.actions[command_id].setIconText(_SHORT[command_id])
            self.addWidget(button)
        self.addSeparator()
        self._board = ToolButton()
        self._board.setText("Add board")
        self._board.setObjectName("toolbar-add-board")
        self._board.setAccessibleName("Add a board")
        self._board.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._board.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self._board)
        for command_id in (
            "board.add_simulated",
            "board.add_this_computer",
            "board.add_address",
            "board.watch_broker",
        ):
            menu.addAction(menus.actions[command_id])
        self._board.setMenu(menu)
        self.addWidget(self._board)
        space = QWidget()
        space.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.addWidget(space)
        search = Button(
            "Search commands     Ctrl+Shift+P", "toolbar-palette", icon="search",
            run=lambda: desk.run("app.palette"),
        )  # fmt: skip
        search.setProperty("kind", "search")
        self.addWidget(search)
        self.addWidget(
            IconButton(
                "theme", "Switch between light and dark", "toolbar-theme", lambda: desk.run("view.next_theme")
            )
        )
        self.addWidget(
            IconButton("settings", "Settings", "toolbar-settings", lambda: desk.run("app.settings"))
        )
        self._draw()
        theme.changed.connect(self._draw)

    def _draw(self) -> None:
        self._board.setIcon(icons.icon("board", "text"))
