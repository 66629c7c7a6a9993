"""All sensors of this board, read together; what cannot be true is not passed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from edgestudio.agent.observe.sensors.jetson import JetsonSensors
from edgestudio.agent.observe.sensors.kernel import KernelSensors
from edgestudio.agent.observe.sensors.linux import LinuxSensors, Sensor
from edgestudio.agent.observe.sensors.raspberry import RaspberrySensors
from edgestudio.agent.observe.sensors.reading import Reading
from edgestudio.agent.observe.sensors.x86 import X86Sensors

MAX_TEMPERATURE_C = 150.0
MIN_TEMPERATURE_C = -55.0
MAX_JUMP_C_PER_S = 30.0
FROZEN_AFTER = 900
"""A temperature that has not moved by one unit in so many readings is taken for frozen."""


class SensorBank(Protocol):
    """Whatever gives readings: the real bank or the simulated one."""

    def read(self) -> dict[str, Reading]:
        """All sensors now."""


class RealBank:
    """Sensors of the board whose system is at `root`, chosen by what it calls itself."""

    def __init__(
        self, root: Path, data_dir: Path, hardware: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        linux = LinuxSensors(root, data_dir)
        self._sensors: dict[str, Sensor] = dict(linux.sensors())
        self._sensors.update(_board_sensors(root, linux, hardware, clock))
        self._clock = clock
        self._last: dict[str, tuple[float, float]] = {}
        self._same: dict[str, int] = {}

    def read(self) -> dict[str, Reading]:
        """Every sensor; one that fails in an unforeseen way is not available, and the others are read."""
        readings: dict[str, Reading] = {}
        for name, sensor in self._sensors.items():
            try:
                reading = sensor()
            except (OSError, ValueError, ArithmeticError) as failure:
                reading = Reading(None, "", name, "not_available", f"reading it failed: {failure}"[:200])
            readings[name] = self._believed(name, reading)
        return readings

    def _believed(self, name: str, reading: Reading) -> Reading:
        value, now = reading.value, self._clock()
        if value is None:
            return reading
        if reading.unit == "W" and value < 0:
            return reading.stale("it reports negative power")
        if reading.unit != "°C":
            return reading
        if not MIN_TEMPERATURE_C <= value <= MAX_TEMPERATURE_C:
            return reading.stale(f"{value:.0f} °C cannot be true")
        before = self._last.get(name)
        self._last[name] = (now, value)
        if before is not None and abs(value - before[1]) > MAX_JUMP_C_PER_S * max(now - before[0], 1.0):
            return reading.stale(f"it jumped from {before[1]:.0f} to {value:.0f} °C")
        self._same[name] = self._same.get(name, 0) + 1 if before is not None and before[1] == value else 0
        if self._same[name] >= FROZEN_AFTER:
            return reading.stale(f"it has not moved from {value:.1f} °C in {FROZEN_AFTER} readings")
        return reading


def _board_sensors(
    root: Path, linux: LinuxSensors, hardware: str, clock: Callable[[], float]
) -> Mapping[str, Sensor]:
    name = hardware.lower()
    if "raspberry" in name:
        return RaspberrySensors(root, linux).sensors()
    if "jetson" in name or "orin" in name or linux.hwmon("ina3221") is not None:
        return JetsonSensors(root, linux).sensors()
    if X86Sensors.is_at(root):
        return X86Sensors(root, clock).sensors()
    return KernelSensors(root, linux).sensors()
