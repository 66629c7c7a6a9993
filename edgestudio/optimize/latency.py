"""Compares the latency of two models on this machine: turn by turn, so that both see the same disturbances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from edgestudio.optimize.step import Feeds
from edgestudio.runtime.backend import Session
from edgestudio.runtime.statistics import summary

BLOCKS = 10
WARMUP_RUNS = 5
MIN_RUNS, MAX_RUNS = 3, 60
# Student's t for 95 % and BLOCKS - 1 degrees of freedom.
_T95 = 2.262
# Below this a difference is of no use, however sure it is.
_RELEVANT = 0.03


@dataclass(frozen=True)
class Comparison:
    """Latencies of two sessions, and their ratio (first / second) with its 95 % interval."""

    first_ms: dict[str, Any]
    second_ms: dict[str, Any]
    speedup: float
    low: float
    high: float

    @property
    def is_inside_noise(self) -> bool:
        """True when the interval holds 1, or the difference is below 3 %."""
        return self.low <= 1 <= self.high or abs(self.speedup - 1) < _RELEVANT

    @property
    def sentence(self) -> str:
        """The finding in words."""
        interval = f"(95 % interval {self.low:.2f} to {self.high:.2f})"
        if self.low <= 1 <= self.high:
            return f"no difference in latency beyond the noise on this computer {interval}"
        if self.is_inside_noise:
            return f"no difference in latency that matters on this computer {interval}"
        if self.speedup > 1:
            return f"{self.speedup:.2f} times as fast on this computer {interval}"
        times = f"{1 / self.speedup:.2f} times the latency (95 % interval {1 / self.high:.2f} to {1 / self.low:.2f})"
        return f"slower on this computer: {times}"


def compare(
    first: Session,
    second: Session,
    feeds: tuple[Feeds, Feeds],
    *,
    budget_s: float = 3.0,
    tick: Callable[[float], None] | None = None,
) -> Comparison:
    """Time both sessions on `feeds` (one per session) within about `budget_s`; `tick` gets the fraction done."""
    pace = max(_warm_up(first, feeds[0]), _warm_up(second, feeds[1]))
    runs = int(min(max(budget_s / 2 / BLOCKS / max(pace, 1e-6), MIN_RUNS), MAX_RUNS))
    times: tuple[list[list[float]], list[list[float]]] = ([], [])
    for block in range(BLOCKS):
        order = (0, 1) if block % 2 == 0 else (1, 0)
        for which in order:
            times[which].append(_timed((first, second)[which], feeds[which], runs))
        if tick:
            tick((block + 1) / BLOCKS)
    ratios = [math.log(float(np.median(a)) / float(np.median(b))) for a, b in zip(*times, strict=True)]
    middle, half = float(np.mean(ratios)), _T95 * float(np.std(ratios, ddof=1)) / math.sqrt(BLOCKS)
    return Comparison(
        _summary(times[0]),
        _summary(times[1]),
        math.exp(middle),
        math.exp(middle - half),
        math.exp(middle + half),
    )


def _warm_up(session: Session, feeds: Feeds) -> float:
    """Seconds of one run after a few that do not count."""
    return min(_timed(session, feeds, WARMUP_RUNS)) / 1000


def _timed(session: Session, feeds: Feeds, runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        started = perf_counter()
        session.run(feeds)
        times.append((perf_counter() - started) * 1000)
    return times


def _summary(blocks: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Percentiles, mean with its interval (ms) and n, as every latency is summed up."""
    return summary([value for block in blocks for value in block]) | {"warmup": WARMUP_RUNS}
