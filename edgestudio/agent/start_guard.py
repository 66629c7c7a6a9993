"""Notices an agent that keeps dying soon after its start, and has it serve nothing so that it can be mended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from edgestudio.agent.store.board import BoardStore
from edgestudio.wire.errors import EdgeStudioError

QUICK_STARTS = 5
QUICK_S = 60.0
"""An agent that has run this long is not in a crash loop."""


class StartGuard:
    """Counts starts in the board's state; `event` records what it decides."""

    def __init__(self, store: BoardStore, event: Callable[..., None]) -> None:
        self._store = store
        self._event = event

    def count_start(self) -> None:
        """Another start; too many in a row put the board into safe mode."""
        state = self._store.state
        state.boots += 1
        state.quick_starts = [*state.quick_starts, time.time()][-QUICK_STARTS:]
        if len(state.quick_starts) >= QUICK_STARTS:
            state.safe_mode = state.safe_mode or f"the agent ended unexpectedly {QUICK_STARTS} times in a row"
        with contextlib.suppress(EdgeStudioError):
            self._store.save()
        if state.safe_mode:
            self._event("agent.safe_mode", text=f"Safe mode: {state.safe_mode}.", level="error")

    def settle(self) -> None:
        """It has run long enough, or stops cleanly: no crash loop."""
        self._store.state.quick_starts = []
        with contextlib.suppress(EdgeStudioError):
            self._store.save()
