"""Collects what one model did in one stretch of time, and joins such stretches into longer ones."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram

MARGIN_BINS = 32
MAX_CLASSES = 20
OTHER = "~"
_STAGE_KEYS = {"pre": "pre", "infer": "inf", "inf": "inf", "post": "post"}
_SUMS = ("n", "err", "timeout", "drop", "fallback")


class WindowBuilder:
    """Counts answers until `take`, which returns the fields of a window record that it knows."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.started = time.monotonic()
        self.inferences = self.errors = self.timeouts = self.fallbacks = 0
        self.latency: dict[str, LatencyHistogram] = {}
        self.confidence = ConfidenceHistogram()
        self.margin = ConfidenceHistogram(MARGIN_BINS)
        self.classes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a count of its own name, such as `cached` or `batches`."""
        self.counts[name] += amount

    def record(self, answer: Mapping[str, Any], queue_ms: float) -> None:
        """Add one answer of the model host, which had waited `queue_ms`."""
        self.inferences += 1
        if answer.get("cached"):
            self.counts["cached"] += 1
        total = 0.0
        stages = answer.get("stages_ms") or {"inf": answer.get("infer_ms", 0.0)}
        for stage, value in stages.items():
            total += float(value)
            self._stage(_STAGE_KEYS.get(stage, stage)).record(float(value))
        self._stage("tot").record(total)
        self._stage("queue").record(queue_ms)
        if answer.get("confidence") is not None:
            self.confidence.record(float(answer["confidence"]))
        if answer.get("margin") is not None:
            self.margin.record(float(answer["margin"]))
        label = answer.get("label")
        if label is None and answer.get("index") is not None:
            label = str(answer["index"])
        if label is not None:
            self.classes[str(label)] += 1

    def record_load(self, load_ms: float) -> None:
        """Add one loading of the model."""
        self._stage("load").record(load_ms)

    def take(self) -> dict[str, Any]:
        """The window's fields by name of `wire.records.Window`; starts the next window."""
        now = time.monotonic()
        fields = {
            "duration_s": now - self.started,
            "inferences": self.inferences,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "fallbacks": self.fallbacks,
            "latency": {stage: histogram.to_dict() for stage, histogram in self.latency.items()},
            "confidence": self.confidence.to_dict() if self.confidence.n else None,
            "margin": self.margin.to_dict() if self.margin.n else None,
            "classes": top_classes(self.classes),
            "counts": dict(self.counts),
        }
        self._reset()
        return fields

    def _stage(self, name: str) -> LatencyHistogram:
        return self.latency.setdefault(name, LatencyHistogram())


def top_classes(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent classes, all others together under `~`."""
    ranked = Counter(counts).most_common()
    kept = {name: count for name, count in ranked[:MAX_CLASSES] if name != OTHER}
    rest = sum(counts.values()) - sum(kept.values())
    return {**kept, OTHER: rest} if rest else kept


def merge_windows(windows: list[dict[str, Any]]) -> dict[str, Any]:
    """One window record for consecutive ones of the same model and release: counts add, histograms merge.

    It keeps the last one's sequence, time and sensors, so that order and freshness stay true.
    """
    merged = dict(windows[-1])
    merged["dur"] = sum(float(window.get("dur", 0.0)) for window in windows)
    for key in _SUMS:
        merged[key] = sum(int(window.get(key, 0)) for window in windows)
    merged["q_max"] = max(int(window.get("q_max", 0)) for window in windows)
    merged["merged"] = sum(int(window.get("merged", 1)) for window in windows)
    merged["lat"] = _merge_latencies([window.get("lat") or {} for window in windows])
    for key in ("conf", "margin"):
        present = [ConfidenceHistogram.from_dict(window[key]) for window in windows if window.get(key)]
        for other in present[1:]:
            present[0].merge(other)
        merged[key] = present[0].to_dict() if present else None
    classes: Counter[str] = Counter()
    for window in windows:
        classes.update(window.get("cls") or {})
    merged["cls"] = top_classes(classes)
    counts: Counter[str] = Counter()
    for window in windows:
        counts.update(window.get("cnt") or {})
    merged["cnt"] = dict(counts)
    return merged


def _merge_latencies(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    stages: dict[str, LatencyHistogram] = {}
    for part in parts:
        for stage, data in part.items():
            if data is None:
                continue
            histogram = LatencyHistogram.from_dict(data)
            if stage in stages:
                stages[stage].merge(histogram)
            else:
                stages[stage] = histogram
    return {stage: histogram.to_dict() for stage, histogram in stages.items()}
