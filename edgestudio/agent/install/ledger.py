"""The book of installs: each transition is written down before the work it announces, and counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edgestudio.agent.killpoints import reach
from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.gc import FINISHED
from edgestudio.agent.store.state import InstallRow
from edgestudio.wire.errors import EdgeStudioError, InstallError

MAX_TRANSITIONS = 28
MAX_TRIES = 3
TELL_EVERY_S = 2.0
ARRIVING = frozenset({"OFFERED", "RECEIVING"})


class UnfitError(InstallError):
    """The release itself is at fault: its digest goes into quarantine."""

    code = "unfit"


class Ledger:
    """Rows of installs in the board's state; `on_change` hears of a transition once it is on disk."""

    def __init__(self, store: BoardStore, on_change: Callable[[InstallRow], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._told = 0.0

    def row(self, install_id: str) -> InstallRow:
        """The install; InstallError `no-install` when there is none of that id."""
        row = self._store.state.installs.get(install_id)
        if row is None:
            raise InstallError("This board knows no such install.", hint="Push again.", code="no-install")
        return row

    @property
    def open_row(self) -> InstallRow | None:
        """The install that is not finished, None when there is none."""
        rows = self._store.state.installs.values()
        return next((row for row in rows if row.state not in FINISHED), None)

    def refuse_while_busy(self) -> None:
        """InstallError `busy` while an install is open."""
        row = self.open_row
        if row is not None:
            raise InstallError(
                f"The board is installing {row.model} {row.version} ({row.state.lower()}).",
                hint="Wait until it is done, or abort it.",
                code="busy",
            )

    def begin(self, row: InstallRow, state: str, note: str = "") -> None:
        """A new row. One that the disk does not take is none: it must not keep the board busy."""
        self._store.state.installs[row.id] = row
        try:
            self.enter(row, state, note)
        except EdgeStudioError:
            del self._store.state.installs[row.id]
            raise

    def enter(self, row: InstallRow, state: str, note: str = "", **more: Any) -> None:
        """Write down that `row` is in `state` now. When the disk refuses, the row stays where it was."""
        if row.transitions >= MAX_TRANSITIONS and state not in FINISHED | {"ROLLBACK"}:
            raise UnfitError(
                f"It did not come to an end within {MAX_TRANSITIONS} steps.", code="too-many-steps"
            )
        before = row.state
        row.state, row.doing, row.fraction = state, "", None
        row.transitions += 1
        row.history.append({"state": state, "at": time.time(), "note": note, **more})
        reach(f"before:{state}")
        try:
            self._store.save()
        except EdgeStudioError:
            row.state = before
            row.history.pop()
            raise
        reach(f"after:{state}")
        self._on_change(row)

    def tell(self, row: InstallRow, doing: str, fraction: float | None) -> None:
        """How far the work of the present state is, for those who watch; no transition, and not worth a write.

        At most every two seconds or when another thing is done, or a build's many steps would fill the spool.
        """
        now = time.monotonic()
        if doing == row.doing and now - self._told < TELL_EVERY_S:
            return
        self._told = now
        row.doing, row.fraction = doing, fraction
        self._on_change(row)

    def attempt(self, row: InstallRow, state: str) -> None:
        """Enter a state whose work may take the agent down with it: the try is counted before it begins."""
        tries = row.tries.get(state, 0) + 1
        if tries > MAX_TRIES:
            raise UnfitError(
                f"It was tried {MAX_TRIES} times and the board did not survive it.", code="crash-loop"
            )
        row.tries[state] = tries
        self.enter(row, state, f"try {tries}" if tries > 1 else "")

    def end(self, row: InstallRow, state: str) -> None:
        """Finish a row, even when the disk cannot keep that."""
        try:
            self.enter(row, state, row.reason)
        except EdgeStudioError:
            row.state = state
            self._on_change(row)
