"""What every Linux board has: thermal zones, clock, load, memory, disk and pressure."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edgestudio.agent.observe.sensors.reading import (
    Reading,
    first_known,
    not_available,
    read_number,
    read_text,
)

Sensor = Callable[[], Reading]
_SKIPPED_ZONES = ("pmic", "battery")
_CPU_ZONES = ("cpu", "x86_pkg", "soc", "acpitz")
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class LinuxSensors:
    """Readers under `root` (usually /); `data_dir` is the disk whose space counts."""

    def __init__(self, root: Path, data_dir: Path) -> None:
        self._root = root
        self._data_dir = data_dir
        self._load: tuple[float, float] | None = None

    def sensors(self) -> Mapping[str, Sensor]:
        """Reader by name."""
        return {
            "cpu_temperature": self.cpu_temperature,
            "cpu_frequency": self.cpu_frequency,
            "cpu_load": self.cpu_load,
            "memory_used": self.memory_used,
            "memory_pressure": lambda: self.pressure("memory"),
            "cpu_pressure": lambda: self.pressure("cpu"),
            "io_pressure": lambda: self.pressure("io"),
            "disk_free": self.disk_free,
        }

    def zones(self) -> dict[str, Path]:
        """Thermal zones by type, lower case; PMIC zones report a constant and are left out."""
        zones: dict[str, Path] = {}
        for folder in sorted(self._root.glob("sys/class/thermal/thermal_zone*")) or sorted(
            self._root.glob("sys/devices/virtual/thermal/thermal_zone*")
        ):
            kind = read_text(folder / "type").lower()
            if kind and not kind.startswith(_SKIPPED_ZONES):
                zones.setdefault(kind, folder / "temp")
        return zones

    def hwmon(self, name: str) -> Path | None:
        """The folder of the hardware monitor chip `name`."""
        for folder in sorted(self._root.glob("sys/class/hwmon/hwmon*")):
            if read_text(folder / "name").lower() == name:
                return folder
        return None

    def cpu_temperature(self) -> Reading:
        """Degrees Celsius of the processor, from its monitor chip or the first matching thermal zone."""
        found: list[Reading] = []
        for chip in _CPU_CHIPS:
            folder = self.hwmon(chip)
            if folder is not None:
                # An Atom has no package sensor: its first core is temp2.
                inputs = sorted(folder.glob("temp*_input"), key=lambda path: (len(path.name), path.name))
                found += [read_number(path, "°C", scale=1e-3) for path in inputs]
        zones = self.zones()
        for start in _CPU_ZONES:
            found += [
                read_number(path, "°C", scale=1e-3) for kind, path in zones.items() if kind.startswith(start)
            ]
        found += [read_number(path, "°C", scale=1e-3) for path in zones.values()]
        return first_known(found, "°C", "this system shows no temperature sensor")

    def cpu_frequency(self) -> Reading:
        """MHz of the first processor core."""
        path = self._root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
        return read_number(path, "MHz", scale=1e-3)

    def cpu_load(self) -> Reading:
        """Percent of all cores that was busy since the last call."""
        path = self._root / "proc/stat"
        fields = read_text(path).split("\n")[0].split()
        if len(fields) < 6 or fields[0] != "cpu":
            return not_available("%", "the kernel's counters cannot be read")
        try:
            ticks = [float(field) for field in fields[1:9]]
        except ValueError:
            return not_available("%", "the kernel's counters cannot be read")
        total, idle = sum(ticks), ticks[3] + ticks[4]
        before, self._load = self._load, (total, idle)
        if before is None or total <= before[0]:
            return not_available("%", "known from the second reading on")
        busy = 1.0 - (idle - before[1]) / (total - before[0])
        return Reading(100.0 * min(max(busy, 0.0), 1.0), "%", str(path))

    def memory_used(self) -> Reading:
        """Percent of memory that is not available for new use."""
        path = self._root / "proc/meminfo"
        values: dict[str, float] = {}
        try:
            lines = path.read_text("ascii", errors="replace").splitlines()
        except OSError:
            return not_available("%", "the kernel's memory counters cannot be read")
        for line in lines:
            name, _, rest = line.partition(":")
            number = rest.split()[:1]
            if number and number[0].isdigit():
                values[name] = float(number[0])
        if not values.get("MemTotal") or "MemAvailable" not in values:
            return not_available("%", "the kernel's memory counters cannot be read")
        return Reading(100.0 * (1 - values["MemAvailable"] / values["MemTotal"]), "%", str(path))

    def pressure(self, what: str) -> Reading:
        """Percent of the last ten seconds in which some process waited for memory, cpu or io (PSI)."""
        path = self._root / "proc/pressure" / what
        for word in read_text(path).split():
            name, _, value = word.partition("=")
            if name == "avg10":
                try:
                    return Reading(float(value), "%", str(path))
                except ValueError:
                    break
        return not_available("%", "this kernel has no pressure information")

    def disk_free(self) -> Reading:
        """MiB that the agent may still write."""
        try:
            usage = os.statvfs(self._data_dir)
        except OSError as failure:
            return not_available("MiB", failure.strerror or "the disk cannot be asked")
        return Reading(usage.f_bavail * usage.f_frsize / 2**20, "MiB", str(self._data_dir))
