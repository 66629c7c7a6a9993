"""What the user did in this session, to be taken back and done again, newest first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

_KEPT = 100


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done: `undo` and `redo` start the work of taking it back and of doing it again."""

    title: str
    undo: Callable[[], Awaitable[Any]]
    redo: Callable[[], Awaitable[Any]]


class EditHistory:
    """One line of changes; doing something new forgets what was taken back. Titles may be read on any thread."""

    def __init__(self) -> None:
        self._done: deque[Change] = deque(maxlen=_KEPT)
        self._undone: list[Change] = []
        self._turn = asyncio.Lock()
        self._listeners: list[Callable[[], object]] = []

    def on_change(self, tell: Callable[[], object]) -> None:
        """Call `tell` after each change of what can be undone or done again, on the thread where it happens."""
        self._listeners.append(tell)

    @property
    def undo_title(self) -> str | None:
        """What undo would take back."""
        return self._done[-1].title if self._done else None

    @property
    def redo_title(self) -> str | None:
        """What redo would do again."""
        return self._undone[-1].title if self._undone else None

    def record(self, change: Change) -> None:
        """Something was done."""
        self._done.append(change)
        self._undone.clear()
        self._tell()

    async def undo(self) -> str | None:
        """Take back the newest change and return its title; one that cannot be taken back is forgotten."""
        async with self._turn:
            if not self._done:
                return None
            change = self._done.pop()
            try:
                await change.undo()
                self._undone.append(change)
            finally:
                self._tell()
            return change.title

    async def redo(self) -> str | None:
        """Do again what was taken back last and return its title."""
        async with self._turn:
            if not self._undone:
                return None
            change = self._undone.pop()
            try:
                await change.redo()
                self._done.append(change)
            finally:
                self._tell()
            return change.title

    def _tell(self) -> None:
        for tell in self._listeners:
            tell()
