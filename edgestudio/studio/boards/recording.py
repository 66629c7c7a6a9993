"""Writes what boards report into the history, a second's worth at a time and never on the caller's thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from edgestudio.monitor.history import History
from edgestudio.wire.errors import EdgeStudioError

_EVERY_S = 1.0
_MOST_WAITING = 10_000
_PRUNE_EVERY = 600
_log = logging.getLogger(__name__)


class Recorder:
    """Buffers records on the loop thread; a full disk costs history, never the live view."""

    def __init__(self, history: Callable[[], History | None]) -> None:
        self._history = history
        self._waiting: list[tuple[str, Mapping[str, Any]]] = []
        self._task: asyncio.Task[None] | None = None

    def take(self, board: str, record: Mapping[str, Any]) -> None:
        """Keep a record; call it on the loop thread."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append((board, dict(record)))
        if self._task is None:
            with contextlib.suppress(RuntimeError):  # nobody runs a loop: `stop` writes what waits
                self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write what waits and end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(self._write, self._swap())

    def _swap(self) -> list[tuple[str, Mapping[str, Any]]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    async def _run(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(_EVERY_S)
            waiting = self._swap()
            # A cancelled thread goes on writing; shielded, so that nothing is written twice.
            await asyncio.shield(asyncio.to_thread(self._write, waiting))
            rounds += 1
            if rounds % _PRUNE_EVERY == 1:
                await asyncio.to_thread(self._prune)

    def _write(self, waiting: list[tuple[str, Mapping[str, Any]]]) -> None:
        history = self._history() if waiting else None
        if history is None:
            return
        by_board: dict[str, list[Mapping[str, Any]]] = {}
        for board, record in waiting:
            by_board.setdefault(board, []).append(record)
        for board, records in by_board.items():
            try:
                history.add(board, records)
            except (EdgeStudioError, ValueError, TypeError) as error:
                _log.warning("the history of %s has a hole: %s", board[:12], error)

    def _prune(self) -> None:
        history = self._history()
        if history is not None:
            with contextlib.suppress(EdgeStudioError):
                history.prune()
