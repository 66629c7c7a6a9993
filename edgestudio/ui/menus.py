"""Menus, shortcuts and buttons made from the list of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar, QWidget

from edgestudio.studio.commands.commands import Command
from edgestudio.ui import icons, menu_order, theme
from edgestudio.ui.desk import Desk

TITLES = {
    "file": "&File", "edit": "&Edit", "model": "&Model", "board": "&Board", "job": "&Jobs", "view": "&View",
    "help": "&Help",
}  # fmt: skip
_RECENT_COMMAND = "file.recent_"
ICONS = {
    "model.open": "open",
    "model.open_sample": "sample",
    "model.remove": "remove",
    "model.export": "export",
    "model.compare": "compare",
    "model.bench": "results",
    "model.evaluate": "results",
    "model.set_tags": "tag",
    "model.check": "check",
    "model.reveal": "open",
    "model.open_in_netron": "graph",
    "optimize.doctor": "doctor",
    "optimize.run": "recipe",
    "job.cancel": "cancel",
    "job.retry": "retry",
    "board.add_simulated": "simulated",
    "board.add_this_computer": "computer",
    "board.add_address": "add",
    "board.pair": "pair",
    "board.unpair": "unpair",
    "board.push": "push",
    "board.rollback": "rollback",
    "board.forget": "remove",
    "app.settings": "settings",
    "app.palette": "palette",
}


def action_for(command: Command, desk: Desk, parent: QWidget, *, is_global: bool) -> QAction:
    """An action that runs a command; only a global one owns the command's shortcut."""
    action = QAction(command.title, parent)
    action.setObjectName(f"action-{command.id}")
    action.setStatusTip(command.description)
    if command.description:
        action.setToolTip(f"{command.title}: {command.description}")
    if command.shortcut and is_global:
        action.setShortcut(QKeySequence(command.shortcut))
    action.triggered.connect(lambda: desk.run(command.id))
    return action


class MenuSet(QObject):
    """The window's actions: one per command, kept enabled or not as the selection says."""

    def __init__(self, desk: Desk, window: QWidget) -> None:
        super().__init__(window)
        self._commands = desk.commands
        self.actions: dict[str, QAction] = {}
        for command in desk.commands:
            action = action_for(command, desk, window, is_global=True)
            window.addAction(action)
            self.actions[command.id] = action
        self.recolour()
        self.refresh()
        theme.changed.connect(self.recolour)

    def fill(self, bar: QMenuBar, recent: Callable[[], Sequence[Path]] = lambda: ()) -> dict[str, QMenu]:
        """Put every command into the menu of its group; returns the menus by group.

        `recent` gives the files that were opened last, the newest first.
        """
        menus: dict[str, QMenu] = {}
        for group, title in TITLES.items():
            mine = {command.id for command in self._commands if command.group == group}
            mine -= {name for name in mine if name.startswith(_RECENT_COMMAND)}
            if mine:
                menus[group] = menu = bar.addMenu(title)
                menu.setObjectName(f"menu-{group}")
                menu.setToolTipsVisible(True)
                menu.aboutToShow.connect(self.refresh)
                for name in menu_order.ordered(group, mine):
                    self._add(menu, name, recent)
        return menus

    def _add(self, menu: QMenu, name: str, recent: Callable[[], Sequence[Path]]) -> None:
        if not name:
            menu.addSeparator()
        elif name == menu_order.RECENT:
            inside = menu.addMenu("Open recent")
            inside.setObjectName("menu-recent")
            menu.aboutToShow.connect(lambda: self._list_recent(inside, recent()))
        else:
            menu.addAction(self.actions[name])

    def _list_recent(self, menu: QMenu, paths: Sequence[Path]) -> None:
        """Name the recent files; a number that stands for none is not listed."""
        menu.clear()
        for number, path in enumerate(paths, 1):
            action = self.actions.get(f"{_RECENT_COMMAND}{number}")
            if action is not None:
                action.setText(path.name.replace("&", "&&"))
                action.setToolTip(str(path))
                menu.addAction(action)
        menu.setEnabled(not menu.isEmpty())

    def refresh(self) -> None:
        """Enable what can run on the selection."""
        for command_id, action in self.actions.items():
            action.setEnabled(self._commands.is_enabled(command_id))

    def recolour(self) -> None:
        """Draw the icons in the colours of now."""
        for command_id, name in ICONS.items():
            if command_id in self.actions:
                self.actions[command_id].setIcon(icons.icon(name, "text"))


def context_menu(parent: QWidget, desk: Desk, wanted: Iterable[str]) -> QMenu:
    """A menu of the named commands that exist here; "" is a line between groups. It deletes itself when closed."""
    menu = QMenu(parent)
    menu.setObjectName("context-menu")
    for command_id in wanted:
        if not command_id:
            menu.addSeparator()
        elif command_id in desk.commands:
            action = action_for(desk.commands[command_id], desk, menu, is_global=False)
            action.setEnabled(desk.commands.is_enabled(command_id))
            if command_id in ICONS:
                action.setIcon(icons.icon(ICONS[command_id], "text"))
            menu.addAction(action)
    menu.aboutToHide.connect(menu.deleteLater)
    return menu
