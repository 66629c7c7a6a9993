"""Notices what a trial is too short for: a committed model that grows or slows down over hours."""

from __future__ import annotations

import statistics
from collections import deque

LEARN = 60
"""Readings after a start from which "normal" is learned."""
RECENT = 60
GROWTH = 1.5
MIN_GROWTH_BYTES = 64 << 20
SLOWDOWN = 2.0


class CreepWatch:
    """One per serving release. Medians of many readings are compared, so that a burst of work is no alarm."""

    def __init__(self) -> None:
        self._usual: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = {}
        self._told: set[str] = set()

    def note(self, rss_bytes: float | None, p95_ms: float | None) -> str:
        """Add one second's readings; a sentence when something has crept up, once each, else ""."""
        memory = self._ratio("memory", rss_bytes)
        if memory and memory[1] >= GROWTH and memory[1] * memory[0] - memory[0] >= MIN_GROWTH_BYTES:
            return self._once(
                "memory", f"its memory grew from {memory[0] / 2**20:.0f} MiB to {memory[1]:.1f} times that"
            )
        latency = self._ratio("latency", p95_ms)
        if latency and latency[1] >= SLOWDOWN:
            return self._once(
                "latency", f"its p95 latency rose from {latency[0]:.1f} ms to {latency[1]:.1f} times that"
            )
        return ""

    def _ratio(self, name: str, value: float | None) -> tuple[float, float] | None:
        """(usual value, recent median as a multiple of it), None while there is too little to say."""
        if value is None:
            return None
        recent = self._recent.setdefault(name, deque(maxlen=RECENT))
        recent.append(value)
        if name not in self._usual:
            if len(recent) >= LEARN:
                self._usual[name] = statistics.median(recent)
                recent.clear()
            return None
        if len(recent) < RECENT or self._usual[name] <= 0:
            return None
        return self._usual[name], statistics.median(recent) / self._usual[name]

    def _once(self, name: str, sentence: str) -> str:
        if name in self._told:
            return ""
        self._told.add(name)
        return sentence
