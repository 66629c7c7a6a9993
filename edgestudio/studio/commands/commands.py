"""What can be done: one list for menus, palette, context menus, shortcuts and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from edgestudio.studio.rows import BoardRow, JobRow, ModelRow

Group = Literal["file", "edit", "model", "board", "job", "view", "help"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user has selected; commands are enabled by it and act on it."""

    model: ModelRow | None = None
    boards: tuple[BoardRow, ...] = ()
    job: JobRow | None = None

    @property
    def board(self) -> BoardRow | None:
        """The one selected board, None when there is none or are several."""
        return self.boards[0] if len(self.boards) == 1 else None


class Window(Protocol):
    """What commands ask of the window; each method is called on the UI thread."""

    def ask_model_files(self) -> list[Path]:
        """Files that the user picks to open; empty when they changed their mind."""

    def ask_save_path(self, title: str, suggested: str) -> Path | None:
        """Where to write, or None."""

    def ask_text(self, title: str, prompt: str, initial: str = "") -> str | None:
        """One line from the user, or None."""

    def show(self, what: str) -> None:
        """Bring a place forward: a panel's name ("library", "jobs", …), "settings", "palette", "about", …"""

    def view(self, action: str) -> None:
        """Do something with the layout: "reset", "full-screen", "theme-dark", "toggle-jobs", …"""

    def close(self) -> None:
        """Close the window."""


Run = Callable[..., "Future[Any] | None"]
Enabled = Callable[[Selection], bool]


def always(selection: Selection) -> bool:
    """Enabled whatever is selected."""
    return True


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that can be done. `run` takes named arguments and falls back on the selection.

    `run` returns at once; where work goes on in the background it returns its future, whose errors have
    already been told to the user.
    """

    id: str
    title: str
    run: Run
    group: Group
    shortcut: str = ""
    enabled_when: Enabled = always
    description: str = ""
    keywords: tuple[str, ...] = field(default=())


class CommandSet:
    """The commands by id, in the order of their menus."""

    def __init__(self, commands: Iterable[Command], selection: Callable[[], Selection]) -> None:
        self._commands: dict[str, Command] = {}
        self._selection = selection
        for command in commands:
            self.add(command)

    def add(self, command: Command) -> None:
        """Add one; raises ValueError when its id or shortcut is taken."""
        if command.id in self._commands:
            raise ValueError(f"two commands are called {command.id}")
        if command.shortcut and any(command.shortcut == other.shortcut for other in self):
            raise ValueError(f"the shortcut {command.shortcut} is taken")
        self._commands[command.id] = command

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())

    def __getitem__(self, command_id: str) -> Command:
        return self._commands[command_id]

    def __contains__(self, command_id: object) -> bool:
        return command_id in self._commands

    def is_enabled(self, command_id: str) -> bool:
        """True when the command can run on what is selected now."""
        return self._commands[command_id].enabled_when(self._selection())

    def run(self, command_id: str, **arguments: Any) -> Future[Any] | None:
        """Run a command; arguments win over the selection. Nothing happens when neither is enough."""
        command = self._commands[command_id]
        if not arguments and not self.is_enabled(command_id):
            return None
        return command.run(**arguments)
