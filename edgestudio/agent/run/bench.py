"""Latency of a model where it serves: measured through its own host, beside its normal work."""

from __future__ import annotations

import statistics
import time
from typing import Any

from edgestudio.agent.run.seat import Seat
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.histogram import LatencyHistogram

RUNS = 200
MAX_S = 20.0
DEADLINE_S = 30.0
PERCENTILES = (50, 90, 95, 99)


async def bench(seat: Seat, *, soak_minutes: float = 0.0) -> dict[str, Any]:
    """Keys of `bench` on the command line; a soak goes on for `soak_minutes` and adds minute by minute."""
    if not seat.has_source:
        raise DeviceError(
            "The release came without samples or golden inputs to measure with.",
            hint="Push it again with data.",
            code="no-source",
        )
    first = await _one(seat)
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    minutes: list[dict[str, float | None]] = []
    started = time.monotonic()
    until = started + (soak_minutes * 60 if soak_minutes else MAX_S)
    while time.monotonic() < until and (soak_minutes or len(totals) < RUNS):
        sample = await _one(seat)
        totals.append(sum(sample.values()))
        for stage, value in sample.items():
            stages.setdefault(stage, []).append(value)
        if soak_minutes and time.monotonic() - started > 60 * (len(minutes) + 1):
            minutes.append(_summary(totals[-1000:]))
    seconds = time.monotonic() - started
    return {
        "load_ms": seat.loaded.load_ms,
        "first_ms": sum(first.values()),
        "latency_ms": {**_summary(totals), "n": len(totals)},
        "throughput_hz": len(totals) / seconds if seconds > 0 else None,
        "peak_rss_bytes": seat.host.rss_bytes(),
        "placement": seat.loaded.placement,
        "stages": {stage: _summary(values) for stage, values in stages.items()},
        "environment": {"backend": seat.loaded.backend, "threads": seat.host.spec.threads},
        "minutes": minutes,
    }


async def _one(seat: Seat) -> dict[str, float]:
    _, answer = await seat.tick(DEADLINE_S)
    return {str(stage): float(value) for stage, value in answer["stages_ms"].items()}


def _summary(values_ms: list[float]) -> dict[str, float | None]:
    histogram = LatencyHistogram.of(values_ms)
    summary: dict[str, float | None] = {
        f"p{percent}": histogram.percentile(percent) for percent in PERCENTILES
    }
    summary["mean"] = histogram.mean_ms()
    n = len(values_ms)
    summary["ci95"] = 1.96 * statistics.stdev(values_ms) / n**0.5 if n > 1 else None
    return summary
