"""What time it is, as far as a board without a battery can know: never earlier than anything it has proof of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgestudio.agent.store.fsops import DiskOps, FileOps, write_atomically
from edgestudio.wire.errors import InstallError
from edgestudio.wire.records import Clock

BUILT_UNIX_S = 1_795_219_200.0
"""2026-11-21: this code did not exist before."""

FAR_AHEAD_S = 86_400.0
_KEEP_EVERY_S = 3600.0
_SOON_S = 366 * 86_400.0


class TrustClock:
    """Wall clock with a floor; the floor rises by kept time, signed metadata and the paired studio's word.

    Nothing orders by it: records are ordered by boot and sequence. It only judges expiry and labels records.
    """

    def __init__(self, path: Path, ops: FileOps | None = None, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._ops: FileOps = ops if ops is not None else DiskOps()
        self._wall = wall
        self._offset_s = 0.0
        self._ahead_s = 0.0
        self._floor = max(BUILT_UNIX_S, self._read())
        self._proven = BUILT_UNIX_S
        self._is_confirmed = False
        self._kept = self._floor

    @property
    def floor(self) -> float:
        """The earliest that it can be, Unix seconds."""
        return self._floor

    @property
    def quality(self) -> Clock:
        """ "bad" when the board's own clock says a time that has provably passed."""
        return "ok" if self._own() >= self._floor else "bad"

    def now(self) -> float:
        """The best guess, Unix seconds: the corrected wall clock, and never below the floor."""
        return max(self._own(), self._floor)

    def raise_floor(self, proven: float) -> None:
        """It is at least `proven` (Unix seconds), when something signed was made; a year ahead is not believed."""
        if proven <= self.now() + _SOON_S:
            self._proven = max(self._proven, proven)
            self._floor = max(self._floor, proven)
            self.keep()

    def offer(self, studio_time: float) -> None:
        """The paired studio says what time it is: it mends a bad clock, and shows one that is far ahead.

        A floor that rests on this board's own clock alone gives way to it; one that something signed proves does not.
        """
        wall = self._wall()
        if self._proven <= studio_time < self._floor:
            self._floor = studio_time
        if wall < self._floor <= studio_time:
            self._offset_s = studio_time - wall
        self._ahead_s = self._own() - studio_time
        self._is_confirmed = abs(self._ahead_s) <= FAR_AHEAD_S
        self.keep()

    def check_install(self) -> None:
        """Raise InstallError when the board's clock is so far ahead that expiry cannot be judged."""
        if self._ahead_s > FAR_AHEAD_S:
            raise InstallError(
                f"The board's clock is {self._ahead_s / 86_400:.0f} days ahead of the studio's.",
                hint="Set the board's clock, then push again. What runs keeps running.",
                code="clock-ahead",
            )

    def keep(self) -> None:
        """Write the time down now and then, so that after a power cut it is not 1970 again."""
        own = self._own()
        # A year that nobody confirmed would make every release look expired for ever.
        is_likely = self._is_confirmed or own <= self._floor + _SOON_S
        if self.quality == "ok" and self._ahead_s <= FAR_AHEAD_S and is_likely:
            self._floor = max(self._floor, own - _KEEP_EVERY_S)
        if abs(self._floor - self._kept) >= _KEEP_EVERY_S:
            try:
                write_atomically(self._ops, self._path, f"{self._floor:.0f}".encode())
            except OSError:
                return  # a full or read-only disk must not stop the clock
            self._kept = self._floor

    def _own(self) -> float:
        """The board's clock, corrected as a studio said; one that was set since then needs no correction any more."""
        wall = self._wall()
        if wall >= self._floor:
            self._offset_s = 0.0
        return wall + self._offset_s

    def _read(self) -> float:
        try:
            stored = float(self._ops.read(self._path))
        except (OSError, ValueError):
            return 0.0
        return stored if 0 <= stored < 1e11 else 0.0
