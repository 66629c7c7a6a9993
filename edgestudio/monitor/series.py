"""What one board reported over the last minutes, in rings; written on the loop thread, read on any."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgestudio.monitor.shift import population_stability
from edgestudio.wire.errors import InputError
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.records import Event, SensorReading, Window

Floats = npt.NDArray[np.float64]
PERCENTILES = (50, 90, 99)
# The stages' names on the wire and here.
STAGES = {"pre": "pre", "inf": "infer", "post": "post", "tot": "total", "queue": "queue"}
_MARKERS_KEPT = 200


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
    are any; `shift_psi` is the population stability index between them. The time is the board's clock.
    """

    time: Floats
    latency_ms: Mapping[str, Mapping[int, Floats]]
    overall_ms: Mapping[str, Mapping[int, float]]
    throughput_hz: Floats
    errors: Floats
    sensors: Mapping[str, Sensor]
    confidence: Floats | None
    baseline: Floats | None
    shift_psi: float | None
    classes: Mapping[str, int]
    inferences: int
    model: str
    release: int
    version: str
    is_simulated: bool
    markers: tuple[Marker, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class _Entry:
    window: Window
    latency: Mapping[str, LatencyHistogram]
    confidence: ConfidenceHistogram | None


class BoardSeries:
    """The rings of one board."""

    def __init__(self, *, history_s: float = 900.0) -> None:
        self._history_s = history_s
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque()
        self._markers: deque[Marker] = deque(maxlen=_MARKERS_KEPT)
        self._baselines: dict[str, ConfidenceHistogram] = {}
        self._revision = 0

    @property
    def revision(self) -> int:
        """Grows with every record; a panel that has drawn this one need not draw again."""
        return self._revision

    def add_window(self, window: Window) -> None:
        """Append a window; raises InputError when its histograms cannot be read. An old one is dropped."""
        latency = {
            STAGES[stage]: LatencyHistogram.from_dict(wire)
            for stage, wire in window.latency.items()
            if stage in STAGES and wire is not None
        }
        confidence = None if window.confidence is None else ConfidenceHistogram.from_dict(window.confidence)
        with self._lock:
            newest = self._entries[-1].window if self._entries else None
            if newest and newest.boot == window.boot and window.seq <= newest.seq:
                return
            self._entries.append(_Entry(window, latency, confidence))
            while self._entries[0].window.time_s < window.time_s - self._history_s:
                self._entries.popleft()
            self._revision += 1

    def add_event(self, event: Event) -> None:
        """Mark what happened."""
        with self._lock:
            self._markers.append(Marker(event.time_s, event.name, event.text, event.level))
            self._revision += 1

    def set_baseline(self, model: str, baseline: Mapping[str, object]) -> None:
        """What the confidence of `model` is measured against; raises InputError for no histogram."""
        histogram = ConfidenceHistogram.from_dict(baseline)
        with self._lock:
            self._baselines[model] = histogram
            self._revision += 1

    def snapshot(self) -> Snapshot:
        """Everything that a dashboard draws, copied under the lock."""
        with self._lock:
            entries, markers, revision = tuple(self._entries), tuple(self._markers), self._revision
            baselines = dict(self._baselines)
        newest = entries[-1].window if entries else None
        model = newest.model if newest else ""
        current = [
            entry for entry in entries
            if newest and entry.window.model == model and entry.window.release == newest.release
        ]  # fmt: skip
        confidence = _merged_confidence(current)
        baseline = baselines.get(model)
        shift = population_stability(confidence, baseline) if confidence and baseline else None
        return Snapshot(
            time=np.array([entry.window.time_s for entry in entries], dtype=np.float64),
            latency_ms=_latency_lines(entries),
            overall_ms=_overall(current),
            throughput_hz=np.array([_rate(entry.window) for entry in entries], dtype=np.float64),
            errors=np.array([entry.window.errors for entry in entries], dtype=np.float64),
            sensors=_sensors([entry.window for entry in entries]),
            confidence=None if confidence is None else np.array(confidence.counts, dtype=np.float64),
            baseline=None if baseline is None else np.array(baseline.counts, dtype=np.float64),
            shift_psi=shift,
            classes=_classes(current),
            inferences=sum(entry.window.inferences for entry in current),
            model=model,
            release=newest.release if newest else 0,
            version=newest.version if newest else "",
            is_simulated=any(entry.window.simulated for entry in entries),
            markers=markers,
            revision=revision,
        )


def _rate(window: Window) -> float:
    return window.inferences / window.duration_s if window.duration_s > 0 else float("nan")


def _latency_lines(entries: Iterable[_Entry]) -> dict[str, dict[int, Floats]]:
    held = list(entries)
    stages = [stage for stage in STAGES.values() if any(stage in entry.latency for entry in held)]
    return {
        stage: {
            percent: np.array([_percentile(entry.latency.get(stage), percent) for entry in held])
            for percent in PERCENTILES
        }
        for stage in stages
    }


def _percentile(histogram: LatencyHistogram | None, percent: int) -> float:
    value = None if histogram is None else histogram.percentile(percent)
    return float("nan") if value is None else value


def _overall(entries: Iterable[_Entry]) -> dict[str, dict[int, float]]:
    merged: dict[str, LatencyHistogram] = {}
    for entry in entries:
        for stage, histogram in entry.latency.items():
            merged.setdefault(stage, LatencyHistogram()).merge(histogram)
    return {
        stage: {percent: _percentile(histogram, percent) for percent in PERCENTILES}
        for stage, histogram in merged.items()
    }


def _merged_confidence(entries: Iterable[_Entry]) -> ConfidenceHistogram | None:
    merged: ConfidenceHistogram | None = None
    for entry in entries:
        if entry.confidence is None:
            continue
        merged = merged or ConfidenceHistogram(len(entry.confidence.counts))
        try:
            merged.merge(entry.confidence)
        except InputError:  # another number of bins: the board's software changed; begin anew
            merged = ConfidenceHistogram(len(entry.confidence.counts))
            merged.merge(entry.confidence)
    return merged


def _classes(entries: Iterable[_Entry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        for name, count in entry.window.classes.items():
            counts[name] = counts.get(name, 0) + int(count)
    return counts


def _sensors(windows: list[Window]) -> dict[str, Sensor]:
    found: dict[str, Sensor] = {}
    for name in sorted({name for window in windows for name in window.sensors}):
        readings = [window.sensors.get(name) for window in windows]
        latest = next(reading for reading in reversed(readings) if reading is not None)
        values = np.array([_value(reading) for reading in readings], dtype=np.float64)
        found[name] = Sensor(values, latest.unit, latest.quality, latest.reason)
    return found


def _value(reading: SensorReading | None) -> float:
    return float("nan") if reading is None or reading.value is None else reading.value
