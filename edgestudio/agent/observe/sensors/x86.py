"""What only an x86 board tells: the energy counter of its package and its thermal throttle counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edgestudio.agent.observe.sensors.linux import Sensor
from edgestudio.agent.observe.sensors.reading import Reading, not_available, read_number

_ALLOW = "sudo chmod a+r /sys/class/powercap/intel-rapl:0/energy_uj (the kernel keeps it for root)"


class X86Sensors:
    """Readers beside the ones of any Linux board. Power is the energy between two readings."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._package = root / "sys/class/powercap/intel-rapl:0"
        self._throttle = root / "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
        self._clock = clock
        self._energy: tuple[float, float] | None = None
        self._throttles: float | None = None

    @staticmethod
    def is_at(root: Path) -> bool:
        """Whether the system at `root` has what only an x86 processor has."""
        places = (
            "sys/devices/virtual/dmi",
            "sys/class/powercap/intel-rapl:0",
            "sys/devices/system/cpu/cpu0/microcode",
        )
        return any((root / place).exists() for place in places)

    def sensors(self) -> Mapping[str, Sensor]:
        """Reader by name."""
        return {"power": self.power, "throttled": self.throttled}

    def power(self) -> Reading:
        """Watts of the processor package since the last call; the counter wraps at its stated range."""
        energy = read_number(self._package / "energy_uj", "W", hint=_ALLOW)
        if energy.value is None:
            return energy
        now = self._clock()
        before, self._energy = self._energy, (now, energy.value)
        if before is None or now <= before[0]:
            return not_available("W", "known from the second reading on")
        used = energy.value - before[1]
        if used < 0:
            span = read_number(self._package / "max_energy_range_uj", "")
            if span.value is None:
                return not_available("W", "the energy counter wrapped and its range is unknown")
            used += span.value
        return Reading(used * 1e-6 / (now - before[0]), "W", energy.source)

    def throttled(self) -> Reading:
        """1 when the package throttled since the last call, else 0."""
        count = read_number(self._throttle, "")
        if count.value is None:
            return count
        before, self._throttles = self._throttles, count.value
        return Reading(float(before is not None and count.value > before), "", count.source)
