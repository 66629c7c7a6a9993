"""The commands that only a window has: find, properties, tabs, recent files, layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from edgestudio.studio.commands.commands import Command, Group

MOST_RECENTS = 9


def window_commands(
    show: Callable[[str], object],
    view: Callable[[str], object],
    open_recent: Callable[[int], object],
) -> Iterable[Command]:
    """Commands to add to the studio's own."""
    for name, title, shortcut in (
        ("results", "Results", "Ctrl+Shift+R"),
        ("compare", "Compare", "Ctrl+Shift+C"),
        ("reports", "Reports", ""),
        ("timeline", "Deployments", ""),
        ("model", "Model", ""),
        ("properties", "Properties of what is selected", "Ctrl+Return"),
        ("find", "Find", "Ctrl+F"),
    ):
        group: Group = "edit" if name == "find" else "view"
        yield _command(f"view.{name}", title, group, shortcut, partial(show, name))
    for number in range(1, MOST_RECENTS + 1):
        title = f"Recent file {number}"
        yield _command(f"file.recent_{number}", title, "file", f"Ctrl+{number}", partial(open_recent, number))
    yield _command("view.tray", "Bottom panel", "view", "Ctrl+J", partial(view, "tray"))
    yield _command("view.layout_save", "Save the layout as …", "view", "", partial(view, "layout-save"))
    yield _command("view.layout_load", "Go to a saved layout …", "view", "", partial(view, "layout-load"))
    yield _command(
        "view.next_theme", "Switch between light and dark", "view", "", partial(view, "theme-next")
    )


def _command(command_id: str, title: str, group: Group, shortcut: str, act: Callable[[], object]) -> Command:
    def run() -> None:
        act()

    return Command(command_id, title, run, group, shortcut)
