"""Tells when a board needs a look: limits with hysteresis over its telemetry, one alert per cause and board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgestudio.monitor.series import Snapshot

Severity = Literal["warning", "error"]

# A value near its limit must not ring the bell every window: it must come back this far first.
CLEAR_SHARE = 0.9
HOLD_WINDOWS = 3


@dataclass(frozen=True)
class Limits:
    """What is normal; None switches a limit off. Latency is of the whole pipeline."""

    latency_p95_ms: float | None = None
    error_rate: float | None = 0.02
    temperature_c: float | None = 80.0
    temperature_error_c: float | None = 90.0


@dataclass(frozen=True)
class Alert:
    """Something that is wrong now: `name` is a stable word, `text` says what, `remedy` what to do."""

    name: str
    severity: Severity
    text: str
    remedy: str
    since_s: float


@dataclass(frozen=True)
class Change:
    """An alert that was raised, or that is over."""

    alert: Alert
    is_over: bool


@dataclass
class _Watch:
    above: int = 0
    below: int = 0
    alert: Alert | None = None


class AlertBook:
    """The alerts of one board; `update` with each new snapshot returns what changed."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._watches: dict[str, _Watch] = {}
        self._last_time_s = float("-inf")

    @property
    def active(self) -> tuple[Alert, ...]:
        """What is wrong now, worst first."""
        alerts = [watch.alert for watch in self._watches.values() if watch.alert]
        return tuple(sorted(alerts, key=lambda alert: alert.severity != "error"))

    def update(self, snapshot: Snapshot) -> list[Change]:
        """Judge the newest window; a snapshot without a newer one changes only what depends on the connection."""
        is_silent = bool(snapshot.gap) and snapshot.time.size > 0
        changes = [self._state("silent", _silent(snapshot) if is_silent else None)]
        if snapshot.time.size and snapshot.time[-1] > self._last_time_s and not snapshot.gap:
            self._last_time_s = float(snapshot.time[-1])
            changes += [
                self._value("latency", _latest_p95(snapshot), self.limits.latency_p95_ms, snapshot, _slow),
                self._value("errors", _error_rate(snapshot), self.limits.error_rate, snapshot, _errors),
                self._value(
                    "temperature", _temperature(snapshot), self.limits.temperature_c, snapshot, self._hot
                ),
                self._state("drift", _drift(snapshot) if snapshot.drift.level in ("amber", "red") else None),
            ]
        return [change for change in changes if change is not None]

    def _value(
        self,
        name: str,
        value: float | None,
        limit: float | None,
        snapshot: Snapshot,
        describe: Callable[[Snapshot, float, float], Alert],
    ) -> Change | None:
        watch = self._watches.setdefault(name, _Watch())
        if value is None or limit is None or not np.isfinite(value):
            return None
        watch.above = watch.above + 1 if value > limit else 0
        watch.below = watch.below + 1 if value < limit * CLEAR_SHARE else 0
        if watch.above >= HOLD_WINDOWS:
            return _raise(watch, describe(snapshot, value, limit))
        if watch.alert is not None and watch.below >= HOLD_WINDOWS:
            return _clear(watch)
        return None

    def _state(self, name: str, alert: Alert | None) -> Change | None:
        """Follow a condition that needs no waiting: `alert` while it holds, None while it does not."""
        watch = self._watches.setdefault(name, _Watch())
        if alert is not None:
            return _raise(watch, alert)
        return _clear(watch) if watch.alert is not None else None

    def _hot(self, snapshot: Snapshot, value: float, limit: float) -> Alert:
        worst = self.limits.temperature_error_c
        severity: Severity = "error" if worst is not None and value >= worst else "warning"
        return Alert(
            "temperature", severity, f"{value:.0f} °C, above {limit:.0f} °C",
            "Give the board more air, or lower its rate.", _now(snapshot),
        )  # fmt: skip


def _raise(watch: _Watch, alert: Alert) -> Change | None:
    """A new alert, or one that got worse; the text of a running one follows its value silently."""
    running = watch.alert
    watch.alert = alert if running is None else replace(alert, since_s=running.since_s)
    return (
        Change(watch.alert, is_over=False) if running is None or running.severity != alert.severity else None
    )


def _clear(watch: _Watch) -> Change | None:
    alert, watch.alert, watch.above, watch.below = watch.alert, None, 0, 0
    return Change(alert, is_over=True) if alert is not None else None


def _silent(snapshot: Snapshot) -> Alert:
    return Alert(
        "silent",
        "error",
        f"No telemetry: {snapshot.gap}",
        "Check the board's power and network.",
        _now(snapshot),
    )


def _slow(snapshot: Snapshot, value: float, limit: float) -> Alert:
    return Alert(
        "latency", "warning", f"p95 latency is {value:.1f} ms, the budget is {limit:.1f} ms",
        "Look for throttling, or push a faster variant.", _now(snapshot),
    )  # fmt: skip


def _errors(snapshot: Snapshot, value: float, limit: float) -> Alert:
    return Alert(
        "errors", "error", f"{value:.0%} of inferences fail, above {limit:.0%}",
        "Roll back to the previous version and look at the board's events.", _now(snapshot),
    )  # fmt: skip


def _drift(snapshot: Snapshot) -> Alert:
    drift = snapshot.drift
    severity: Severity = "error" if drift.level == "red" else "warning"
    return Alert(
        "drift", severity, f"Confidences differ from the baseline: {drift.reason}",
        f"Check camera, light and data; {drift.budget}.", _now(snapshot),
    )  # fmt: skip


def _now(snapshot: Snapshot) -> float:
    return float(snapshot.time[-1])


def _latest_p95(snapshot: Snapshot) -> float | None:
    lines = snapshot.latency_ms.get("total") or snapshot.latency_ms.get("infer")
    return float(lines[95][-1]) if lines else None


def _error_rate(snapshot: Snapshot) -> float | None:
    answered = snapshot.throughput_hz[-1] * snapshot.duration_s[-1]
    failed = float(snapshot.errors[-1])
    total = float(answered) + failed
    return failed / total if total > 0 else None


def _temperature(snapshot: Snapshot) -> float | None:
    values = [
        s.latest for s in snapshot.sensors.values() if s.unit in ("°C", "C", "degC") and s.latest is not None
    ]
    return max(values) if values else None
