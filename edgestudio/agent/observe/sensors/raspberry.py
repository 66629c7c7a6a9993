"""What only a Raspberry Pi tells: whether its firmware throttles, and whether its supply sags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgestudio.agent.observe.sensors.kernel import KernelSensors
from edgestudio.agent.observe.sensors.linux import LinuxSensors, Sensor
from edgestudio.agent.observe.sensors.reading import Reading, not_available, read_number

_FIRMWARE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
"""`soc` up to the 4, `soc@107c000000` on the 5."""

_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 1, 2, 4, 8
"""Live bits of the firmware's answer; the sticky ones above them are cleared by the kernel's own polling."""


class RaspberrySensors:
    """Readers beside the ones of any Linux board."""

    def __init__(self, root: Path, linux: LinuxSensors) -> None:
        self._root = root
        self._linux = linux
        self._kernel = KernelSensors(root, linux)

    def sensors(self) -> Mapping[str, Sensor]:
        """Reader by name."""
        return {"throttled": self.throttled, "under_voltage": self.under_voltage, "power": self.power}

    def throttled(self) -> Reading:
        """1 while the firmware slows the processor down (heat, frequency cap or soft limit), else 0."""
        flags = self._flags()
        if flags.value is None:
            # A kernel that is not Raspberry Pi's own has no such file, but cools the processor itself.
            heat = self._kernel.throttled()
            if heat.value is not None and flags.quality == "not_available":
                return heat
            return Reading(None, "", flags.source, flags.quality, flags.reason)
        return Reading(float(bool(int(flags.value) & (_CAPPED | _THROTTLED | _SOFT_LIMIT))), "", flags.source)

    def under_voltage(self) -> Reading:
        """1 while the supply is too weak, else 0."""
        chip = self._linux.hwmon("rpi_volt")
        if chip is not None:
            alarm = read_number(chip / "in0_lcrit_alarm", "")
            if alarm.value is not None:
                return alarm
        flags = self._flags()
        if flags.value is None:
            return Reading(None, "", flags.source, flags.quality, flags.reason)
        return Reading(float(bool(int(flags.value) & _UNDER_VOLTAGE)), "", flags.source)

    def power(self) -> Reading:
        """No Raspberry Pi before the 5 can measure it, and the 5 only through its firmware tool."""
        return not_available("W", "a Raspberry Pi does not measure its own power where the agent can read it")

    def _flags(self) -> Reading:
        hint = "sudo usermod -aG video edgestudio"
        for place in sorted(self._root.glob(_FIRMWARE)):
            flags = read_number(place, "", hint=hint, base=16)
            if flags.quality != "not_available":
                return flags
        return not_available("", "this kernel does not show the firmware's throttling flags")
