"""What one board reported over the last minutes, in preallocated rings; written on the loop thread, read on any.

Percentiles over a span come from merged histograms and are never averaged. A value that is not there is NaN
with a reason, never zero.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgestudio.monitor.drift import DriftDetector, DriftState
from edgestudio.monitor.merge import Blocks, Total
from edgestudio.monitor.ring import Floats, Ring
from edgestudio.monitor.shift import population_stability
from edgestudio.wire.baseline import Baseline
from edgestudio.wire.histogram import CONFIDENCE_BINS, ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.records import Event, SensorReading, Window

PERCENTILES = (50, 90, 95, 99)
# The stages' names on the wire and here.
STAGES = {"pre": "pre", "inf": "infer", "post": "post", "tot": "total", "queue": "queue"}
# Boards report every second at most; a longer history than two hours comes from `monitor.history`.
SHORTEST_WINDOW_S, MIN_CAPACITY, MAX_CAPACITY = 1.0, 60, 7200
_MARKERS_KEPT = 200
_COUNTS = (
    "inferences",
    "duration_s",
    "throughput_hz",
    "errors",
    "dropped",
    "queue_max",
    "confidence",
    "drift",
)
_PLAIN = ("duration_s", "throughput_hz", "errors", "dropped", "queue_max")
_LINES = tuple((stage, percent) for stage in STAGES.values() for percent in PERCENTILES)
_COLUMN = {name: 1 + index for index, name in enumerate(_COUNTS)}
_FIRST_LINE = 1 + len(_COUNTS)


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor over time: NaN where it gave nothing, and then `reason` says why."""

    values: Floats
    unit: str
    quality: str
    reason: str

    @property
    def latest(self) -> float | None:
        """The newest value, None when the newest reading had none."""
        return float(self.values[-1]) if self.values.size and np.isfinite(self.values[-1]) else None


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at a time (Unix seconds): a deployment, throttling, a rollback."""

    time: float
    name: str
    text: str
    level: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent copy for one frame. All arrays have the length of `time` (Unix seconds, ascending).

    `latency_ms[stage][percentile]` is of each window's own histogram, with the stages `pre, infer, post,
    total, queue` as far as the board reports them; `overall_ms[stage]` has the percentiles of the merged
    histograms of the newest release. `confidence` and `baseline` are 64 counts on [0, 1], None until there
    are any; `shift_psi` is the population stability index between them, `drift` the verdict with its reason.
    `fallback_nodes` are those that run on the processor in place of an accelerator, in the newest window.
    `gap` says why nothing arrives at present, "" while records do. The time is the board's clock.
    """

    time: Floats
    latency_ms: Mapping[str, Mapping[int, Floats]]
    overall_ms: Mapping[str, Mapping[int, float]]
    duration_s: Floats
    throughput_hz: Floats
    errors: Floats
    dropped: Floats
    queue_max: Floats
    mean_confidence: Floats
    drift_distance: Floats
    sensors: Mapping[str, Sensor]
    confidence: Floats | None
    baseline: Floats | None
    shift_psi: float | None
    drift: DriftState
    classes: Mapping[str, int]
    inferences: int
    model: str
    release: int
    version: str
    is_simulated: bool
    markers: tuple[Marker, ...]
    gap: str
    revision: int
    fallback_nodes: int = 0


class BoardSeries:
    """The rings of one board; every method may be called from any thread."""

    def __init__(self, *, history_s: float = 900.0) -> None:
        self._history_s = history_s
        capacity = int(min(max(history_s / SHORTEST_WINDOW_S, MIN_CAPACITY), MAX_CAPACITY))
        self._lock = threading.Lock()
        self._rows = Ring(capacity, _FIRST_LINE + len(_LINES))
        self._sensors: dict[str, tuple[Ring, SensorReading]] = {}
        self._merged = Blocks(capacity)
        self._markers: deque[Marker] = deque(maxlen=_MARKERS_KEPT)
        self._baselines: dict[str, Baseline] = {}
        self._detector = DriftDetector(None)
        self._newest: Window | None = None
        self._recent: deque[tuple[str, int]] = deque(maxlen=4 * capacity)
        self._known: set[tuple[str, int]] = set()
        self._stages: set[str] = set()
        self._gap = "nothing received yet"
        self._revision = 0
        self._cached: tuple[float | None, Snapshot] | None = None

    @property
    def revision(self) -> int:
        """Grows with every record; a panel that has drawn this one need not draw again."""
        return self._revision

    def add_window(self, window: Window) -> bool:
        """Append a window; False for a known one, which is dropped. InputError when its histograms cannot be read.

        A window out of a board's spool, older than the newest, finds its place in the lines.
        """
        latency = {
            STAGES[stage]: LatencyHistogram.from_dict(wire)
            for stage, wire in window.latency.items()
            if stage in STAGES and wire is not None
        }
        confidence = None if window.confidence is None else ConfidenceHistogram.from_dict(window.confidence)
        with self._lock:
            if self._is_known((window.boot, window.seq)):
                return False
            is_newest = self._newest is None or window.time_s >= self._newest.time_s
            if is_newest:
                self._follow(window)
            if self._is_current(window):
                part = Total()
                part.add(latency, confidence, window.classes, window.inferences)
                self._merged.add(window.time_s, part)
                if is_newest and confidence is not None and len(confidence.counts) == CONFIDENCE_BINS:
                    self._detector.update(np.array(confidence.counts, dtype=np.float64))
            self._stages.update(latency)
            self._rows.append(_row(window, latency, confidence, self._detector.state))
            for name, reading in window.sensors.items():
                ring, latest = self._sensors.get(name) or (Ring(self._rows.capacity, 2), reading)
                ring.append(np.array([window.time_s, _number(reading.value)]))
                self._sensors[name] = (ring, reading if is_newest else latest)
            self._changed()
        return True

    def add_event(self, event: Event) -> bool:
        """Mark what happened; False for an event that is known, which is dropped."""
        with self._lock:
            if self._is_known((event.boot, event.seq)):
                return False
            self._markers.append(Marker(event.time_s, event.name, event.text, event.level))
            self._changed()
        return True

    def mark_gap(self, reason: str) -> None:
        """Break every line here because of `reason`, such as a lost connection; the next window ends the gap."""
        with self._lock:
            if self._newest is not None and not self._gap:
                row = np.full(self._rows.columns, np.nan)
                row[0] = self._newest.time_s + max(self._newest.duration_s, 1e-3)
                self._rows.append(row)
            self._gap = reason
            self._changed()

    def set_baseline(self, model: str, baseline: Mapping[str, object] | Baseline) -> None:
        """What the confidence of `model` is measured against: a `baseline.json` or a bare histogram.

        Judging starts anew. Raises InputError for what is neither.
        """
        if not isinstance(baseline, Baseline):
            document = baseline if "confidence" in baseline else {"confidence": baseline}
            baseline = Baseline.from_dict(document)
        with self._lock:
            self._baselines[model] = baseline
            if self._newest is not None and self._newest.model == model:
                self._detector = DriftDetector(baseline)
            self._changed()

    def snapshot(self, span_s: float | None = None) -> Snapshot:
        """Everything that a dashboard draws of the last `span_s` (None: the whole history), copied under the lock.

        The same object comes back until something new has arrived.
        """
        with self._lock:
            if self._cached is None or self._cached[0] != span_s:
                self._cached = (span_s, self._snapshot(self._history_s if span_s is None else span_s))
            return self._cached[1]

    def _snapshot(self, span_s: float) -> Snapshot:
        newest = self._newest
        since = newest.time_s - span_s if newest else 0.0
        rows = self._rows.since(since)
        total = self._merged.since(since)
        confidence = total.confidence
        baseline = self._baselines.get(newest.model) if newest else None
        home = None if baseline is None else _as_histogram(baseline.counts)
        lines = {line: rows[:, _FIRST_LINE + index] for index, line in enumerate(_LINES)}
        return Snapshot(
            time=rows[:, 0],
            latency_ms={
                stage: {percent: lines[stage, percent] for percent in PERCENTILES}
                for stage in STAGES.values()
                if stage in self._stages
            },
            overall_ms=_overall(total),
            sensors={
                name: _sensor(ring, latest, rows[:, 0]) for name, (ring, latest) in self._sensors.items()
            },
            confidence=None if confidence is None else np.array(confidence.counts, dtype=np.float64),
            baseline=None if baseline is None else baseline.counts.copy(),
            shift_psi=population_stability(confidence, home) if confidence and home else None,
            drift=self._detector.state,
            classes=dict(total.classes),
            inferences=total.inferences,
            model=newest.model if newest else "",
            release=newest.release if newest else 0,
            version=newest.version if newest else "",
            is_simulated=newest.simulated if newest else False,
            markers=tuple(marker for marker in self._markers if marker.time >= since),
            gap=self._gap,
            revision=self._revision,
            fallback_nodes=int(newest.counts.get("cpu_fallback_nodes", 0)) if newest else 0,
            mean_confidence=rows[:, _COLUMN["confidence"]],
            drift_distance=rows[:, _COLUMN["drift"]],
            **{
                name: rows[:, _COLUMN[name]]
                for name in ("duration_s", "throughput_hz", "errors", "dropped", "queue_max")
            },
        )

    def _follow(self, window: Window) -> None:
        """Make `window` the newest; what was collected of another release does not count for this one."""
        if not self._is_current(window):
            self._merged.clear()
            self._detector = DriftDetector(self._baselines.get(window.model))
        self._newest, self._gap = window, ""

    def _is_current(self, window: Window) -> bool:
        newest = self._newest
        return newest is not None and (newest.model, newest.release) == (window.model, window.release)

    def _is_known(self, key: tuple[str, int]) -> bool:
        if key in self._known:
            return True
        if len(self._recent) == self._recent.maxlen:
            self._known.discard(self._recent[0])
        self._recent.append(key)
        self._known.add(key)
        return False

    def _changed(self) -> None:
        self._revision += 1
        self._cached = None


def _row(
    window: Window,
    latency: Mapping[str, LatencyHistogram],
    confidence: ConfidenceHistogram | None,
    drift: DriftState,
) -> Floats:
    rate = window.inferences / window.duration_s if window.duration_s > 0 else np.nan
    mean = _number(confidence.mean() if confidence else None)
    row = [window.time_s, window.inferences, window.duration_s, rate, window.errors + window.timeouts]
    row += [window.dropped, window.queue_max, mean, _number(drift.distance)]
    row += [_number(latency[stage].percentile(p)) if stage in latency else np.nan for stage, p in _LINES]
    return np.array(row, dtype=np.float64)


def _overall(total: Total) -> dict[str, dict[int, float]]:
    return {
        stage: {percent: _number(histogram.percentile(percent)) for percent in PERCENTILES}
        for stage, histogram in total.latency.items()
    }


def _as_histogram(counts: Floats) -> ConfidenceHistogram:
    histogram = ConfidenceHistogram(len(counts))
    histogram.counts = [int(count) for count in counts]
    return histogram


def _sensor(ring: Ring, latest: SensorReading, time: Floats) -> Sensor:
    """The sensor's values on the time axis of the windows: NaN where a window brought none."""
    rows = ring.since(float(time[0]) if time.size else 0.0)
    values = np.full(len(time), np.nan)
    if len(rows):
        place = np.clip(np.searchsorted(rows[:, 0], time), 0, len(rows) - 1)
        there = rows[place, 0] == time
        values[there] = rows[place[there], 1]
    reason = "" if latest.value is not None else latest.reason or latest.quality.replace("_", " ")
    return Sensor(values, latest.unit, latest.quality, reason)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
