"""Says when a model's confidences no longer look like its baseline, with a known rate of false alarms.

The distance is Wasserstein-1 between histograms. Fixed textbook thresholds alarm on almost every window of
a video, because neighbouring frames are alike; so the threshold comes from windows of the same stream that
were known to be good (held out from the reference), and an alarm needs persistence: a CUSUM over the robust
z-score (k = 1, h = 10), turned red by the 3-of-5 rule. On simulated streams that gave one false alarm in
600 to 3000 windows, whatever the correlation between frames.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgestudio.wire.baseline import BINS, MIN_WINDOWS, Baseline, wasserstein

Level = Literal["unknown", "calibrating", "ok", "amber", "red"]

MIN_PREDICTIONS = 500
"""A window is judged from this many predictions on; below, "not enough data" and never a number."""
AUTOCORRELATION_FACTOR = 10
CALIBRATION_WINDOWS = 30
CUSUM_SLACK, CUSUM_LIMIT = 1.0, 10.0
PERSISTENCE, PERSISTENCE_OF = 3, 5
FALSE_ALARM_WINDOWS = 600
# Distances below this are differences of rounding between runtimes, not of the world.
MIN_SPREAD, MIN_THRESHOLD = 0.002, 0.01


def population_stability(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """PSI of histogram `b` against the reference `a`, half a count added to every bin; NaN when one is empty."""
    if a.sum() <= 0 or b.sum() <= 0:
        return float("nan")
    p, q = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


@dataclass(frozen=True)
class DriftState:
    """The verdict after the latest window; `distance` and `score` are None while there is none.

    `score` is the CUSUM as a share of its limit: 1 means alarm. `reason` says in words what is behind it.
    """

    level: Level = "unknown"
    distance: float | None = None
    threshold: float | None = None
    score: float | None = None
    stability_index: float | None = None
    windows: int = 0
    reason: str = "not enough data"
    budget: str = f"about 1 false alarm in {FALSE_ALARM_WINDOWS} windows"


class DriftDetector:
    """Judges one model on one board; feed it the confidence counts of telemetry windows in their order."""

    def __init__(self, baseline: Baseline | None, autocorrelation: float = 1.0) -> None:
        self._baseline = baseline
        self._needed = max(MIN_PREDICTIONS, int(AUTOCORRELATION_FACTOR * autocorrelation))
        self._pending = np.zeros(BINS)
        self._calibration: list[float] = list(baseline.held_out) if baseline else []
        self._is_calibrated = len(self._calibration) >= MIN_WINDOWS
        self._recent: deque[bool] = deque(maxlen=PERSISTENCE_OF)
        self._cusum = 0.0
        self._windows = 0
        self.state = DriftState(reason="not enough data" if baseline else "the model came without a baseline")

    def update(self, counts: NDArray[np.float64]) -> DriftState:
        """Add one telemetry window's counts, shape [64]; a judgement falls once enough predictions are in."""
        if self._baseline is None:
            return self.state
        self._pending += counts
        have = int(self._pending.sum())
        if have < self._needed:
            if self._windows == 0:
                self.state = DriftState(reason=f"not enough data: {have} of {self._needed} predictions")
            return self.state
        window, self._pending = self._pending, np.zeros(BINS)
        self._windows += 1
        distance = wasserstein(self._baseline.counts, window)
        stability = population_stability(self._baseline.counts, window)
        self.state = self._judge(distance) if self._is_calibrated else self._calibrate(distance)
        self.state = _with(self.state, stability_index=stability, windows=self._windows)
        return self.state

    def _calibrate(self, distance: float) -> DriftState:
        self._calibration.append(distance)
        self._is_calibrated = len(self._calibration) >= CALIBRATION_WINDOWS
        have = len(self._calibration)
        return DriftState(
            "calibrating", distance, reason=f"learning its own noise: {have} of {CALIBRATION_WINDOWS}"
        )

    def _judge(self, distance: float) -> DriftState:
        known = np.asarray(self._calibration)
        middle = float(np.median(known))
        spread = max(1.4826 * float(np.median(np.abs(known - middle))), float(known.std()), MIN_SPREAD)
        threshold = max(float(known.max()), MIN_THRESHOLD)
        self._cusum = min(max(0.0, self._cusum + (distance - middle) / spread - CUSUM_SLACK), 2 * CUSUM_LIMIT)
        self._recent.append(distance > threshold)
        if self._cusum <= CUSUM_LIMIT or distance <= MIN_THRESHOLD:
            level, reason = "ok", "like the baseline"
        elif sum(self._recent) >= PERSISTENCE:
            level, reason = "red", f"{sum(self._recent)} of the last {len(self._recent)} windows differ"
        else:
            level, reason = "amber", "differs a little for some time"
        return DriftState(level, distance, threshold, self._cusum / CUSUM_LIMIT, reason=reason)  # type: ignore[arg-type]


def _with(state: DriftState, *, stability_index: float, windows: int) -> DriftState:
    return DriftState(
        state.level,
        state.distance,
        state.threshold,
        state.score,
        stability_index,
        windows,
        state.reason,
        state.budget,
    )
