"""What every panel is given: the stores to show, the commands to run, the selection to share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from edgestudio.studio.commands.commands import CommandSet
from edgestudio.studio.stores import Stores
from edgestudio.ui.dragging import DragState
from edgestudio.ui.selection import Selected


@dataclass(frozen=True)
class Desk:
    """The working surface of the window; panels reach the services through `commands` alone.

    `dialogs` are commands that first ask something: the window's own way to ask, which never blocks.
    `after` is told what was run with which arguments, and the future of what goes on.
    """

    stores: Stores
    commands: CommandSet
    selected: Selected = field(default_factory=Selected)
    drag: DragState = field(default_factory=DragState)
    dialogs: dict[str, Callable[[], object]] = field(default_factory=dict)
    after: dict[str, Callable[[dict[str, Any], Future[Any]], object]] = field(default_factory=dict)

    def run(self, command_id: str, **arguments: Any) -> Future[Any] | None:
        """Run a command; without arguments it acts on the selection, or asks for what it needs."""
        if not arguments and command_id in self.dialogs:
            if self.commands.is_enabled(command_id):
                self.dialogs[command_id]()
            return None
        future = self.commands.run(command_id, **arguments)
        if future is not None and command_id in self.after:
            self.after[command_id](arguments, future)
        return future
