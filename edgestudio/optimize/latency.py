"""Compares the latency of two models on this machine: turn by turn, so that both see the same disturbances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edgestudio.optimize.step import Feeds
from edgestudio.runtime.backend import Session, open_session
from edgestudio.runtime.statistics import summary

ROUNDS, TURNS = 6, 4
WARMUP_RUNS = 5
MIN_RUNS, MAX_RUNS = 2, 40
# Student's t for 95 % and ROUNDS - 1 degrees of freedom.
_T95 = 2.571
# Below this a difference is of no use, however sure it is.
_RELEVANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """Latencies of two models, and their ratio (first / second) with its 95 % interval."""

    first_ms: dict[str, Any]
    second_ms: dict[str, Any]
    speedup: float
    low: float
    high: float

    @property
    def is_inside_noise(self) -> bool:
        """True when the interval holds 1, or the difference is below 5 %."""
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
    first: Path,
    second: Path,
    feeds: tuple[Feeds, Feeds],
    *,
    threads: int = 1,
    budget_s: float = 3.0,
    tick: Callable[[float], None] | None = None,
) -> Comparison:
    """Time the models at both paths on `feeds` (one per model) within about `budget_s`; `tick` gets the share done.

    Each round loads both anew, because one load can be some percent faster than the next of the same file
    (where its memory lies); the interval is over the rounds. Raises ModelError.
    """
    paths, runs = (first, second), 0
    blocks: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number in range(ROUNDS):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        sessions: dict[int, Session] = {}
        try:
            for which in order:
                sessions[which] = open_session(paths[which], threads=threads, is_scanned=True)
            pace = max(min(_timed(sessions[which], feeds[which], WARMUP_RUNS)) for which in order) / 1000
            runs = runs or int(min(max(budget_s / 2 / ROUNDS / TURNS / max(pace, 1e-6), MIN_RUNS), MAX_RUNS))
            times: tuple[list[float], list[float]] = ([], [])
            for turn in range(TURNS):
                for which in order if turn % 2 == 0 else order[::-1]:
                    times[which].extend(_timed(sessions[which], feeds[which], runs))
            for which in order:
                blocks[which].append(times[which])
        finally:
            for session in sessions.values():
                session.close()
        if tick:
            tick((number + 1) / ROUNDS)
    ratios = [math.log(float(np.median(a)) / float(np.median(b))) for a, b in zip(*blocks, strict=True)]
    middle, half = float(np.mean(ratios)), _T95 * float(np.std(ratios, ddof=1)) / math.sqrt(ROUNDS)
    low, high = math.exp(middle - half), math.exp(middle + half)
    return Comparison(_summary(blocks[0]), _summary(blocks[1]), math.exp(middle), low, high)


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
