"""Drift: false alarms and detection on fixed seeds, also on streams whose frames are alike."""

from __future__ import annotations

import numpy as np
import pytest

from edgestudio.monitor.drift import DriftDetector, population_stability
from edgestudio.wire.baseline import BINS, Baseline, baseline_of, histogram, wasserstein
from edgestudio.wire.errors import InputError


def _stream(rng: np.random.Generator, n: int, a: float, b: float, correlation: float) -> np.ndarray:
    """Beta(a, b) confidences whose neighbours are alike: an AR(1) Gaussian copula through sampled quantiles."""
    noise = rng.normal(size=n)
    latent = np.empty(n)
    latent[0] = noise[0]
    for index in range(1, n):
        latent[index] = correlation * latent[index - 1] + np.sqrt(1 - correlation**2) * noise[index]
    ranks = np.searchsorted(np.sort(rng.normal(size=20_000)), latent) / 20_001
    return np.quantile(rng.beta(a, b, size=20_000), np.clip(ranks, 0, 1))


def test_wasserstein_is_the_distance_moved() -> None:
    left, right = np.zeros(BINS), np.zeros(BINS)
    left[0], right[-1] = 10, 3
    assert wasserstein(left, right) == pytest.approx(63 / 64)
    assert wasserstein(left, left) == 0
    assert np.isnan(wasserstein(left, np.zeros(BINS)))
    assert population_stability(left, left) == 0
    assert population_stability(left, right) > 0.25


@pytest.mark.parametrize("correlation", [0.0, 0.95])
def test_false_alarms_are_rare_and_a_shift_is_found(correlation: float) -> None:
    rng = np.random.default_rng(7)
    baseline = baseline_of(_stream(rng, 30_000, 8, 2, correlation))
    assert len(baseline.held_out) >= 29
    detector = DriftDetector(baseline)
    alarms = sum(
        detector.update(histogram(_stream(rng, 500, 8, 2, correlation))).level in ("amber", "red")
        for _ in range(150)
    )
    assert alarms <= 3
    levels = [detector.update(histogram(_stream(rng, 500, 5, 2.5, correlation))).level for _ in range(12)]
    assert levels[-1] == "red"


def test_too_few_predictions_give_no_number() -> None:
    detector = DriftDetector(baseline_of(np.random.default_rng(0).beta(8, 2, 2000)))
    counts = np.zeros(BINS)
    counts[60] = 10
    state = detector.update(counts)
    assert state.level == "unknown"
    assert state.distance is None
    assert "10 of 500" in state.reason


def test_a_baseline_without_held_out_windows_learns_the_noise_first() -> None:
    rng = np.random.default_rng(3)
    small = baseline_of(rng.beta(8, 2, 60))
    assert small.held_out == ()
    detector = DriftDetector(small)
    levels = [detector.update(histogram(rng.beta(8, 2, 500))).level for _ in range(31)]
    assert set(levels[:29]) == {"calibrating"}
    assert levels[-1] == "ok"


def test_no_baseline_says_so() -> None:
    assert "without a baseline" in DriftDetector(None).update(np.ones(BINS)).reason


def test_baseline_survives_its_file_and_refuses_others() -> None:
    baseline = baseline_of(np.random.default_rng(1).beta(8, 2, 2000))
    again = Baseline.from_dict(baseline.to_dict())
    assert again.counts.tolist() == baseline.counts.tolist()
    assert again.held_out == pytest.approx(baseline.held_out, abs=1e-6)
    for bad in ({}, {"confidence": {"c": [1, 2]}}, {"confidence": {"c": [-1.0] * 64}}, {"confidence": 5}):
        with pytest.raises(InputError):
            Baseline.from_dict(bad)
