"""How far the confidence on a board has moved from the baseline that travelled with the model."""

from __future__ import annotations

import math

from edgestudio.wire.histogram import ConfidenceHistogram

# Fewer inferences than this say nothing about a distribution of ten bins.
MINIMUM_N = 100
_BINS = 10


def population_stability(seen: ConfidenceHistogram, baseline: ConfidenceHistogram) -> float | None:
    """Population stability index over ten bins; None below 100 inferences on either side.

    The sum over bins of (p - q) ln(p / q), with half a count added to every bin so that an empty one stays
    finite. By custom below 0.1 is no shift and above 0.25 is a large one (Siddiqi, Credit Risk Scorecards).
    """
    if seen.n < MINIMUM_N or baseline.n < MINIMUM_N:
        return None
    p, q = _shares(seen), _shares(baseline)
    return sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def _shares(histogram: ConfidenceHistogram) -> list[float]:
    bins = len(histogram.counts)
    coarse = [0.5] * _BINS
    for index, count in enumerate(histogram.counts):
        coarse[index * _BINS // bins] += count
    whole = sum(coarse)
    return [count / whole for count in coarse]
