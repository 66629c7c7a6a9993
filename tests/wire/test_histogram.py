"""Histograms merge without loss and stay within their stated error."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestudio.wire.errors import InputError
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram

latencies = st.lists(st.floats(min_value=1e-5, max_value=1e7), min_size=1, max_size=60)


@pytest.mark.parametrize("percent", [1, 50, 90, 95, 99])
def test_percentile_is_within_the_stated_error(percent: float) -> None:
    values = np.random.default_rng(3).lognormal(1.0, 1.2, 20_000)
    estimate = LatencyHistogram.of(values).percentile(percent)
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert estimate == pytest.approx(exact, rel=0.0225)


@given(latencies, latencies)
def test_merging_equals_recording_everything(left: list[float], right: list[float]) -> None:
    merged = LatencyHistogram.of(left)
    merged.merge(LatencyHistogram.of(right))
    whole = LatencyHistogram.of(left + right)
    ours, theirs = merged.to_dict(), whole.to_dict()
    assert ours.pop("sum") == pytest.approx(theirs.pop("sum"))
    assert ours == theirs


@given(latencies)
def test_latency_survives_json(values: list[float]) -> None:
    histogram = LatencyHistogram.of(values)
    again = LatencyHistogram.from_dict(json.loads(json.dumps(histogram.to_dict())))
    assert again.to_dict() == histogram.to_dict()
    assert again.n == len(values)
    assert again.percentile(50) == histogram.percentile(50)


def test_merging_scales_keeps_the_coarser() -> None:
    fine, coarse = LatencyHistogram.of([1.5, 3.0, 700.0], 4), LatencyHistogram.of([2.0, 5.0], 2)
    fine.merge(coarse)
    assert fine.scale == 2
    assert fine.n == 5
    assert fine.to_dict()["c"] == LatencyHistogram.of([1.5, 3.0, 700.0, 2.0, 5.0], 2).to_dict()["c"]


def test_empty_histograms_say_nothing() -> None:
    assert LatencyHistogram().percentile(50) is None
    assert LatencyHistogram().mean_ms() is None
    assert ConfidenceHistogram().mean() is None
    assert LatencyHistogram.from_dict(LatencyHistogram().to_dict()).n == 0


def test_latency_of_nan_is_refused_and_extremes_are_clamped() -> None:
    histogram = LatencyHistogram.of([0.0, math.inf])
    assert histogram.n == 2
    assert histogram.percentile(100) == 1e9
    with pytest.raises(InputError):
        histogram.record(math.nan)


def test_confidence_bins_and_invalid_values() -> None:
    histogram = ConfidenceHistogram.of([0.0, 0.5, 1.0, 1.0000005, math.nan, 1.5, -0.2])
    assert histogram.n == 4
    assert histogram.invalid == 3
    assert histogram.counts[0] == 1
    assert histogram.counts[32] == 1
    assert histogram.counts[63] == 2
    assert ConfidenceHistogram.from_dict(histogram.to_dict()).to_dict() == histogram.to_dict()


def test_distance_is_the_shift() -> None:
    low, high = ConfidenceHistogram.of([0.25] * 10), ConfidenceHistogram.of([0.75] * 10)
    assert low.distance(high) == pytest.approx(0.5)
    assert low.distance(low) == 0
    assert low.distance(ConfidenceHistogram()) is None


def test_merging_different_bins_is_refused() -> None:
    with pytest.raises(InputError):
        ConfidenceHistogram(64).merge(ConfidenceHistogram(32))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"s": 4, "o": 0, "c": [-1], "min": 1, "max": 1, "sum": 1},
        {"s": 4, "o": 0, "c": [1], "min": 2.0, "max": 1.0, "sum": 1},
        {"s": 4, "o": 0, "c": [1], "min": math.nan, "max": 1.0, "sum": 1},
        {"s": 40, "o": 0, "c": [1], "min": 1, "max": 1, "sum": 1},
        {"s": 4, "o": 10**9, "c": [1], "min": 1, "max": 1, "sum": 1},
        {"s": 4, "o": 0, "c": [0] * 5000, "min": 1, "max": 1, "sum": 1},
        {"s": True, "o": 0, "c": [1], "min": 1, "max": 1, "sum": 1},
    ],
)
def test_nonsense_from_the_network_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InputError):
        LatencyHistogram.from_dict(data)


@pytest.mark.parametrize(
    "data", [{}, {"b": 2, "c": [1]}, {"b": 1, "c": [1.5]}, {"b": 1, "c": [2**60]}, {"b": 0, "c": []}]
)
def test_nonsense_confidence_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ConfidenceHistogram.from_dict(data)
