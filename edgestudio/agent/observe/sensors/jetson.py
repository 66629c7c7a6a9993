"""What only a Jetson tells: the power of its rails, and the alarms that hold its clocks down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from edgestudio.agent.observe.sensors.kernel import KernelSensors
from edgestudio.agent.observe.sensors.linux import LinuxSensors, Sensor
from edgestudio.agent.observe.sensors.reading import Reading, not_available, read_number, read_text

_TOTAL_RAILS = ("vdd_in", "pom_5v_in")
_UNUSED_RAILS = ("nc", "not connected")


class JetsonSensors:
    """Readers beside the ones of any Linux board.

    The INA3221 monitors show in hwmon since JetPack 5 (kernel.org, hwmon/ina3221), and before that in iio with names
    of their own, as a Jetson Nano's do.
    """

    def __init__(self, root: Path, linux: LinuxSensors) -> None:
        self._root = root
        self._kernel = KernelSensors(root, linux)

    def sensors(self) -> Mapping[str, Sensor]:
        """Reader by name."""
        return {**self._kernel.sensors(), "power": self.power, "throttled": self.throttled}

    def power(self) -> Reading:
        """Watts of the whole board: the input rail, else the sum of the rails of all monitors."""
        rails = dict(self._rails())
        if not rails:
            return not_available("W", "this board shows no INA3221 power monitor")
        for label in _TOTAL_RAILS:
            if label in rails and rails[label].value is not None:
                return rails[label]
        known = [rail for rail in rails.values() if rail.value is not None]
        if not known:
            return next(iter(rails.values()))
        return Reading(
            sum(rail.value or 0.0 for rail in known), "W", ", ".join(rail.source for rail in known)[:200]
        )

    def throttled(self) -> Reading:
        """1 while an over-current alarm or heat holds the clocks down, else 0."""
        alarms = [alarm for chip in self._chips() for alarm in sorted(chip.glob("curr*_alarm"))]
        values = [read_number(alarm, "") for alarm in alarms]
        heat = self._kernel.throttled()
        known = [reading for reading in (*values, heat) if reading.value is not None]
        if not known:
            return values[0] if values else heat
        return max(known, key=lambda reading: reading.value or 0.0)

    def _chips(self) -> list[Path]:
        chips = sorted(self._root.glob("sys/class/hwmon/hwmon*"))
        return [chip for chip in chips if read_text(chip / "name").lower() == "ina3221"]

    def _rails(self) -> Iterator[tuple[str, Reading]]:
        """(label, watts) of each rail that is connected."""
        for chip in self._chips():
            for number in (1, 2, 3):
                volt = read_number(chip / f"in{number}_input", "W")
                current = read_number(chip / f"curr{number}_input", "W")
                label = read_text(chip / f"in{number}_label").lower() or f"{chip.name}-{number}"
                if label in _UNUSED_RAILS or "not_available" in (volt.quality, current.quality):
                    continue
                if volt.value is None or current.value is None:
                    yield label, volt if volt.value is None else current
                else:
                    yield label, Reading(volt.value * current.value * 1e-6, "W", current.source)
        for device in sorted(self._root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*")):
            for number in (0, 1, 2):
                label = read_text(device / f"rail_name_{number}").lower()
                power = read_number(device / f"in_power{number}_input", "W", scale=1e-3)
                if label and label not in _UNUSED_RAILS and power.quality != "not_available":
                    yield label, power
