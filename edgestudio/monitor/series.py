"""What one board reported over the last minutes, in rings; written on the loop thread, read on any."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram

Floats = npt.NDArray[np.float64]
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Reading:
    """One sensor over time: NaN where it gave none, and then `reason` says why."""

    values: Floats
    unit: str
    quality: str
    reason: str


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at a time: a deployment, throttling, a rollback."""

    time: float
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent copy for one frame. All arrays have the length of `time` (Unix seconds, ascending).

    `latency_ms[stage][percentile]` is of each window's own histogram, with the stages `pre, infer, post,
    total, queue` as far as the board reports them; `overall_ms[stage]` has the percentiles of the merged
    histograms. `confidence` and `baseline` are 64 counts on [0, 1], None until there are any.
    """

    time: Floats
    latency_ms: Mapping[str, Mapping[int, Floats]]
    overall_ms: Mapping[str, Mapping[int, float]]
    throughput_hz: Floats
    errors: Floats
    sensors: Mapping[str, Reading]
    confidence: Floats | None
    baseline: Floats | None
    classes: Mapping[str, int]
    drift_psi: float | None
    inferences: int
    model: str
    release: int
    is_simulated: bool
    markers: tuple[Marker, ...]
    revision: int


@dataclass(slots=True)
class _Window:
    time: float
    record: Mapping[str, Any]
    latency: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    confidence: ConfidenceHistogram | None = None


class BoardSeries:
    """The rings of one board."""

    def __init__(self, *, history_s: float = 900.0) -> None:
        self._history_s = history_s
        self._lock = threading.Lock()
        self._windows: deque[_Window] = deque()
        self._markers: deque[Marker] = deque(maxlen=200)
        self._baseline: ConfidenceHistogram | None = None
        self._revision = 0

    @property
    def revision(self) -> int:
        """Grows with every record; a panel that has drawn this one need not draw again."""
        return self._revision

    def snapshot(self) -> Snapshot:
        """Everything that a dashboard draws, copied under the lock."""
        raise NotImplementedError
