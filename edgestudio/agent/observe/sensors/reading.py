"""One reading of one sensor: what it says, where it was read, and how far it can be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgestudio.wire.records import Quality, SensorReading


@dataclass(frozen=True)
class Reading:
    """`value` is None unless it is known; `reason` then says why not. A missing value is never zero."""

    value: float | None
    unit: str
    source: str
    quality: Quality = "ok"
    reason: str = ""

    def to_record(self) -> SensorReading:
        """As it goes into a telemetry window."""
        return SensorReading(self.value, self.unit, self.quality, self.reason)

    def to_dict(self) -> dict[str, Any]:
        """As it is listed in /v1/info."""
        return {
            "value": self.value, "unit": self.unit, "source": self.source,
            "quality": self.quality, "reason": self.reason,
        }  # fmt: skip

    def stale(self, reason: str) -> Reading:
        """The same sensor, not believed."""
        return replace(self, value=None, quality="stale", reason=reason)


def not_available(unit: str, reason: str) -> Reading:
    """Nothing here measures this."""
    return Reading(None, unit, "", "not_available", reason)


def read_number(path: Path, unit: str, *, scale: float = 1.0, hint: str = "", base: int = 10) -> Reading:
    """The number in the sysfs file `path` times `scale`, or why it cannot be had; `hint` says how to allow it."""
    source = str(path)
    try:
        text = path.read_text("ascii", errors="replace").strip()
        value = float(text) if base == 10 else float(int(text, base))
    except FileNotFoundError:
        return Reading(None, unit, source, "not_available", "this kernel does not provide it")
    except PermissionError:
        return Reading(None, unit, source, "denied", hint or f"allow the agent to read {source}")
    except ValueError:
        return Reading(None, unit, source, "not_available", "it does not read as a number")
    except OSError as failure:
        return Reading(None, unit, source, "not_available", failure.strerror or "it cannot be read")
    if value != value or value in (float("inf"), float("-inf")):
        return Reading(None, unit, source, "not_available", "it does not read as a number")
    return Reading(value * scale, unit, source)


def read_text(path: Path) -> str:
    """The short text in a sysfs file, "" when there is none."""
    try:
        return path.read_text("utf-8", errors="replace").strip("\x00\n ")[:200]
    except OSError:
        return ""


def first_known(readings: list[Reading], unit: str, otherwise: str) -> Reading:
    """The first reading with a value; else the first that says more than "not there"; else `otherwise`."""
    for reading in readings:
        if reading.value is not None:
            return reading
    for reading in readings:
        if reading.quality != "not_available":
            return reading
    return readings[0] if readings else not_available(unit, otherwise)
