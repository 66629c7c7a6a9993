"""What only a Jetson tells: its GPU's temperature and the power of its rails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgestudio.agent.observe.sensors.linux import LinuxSensors, Sensor
from edgestudio.agent.observe.sensors.reading import (
    Reading,
    first_known,
    not_available,
    read_number,
    read_text,
)

_TOTAL_RAILS = ("vdd_in", "pom_5v_in")


class JetsonSensors:
    """Readers beside the ones of any Linux board."""

    def __init__(self, root: Path, linux: LinuxSensors) -> None:
        self._root = root
        self._linux = linux

    def sensors(self) -> Mapping[str, Sensor]:
        """Reader by name."""
        return {
            "gpu_temperature": self.gpu_temperature,
            "gpu_frequency": self.gpu_frequency,
            "power": self.power,
            "throttled": self.throttled,
        }

    def gpu_temperature(self) -> Reading:
        """Degrees Celsius of the GPU; a zone that is powered down cannot be read."""
        found = [
            read_number(path, "°C", scale=1e-3)
            for kind, path in self._linux.zones().items()
            if kind.startswith("gpu")
        ]
        return first_known(found, "°C", "this board shows no GPU temperature")

    def gpu_frequency(self) -> Reading:
        """MHz of the GPU, from its frequency governor."""
        found = [
            read_number(folder / "cur_freq", "MHz", scale=1e-6)
            for folder in sorted(self._root.glob("sys/class/devfreq/*"))
            if folder.name.endswith((".gpu", ".gv11b", ".gp10b", ".gm20b", ".ga10b"))
        ]
        return first_known(found, "MHz", "this board shows no GPU frequency")

    def power(self) -> Reading:
        """Watts of the whole board: the input rail of the INA3221 chip, else the sum of its rails."""
        chip = self._linux.hwmon("ina3221")
        if chip is None:
            return not_available("W", "this board has no INA3221 power monitor")
        rails: dict[str, Reading] = {}
        for number in (1, 2, 3):
            volt = read_number(chip / f"in{number}_input", "mV")
            current = read_number(chip / f"curr{number}_input", "mA")
            if volt.value is None or current.value is None:
                continue
            label = read_text(chip / f"in{number}_label").lower() or str(number)
            rails[label] = Reading(volt.value * current.value * 1e-6, "W", current.source)
        for label in _TOTAL_RAILS:
            if label in rails:
                return rails[label]
        known = [rail.value for rail in rails.values() if rail.value is not None]
        if not known:
            return not_available("W", "the power monitor gives no reading")
        return Reading(sum(known), "W", str(chip))

    def throttled(self) -> Reading:
        """1 while a rail's over-current alarm holds the clocks down, else 0."""
        chip = self._linux.hwmon("ina3221")
        alarms = [] if chip is None else sorted(chip.glob("curr*_alarm"))
        if not alarms:
            return not_available("", "this board shows no throttling alarm")
        values = [read_number(alarm, "") for alarm in alarms]
        known = [value.value for value in values if value.value is not None]
        return Reading(max(known), "", str(chip)) if known else values[0]
