"""Sums up latencies honestly: percentiles with their number, and an interval that respects correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_RESAMPLES = 1000


def summary(values_ms: Sequence[float]) -> dict[str, Any]:
    """{p50, p90, p95, p99, mean, ci95, min, max, std, n} in ms; p99 is None below 100 values."""
    if not len(values_ms):
        return {"p50": None, "p90": None, "p95": None, "p99": None, "mean": None, "ci95": None, "n": 0}
    values = np.asarray(values_ms, np.float64)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(values, (50, 90, 95, 99)))
    return {
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99 if len(values) >= 100 else None,
        "mean": float(values.mean()),
        "ci95": mean_interval(values_ms),
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else None,
        "n": len(values),
    }


def mean_interval(values: Sequence[float], seed: int = 0) -> list[float] | None:
    """95 % interval [low, high] of the mean by a circular block bootstrap; None below 10 values.

    Successive latencies resemble each other, so that blocks are drawn, not single values: of length
    2 n^(1/3), the rate that is optimal for means (Hall, Horowitz and Jing 1995, Biometrika 82).
    """
    data = np.asarray(values, np.float64)
    n = len(data)
    if n < 10:
        return None
    length = max(1, round(2 * n ** (1 / 3)))
    blocks = -(-n // length)
    # Means of every circular block from cumulative sums: drawing is then one gather.
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([data, data[:length]]))])
    block_means = (sums[length : length + n] - sums[:n]) / length
    drawn = np.random.default_rng(seed).integers(0, n, (_RESAMPLES, blocks))
    low, high = np.percentile(block_means[drawn].mean(axis=1), (2.5, 97.5))
    return [float(low), float(high)]
