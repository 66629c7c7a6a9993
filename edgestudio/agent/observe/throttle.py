"""What a hot board gives up, step by step, and takes back: frames, threads, its larger model, its own model, all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rung = Literal["normal", "fewer-frames", "fewer-threads", "smaller-model", "remote", "paused"]

LADDER: tuple[Rung, ...] = (
    "normal",
    "fewer-frames",
    "fewer-threads",
    "smaller-model",
    "remote",
    "paused",
)
HOT_C = 82.0
COOL_C = 74.0
BETWEEN_S = 30.0


@dataclass(frozen=True)
class Change:
    """One step up or down the ladder, with the reading that caused it."""

    rung: Rung
    before: Rung
    temperature_c: float

    @property
    def text(self) -> str:
        """A sentence for the event."""
        way = "hot" if LADDER.index(self.rung) > LADDER.index(self.before) else "cooler"
        return f"The board is {way} ({self.temperature_c:.1f} °C): {self.before} -> {self.rung}."


class ThrottleLadder:
    """Climbs while it is hot, comes down when it is cool, at most once per 30 s, so that it cannot flap."""

    def __init__(self, hot_c: float = HOT_C, cool_c: float = COOL_C, between_s: float = BETWEEN_S) -> None:
        self.hot_c = hot_c
        self.cool_c = cool_c
        self._between_s = between_s
        self._changed: float | None = None
        self.rung: Rung = "normal"

    def decide(self, now: float, temperature_c: float | None, usable: Sequence[Rung]) -> Change | None:
        """The step to take now, None for none. `usable` are the rungs that would change anything.

        An unknown temperature changes nothing: neither heat nor relief is invented.
        """
        if temperature_c is None or (self._changed is not None and now - self._changed < self._between_s):
            return None
        at = LADDER.index(self.rung)
        target: Rung | None = None
        if temperature_c >= self.hot_c:
            target = next((rung for rung in LADDER[at + 1 :] if rung in usable), None)
        elif temperature_c <= self.cool_c:
            below = [rung for rung in LADDER[:at] if rung == "normal" or rung in usable]
            target = below[-1] if below else None
        if target is None:
            return None
        change = Change(target, self.rung, temperature_c)
        self.rung, self._changed = target, now
        return change
