"""Mergeable histograms of confidence and latency, small enough for every telemetry window.

Latencies use OpenTelemetry's base-2 exponential histogram: at scale 4 a bucket is 2**(1/16) wide, so
that a percentile is off by at most 2.2 %, whatever the range. Confidences live in [0, 1], where equal
bins are exact to their width. Both merge by adding counts, so that windows can be joined at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgestudio.wire.errors import InputError

CONFIDENCE_BINS = 64
LATENCY_SCALE = 4
MAX_BUCKETS = 2048
_MAX_COUNT = 2**53
_SMALLEST_MS, _LARGEST_MS = 1e-6, 1e9


class ConfidenceHistogram:
    """Counts in equal bins over [0, 1]; what lies outside or is not a number is counted as `invalid`."""

    __slots__ = ("counts", "invalid")

    def __init__(self, bins: int = CONFIDENCE_BINS) -> None:
        if not 1 <= bins <= MAX_BUCKETS:
            raise InputError(f"a confidence histogram has 1 to {MAX_BUCKETS} bins, not {bins}")
        self.counts = [0] * bins
        self.invalid = 0

    @classmethod
    def of(cls, values: Iterable[float], bins: int = CONFIDENCE_BINS) -> ConfidenceHistogram:
        """The histogram of `values`."""
        histogram = cls(bins)
        for value in values:
            histogram.record(value)
        return histogram

    @property
    def n(self) -> int:
        """How many valid values were recorded."""
        return sum(self.counts)

    def record(self, value: float) -> None:
        """Count one confidence; rounding noise of 1e-6 around [0, 1] is accepted."""
        if not -1e-6 <= value <= 1.000001:  # also false for NaN
            self.invalid += 1
            return
        bins = len(self.counts)
        self.counts[min(max(int(value * bins), 0), bins - 1)] += 1

    def merge(self, other: ConfidenceHistogram) -> None:
        """Add the counts of `other`; InputError when its bins differ."""
        if len(other.counts) != len(self.counts):
            raise InputError(
                f"histograms of {len(self.counts)} and {len(other.counts)} bins cannot be merged"
            )
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.invalid += other.invalid

    def mean(self) -> float | None:
        """Mean confidence, exact to half a bin; None when nothing was recorded."""
        total = self.n
        if total == 0:
            return None
        bins = len(self.counts)
        return sum(count * (index + 0.5) for index, count in enumerate(self.counts)) / (total * bins)

    def fractions(self) -> list[float]:
        """Share of each bin; all zero when nothing was recorded."""
        total = self.n
        return [count / total if total else 0.0 for count in self.counts]

    def distance(self, other: ConfidenceHistogram) -> float | None:
        """Wasserstein-1 distance in confidence units (0 to 1); None when either side is empty."""
        if len(other.counts) != len(self.counts):
            raise InputError(
                f"histograms of {len(self.counts)} and {len(other.counts)} bins cannot be compared"
            )
        if not self.n or not other.n:
            return None
        cumulated = total = 0.0
        for mine, theirs in zip(self.fractions(), other.fractions(), strict=True):
            cumulated += mine - theirs
            total += abs(cumulated)
        return total / len(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: `b` bins, `c` counts, `x` invalid values where there were any."""
        data: dict[str, Any] = {"b": len(self.counts), "c": list(self.counts)}
        if self.invalid:
            data["x"] = self.invalid
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConfidenceHistogram:
        """Read `to_dict`'s form from an untrusted sender; InputError names what does not hold."""
        counts = _counts(data.get("c"))
        if not counts or data.get("b") != len(counts):
            raise InputError("a confidence histogram must have as many counts as bins")
        histogram = cls(len(counts))
        histogram.counts = counts
        histogram.invalid = _count(data.get("x", 0))
        return histogram


class LatencyHistogram:
    """Base-2 exponential histogram of milliseconds; bucket i holds base**i < value <= base**(i + 1)."""

    __slots__ = ("_buckets", "max_ms", "min_ms", "n", "scale", "sum_ms")

    def __init__(self, scale: int = LATENCY_SCALE) -> None:
        if not 0 <= scale <= 8:
            raise InputError(f"the scale of a latency histogram is 0 to 8, not {scale}")
        self.scale = scale
        self._buckets: dict[int, int] = {}
        self.n = 0
        self.sum_ms = 0.0
        self.min_ms: float | None = None
        self.max_ms: float | None = None

    @classmethod
    def of(cls, values_ms: Iterable[float], scale: int = LATENCY_SCALE) -> LatencyHistogram:
        """The histogram of `values_ms`."""
        histogram = cls(scale)
        for value in values_ms:
            histogram.record(value)
        return histogram

    def record(self, latency_ms: float) -> None:
        """Count one latency; clamped to 1 ns .. 11 days; NaN is a caller's bug and raises InputError."""
        if math.isnan(latency_ms):
            raise InputError("a latency cannot be 'not a number'")
        value = min(max(float(latency_ms), _SMALLEST_MS), _LARGEST_MS)
        index = math.ceil(math.log2(value) * (1 << self.scale)) - 1
        self._buckets[index] = self._buckets.get(index, 0) + 1
        self.n += 1
        self.sum_ms += value
        self.min_ms = value if self.min_ms is None else min(self.min_ms, value)
        self.max_ms = value if self.max_ms is None else max(self.max_ms, value)

    def merge(self, other: LatencyHistogram) -> None:
        """Add `other`; of two scales the coarser one is kept, which loses nothing but resolution."""
        scale = min(self.scale, other.scale)
        buckets = _rescaled(self._buckets, self.scale - scale)
        for index, count in _rescaled(other._buckets, other.scale - scale).items():
            buckets[index] = buckets.get(index, 0) + count
        self._buckets, self.scale = buckets, scale
        self.n += other.n
        self.sum_ms += other.sum_ms
        self.min_ms = _extreme(min, self.min_ms, other.min_ms)
        self.max_ms = _extreme(max, self.max_ms, other.max_ms)

    def mean_ms(self) -> float | None:
        """Exact mean; None when nothing was recorded."""
        return self.sum_ms / self.n if self.n else None

    def percentile(self, percent: float) -> float | None:
        """The value (ms) at `percent` in 0..100, within half a bucket's width; None when empty."""
        if not 0 <= percent <= 100:
            raise InputError(f"a percentile is between 0 and 100, not {percent}")
        if not self.n or self.min_ms is None or self.max_ms is None:
            return None
        rank = max(1, math.ceil(percent / 100 * self.n))
        if rank == 1:
            return self.min_ms
        if rank == self.n:
            return self.max_ms
        seen = 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= rank:
                middle: float = 2.0 ** (
                    (index + 0.5) / (1 << self.scale)
                )  # geometric: equal relative error both ways
                return min(max(middle, self.min_ms), self.max_ms)
        return self.max_ms

    def buckets(self) -> list[tuple[float, float, int]]:
        """(lower, upper, count) of every filled bucket in ms, ascending: what a chart draws."""
        width = 1 << self.scale
        return [
            (2.0 ** (index / width), 2.0 ** ((index + 1) / width), count)
            for index, count in sorted(self._buckets.items())
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: `s` scale, `o` index of the first bucket, `c` counts, `min`, `max`, `sum` in ms."""
        if not self._buckets:
            return {"s": self.scale, "o": 0, "c": [], "min": None, "max": None, "sum": 0.0}
        first, last = min(self._buckets), max(self._buckets)
        counts = [self._buckets.get(index, 0) for index in range(first, last + 1)]
        return {
            "s": self.scale, "o": first, "c": counts,
            "min": self.min_ms, "max": self.max_ms, "sum": self.sum_ms,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatencyHistogram:
        """Read `to_dict`'s form from an untrusted sender; InputError names what does not hold."""
        scale, offset, counts = _whole(data.get("s")), _whole(data.get("o")), _counts(data.get("c"))
        if abs(offset) > 2**20:
            raise InputError("a latency histogram's offset is out of range")
        histogram = cls(scale)
        histogram._buckets = {offset + index: count for index, count in enumerate(counts) if count}
        histogram.n = sum(counts)
        if histogram.n:
            histogram.min_ms, histogram.max_ms = _finite(data.get("min")), _finite(data.get("max"))
            histogram.sum_ms = _finite(data.get("sum"))
            if histogram.min_ms > histogram.max_ms:
                raise InputError("a latency histogram's minimum is above its maximum")
        return histogram


def _rescaled(buckets: dict[int, int], by: int) -> dict[int, int]:
    coarser: dict[int, int] = {}
    for index, count in buckets.items():
        coarser[index >> by] = coarser.get(index >> by, 0) + count
    return coarser


def _extreme(choose: Callable[[list[float]], float], a: float | None, b: float | None) -> float | None:
    known = [value for value in (a, b) if value is not None]
    return choose(known) if known else None


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError("a histogram's scale, offset and counts must be whole numbers")
    return value


def _count(value: Any) -> int:
    count = _whole(value)
    if not 0 <= count < _MAX_COUNT:
        raise InputError("a histogram's counts must be zero or more")
    return count


def _counts(values: Any) -> list[int]:
    if not isinstance(values, list) or len(values) > MAX_BUCKETS:
        raise InputError(f"a histogram's counts must be a list of at most {MAX_BUCKETS} numbers")
    return [_count(value) for value in values]


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise InputError("a histogram's minimum, maximum and sum must be finite and not negative")
    return float(value)
