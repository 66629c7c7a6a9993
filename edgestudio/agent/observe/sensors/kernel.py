"""What many boards tell in the kernel's common places: GPU, cooling of the processor, a power monitor on the board."""

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

_GPU_DEVICES = (".gpu", ".gv11b", ".gp10b", ".gm20b", ".ga10b", ".mali")
_CPU_COOLING = ("cpufreq-", "thermal-cpufreq-", "thermal-cpufreq")
"""Types of cooling devices that lower the processor's frequency (drivers/thermal/cpufreq_cooling.c, old and new)."""


class KernelSensors:
    """Readers beside the ones of any Linux board; for a board that has nothing of its own, all there is."""

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
            if folder.name.endswith(_GPU_DEVICES)
        ]
        return first_known(found, "MHz", "this board shows no GPU frequency")

    def throttled(self) -> Reading:
        """1 while the kernel holds the processor's frequency down because of heat, else 0."""
        states = [
            read_number(device / "cur_state", "")
            for device in sorted(self._root.glob("sys/class/thermal/cooling_device*"))
            if read_text(device / "type").startswith(_CPU_COOLING)
        ]
        known = [state for state in states if state.value is not None]
        if not known:
            return first_known(states, "", "this kernel shows no cooling of the processor by frequency")
        hottest = max(known, key=lambda state: state.value or 0.0)
        return Reading(float(bool(hottest.value)), "", hottest.source)

    def power(self) -> Reading:
        """Watts by the one power monitor of the board; with several nobody knows which measures what."""
        found = sorted(self._root.glob("sys/class/hwmon/hwmon*/power1_input"))
        monitors = [path for path in found if read_text(path.parent / "name").startswith("ina")]
        if not monitors:
            return not_available("W", "this board shows no power monitor")
        if len(monitors) > 1:
            names = ", ".join(sorted(read_text(path.parent / "name") for path in monitors))
            return not_available("W", f"several power monitors ({names}), and none is said to be the board's")
        return read_number(monitors[0], "W", scale=1e-6)
