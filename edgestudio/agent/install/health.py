"""The gate that knows models: golden answers before a switch, live behaviour after it, each with its own limit."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgestudio.wire.golden import Golden
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.release import HealthLimits

Array = np.ndarray[Any, Any]

STREAK = 3
"""A limit that can be missed by chance must be missed this many checks in a row."""
MIN_SAMPLES = 20
MIN_CONFIDENCES = 50
MAX_NOT_FINITE = 3
CONSTANT_AFTER = 8
WARM_RUNS = 20


def golden_failure(golden: Golden, answers: list[Mapping[str, Array]], limits: HealthLimits) -> str:
    """Why `answers` (one per golden sample) are not the expected ones; "" when they are."""
    worst = 0.0
    for number, ((_, expected), got) in enumerate(zip(golden, answers, strict=True)):
        for name, want in expected.items():
            have = got.get(name)
            if have is None:
                return f"golden input {number}: the model has no output {name!r}"
            if have.shape != want.shape:
                return f"golden input {number}: output {name!r} has shape {have.shape}, not {want.shape}"
            if _is_numbering(want):
                same = float(np.mean(want == have)) if want.size else 1.0
                if same < limits.golden_label_agreement:
                    return (
                        f"golden input {number}: {same:.0%} of the numbers in {name!r} are as expected, "
                        f"the limit is {limits.golden_label_agreement:.0%}"
                    )
                continue
            worst = max(worst, relative_difference(want, have))
    if math.isnan(worst) or math.isinf(worst):
        return "a golden input is answered with NaN or infinity"
    if worst > limits.golden_max_abs:
        return (
            f"golden outputs differ by {worst:.3g} of their range, the limit is {limits.golden_max_abs:.3g}"
        )
    agreement = label_agreement(golden, answers)
    if agreement is not None and agreement < limits.golden_label_agreement:
        return (
            f"only {agreement:.0%} of the golden inputs keep their label, "
            f"the limit is {limits.golden_label_agreement:.0%}"
        )
    return ""


def _is_numbering(values: Array) -> bool:
    """Whether they number classes or places, so that only equal ones are near each other."""
    return values.dtype.kind == "b" or (values.dtype.kind in "iu" and values.dtype.itemsize >= 4)


def relative_difference(want: Array, have: Array) -> float:
    """Largest difference as a share of the expected range; infinite when one side alone is not finite."""
    if not want.size:
        return 0.0
    left, right = want.astype(np.float64), have.astype(np.float64)
    finite = np.isfinite(left)
    if not np.array_equal(finite, np.isfinite(right)):
        return math.inf
    if not finite.any():
        return 0.0
    left, right = left[finite], right[finite]
    span = float(left.max() - left.min()) or float(np.abs(left).max()) or 1.0
    return float(np.abs(left - right).max()) / span


def label_agreement(golden: Golden, answers: list[Mapping[str, Array]]) -> float | None:
    """Share of samples with the expected largest score; None when the first output is no row of scores."""
    name = next(iter(golden.outputs), None)
    if name is None:
        return None
    wanted = golden.outputs[name]
    row = wanted[0]
    if row.ndim not in (1, 2) or row.shape[-1] < 2 or (row.ndim == 2 and row.shape[0] != 1):
        return None
    same = [
        int(np.argmax(want)) == int(np.argmax(got[name])) for want, got in zip(wanted, answers, strict=True)
    ]
    return sum(same) / len(same)


def is_constant(golden: Golden) -> bool:
    """Whether even the expected answers are all the same, so that a constant model is no fault."""
    return all((array == array[:1]).all() for array in golden.outputs.values())


@dataclass
class Streak:
    """Counts how often in a row a check failed; one good check forgives the past."""

    limit: int = STREAK
    count: int = 0

    def note(self, *, is_bad: bool) -> bool:
        """Add one check; True when it is one too many."""
        self.count = self.count + 1 if is_bad else 0
        return self.count >= self.limit


@dataclass
class HealthGate:
    """Judges a serving candidate. `observe` every answer, `check` every second: "" , or why it must go."""

    limits: HealthLimits
    baseline: ConfidenceHistogram | None = None
    may_be_constant: bool = False
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    confidence: ConfidenceHistogram = field(default_factory=ConfidenceHistogram)
    inferences: int = 0
    errors: int = 0
    not_finite: int = 0
    _marks: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=64))
    _slow: Streak = field(default_factory=Streak)
    _large: Streak = field(default_factory=Streak)
    _hot: Streak = field(default_factory=Streak)

    def observe(self, answer: Mapping[str, Any], *, sample: int | None = None) -> None:
        """Add one answer of the model host; `sample` tells inputs apart."""
        self.inferences += 1
        stages = answer.get("stages_ms") or {}
        total = sum(float(value) for value in stages.values()) or float(answer.get("infer_ms", 0.0))
        self.latency.record(total)
        confidence = answer.get("confidence")
        if confidence is not None:
            self.confidence.record(float(confidence))
        if not answer.get("finite", True):
            self.not_finite += 1
        if sample is not None and "mark" in answer:
            self._marks.append((sample, int(answer["mark"])))

    def observe_error(self) -> None:
        """Add one request that the model did not answer."""
        self.errors += 1

    def check(self, *, rss_bytes: float | None, temperature_c: float | None) -> str:
        """Why the candidate must go, "" while it may stay."""
        return self._wrong_answers() or self._too_slow() or self._too_much(rss_bytes, temperature_c)

    def is_enough(self, elapsed_s: float) -> bool:
        """Whether it has been watched long enough, over enough inferences."""
        return elapsed_s >= self.limits.trial_s and self.inferences >= self.limits.trial_inferences

    def _wrong_answers(self) -> str:
        if self.not_finite >= MAX_NOT_FINITE:
            return f"{self.not_finite} answers were NaN or infinity"
        asked = self.inferences + self.errors
        if self.limits.error_rate is not None and asked >= MIN_SAMPLES:
            rate = self.errors / asked
            if rate > self.limits.error_rate:
                return f"{rate:.0%} of the requests failed, the limit is {self.limits.error_rate:.0%}"
        samples = {sample for sample, _ in self._marks}
        if (
            not self.may_be_constant
            and len(samples) >= CONSTANT_AFTER
            and len({m for _, m in self._marks}) == 1
        ):
            return f"it gives the same answer to {len(samples)} different inputs"
        distance = self._distance()
        limit = self.limits.confidence_distance
        if distance is not None and limit is not None and distance > limit:
            return f"its confidences are {distance:.2f} away from the baseline, the limit is {limit:.2f}"
        return ""

    def _distance(self) -> float | None:
        if self.baseline is None or self.confidence.n < MIN_CONFIDENCES:
            return None
        if len(self.baseline.counts) != len(self.confidence.counts):
            return None
        return self.confidence.distance(self.baseline)

    def _too_slow(self) -> str:
        limit = self.limits.latency_p95_ms
        if limit is None or self.latency.n < MIN_SAMPLES:
            return ""
        p95 = self.latency.percentile(95) or 0.0
        if self._slow.note(is_bad=p95 > limit):
            return f"its p95 latency is {p95:.1f} ms, the limit is {limit:.1f} ms"
        return ""

    def _too_much(self, rss_bytes: float | None, temperature_c: float | None) -> str:
        memory, heat = self.limits.memory_bytes, self.limits.temperature_c
        is_large = memory is not None and rss_bytes is not None and rss_bytes > memory
        if self._large.note(is_bad=is_large):
            return f"it uses {(rss_bytes or 0) / 2**20:.0f} MiB, the limit is {(memory or 0) / 2**20:.0f} MiB"
        is_hot = heat is not None and temperature_c is not None and temperature_c > heat
        if self._hot.note(is_bad=is_hot):
            return f"the board is at {temperature_c:.0f} °C, the limit is {heat:.0f} °C"
        return ""


def over_budget(latencies_ms: list[float], limits: HealthLimits) -> str:
    """Why the warm runs of a dry run are too slow; "" when they are not. One slow run is forgiven."""
    if limits.latency_p95_ms is None or not latencies_ms:
        return ""
    p95 = LatencyHistogram.of(sorted(latencies_ms)[:-1] or latencies_ms).percentile(95) or 0.0
    if p95 > limits.latency_p95_ms:
        return f"its p95 latency in the dry run is {p95:.1f} ms, the limit is {limits.latency_p95_ms:.1f} ms"
    return ""
