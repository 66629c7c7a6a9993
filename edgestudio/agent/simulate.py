"""A simulated board's sensors: a thermal model fed by real CPU use, and a governor that really slows the model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgestudio.agent.observe.sensors.bank import SensorBank
from edgestudio.agent.observe.sensors.reading import Reading
from edgestudio.wire.errors import UsageError

AMBIENT_C = 24.0
MAX_SLOWDOWN = 3.0
HYSTERESIS_C = 4.0
FULL_CORES = 2.0
"""Busy cores that count as full load: the agent and its model host seldom keep more busy."""


@dataclass(frozen=True)
class Profile:
    """A board's heat: T' = (P * resistance - (T - ambient)) / tau, P between idle and full power."""

    name: str
    hardware: str
    idle_w: float
    full_w: float
    resistance_k_per_w: float
    tau_s: float
    throttle_c: float
    frequency_mhz: float


PROFILES = {
    "pi5": Profile("pi5", "Raspberry Pi 5 Model B (simulated)", 2.7, 8.5, 7.5, 60.0, 80.0, 2400.0),
    "pi4": Profile("pi4", "Raspberry Pi 4 Model B (simulated)", 2.4, 6.2, 10.0, 75.0, 80.0, 1500.0),
    "orin-nano": Profile(
        "orin-nano", "NVIDIA Jetson Orin Nano (simulated)", 4.5, 15.0, 3.2, 90.0, 85.0, 1510.0
    ),
    "x86": Profile("x86", "x86-64 gateway (simulated)", 6.0, 25.0, 2.4, 45.0, 95.0, 2900.0),
}  # fmt: skip


def profile(name: str) -> Profile:
    """The profile of that name; UsageError lists the known ones."""
    if name not in PROFILES:
        raise UsageError(f"There is no simulated board {name!r}.", hint=f"Known ones: {', '.join(PROFILES)}.")
    return PROFILES[name]


class ThermalModel:
    """One thermal mass with one resistance to the air; the exact solution for constant power per step."""

    def __init__(self, board: Profile, ambient_c: float = AMBIENT_C) -> None:
        self.board = board
        self.ambient_c = ambient_c
        self.power_w = board.idle_w
        self.temperature_c = ambient_c + board.idle_w * board.resistance_k_per_w
        self.slowdown = 1.0

    def step(self, seconds: float, load: float) -> None:
        """Advance by `seconds` at `load` (0..1 of full power), then let the governor decide."""
        board = self.board
        share = min(max(load, 0.0), 1.0)
        # A slowed processor draws less: that is how throttling ends.
        self.power_w = board.idle_w + (board.full_w - board.idle_w) * share / self.slowdown
        settled = self.ambient_c + self.power_w * board.resistance_k_per_w
        self.temperature_c = settled + (self.temperature_c - settled) * math.exp(-seconds / board.tau_s)
        over = self.temperature_c - board.throttle_c
        if over >= 0:
            self.slowdown = min(MAX_SLOWDOWN, max(self.slowdown, 1.25 + over / 10.0))
        elif over <= -HYSTERESIS_C:
            self.slowdown = 1.0


class SimulatedBank:
    """The real bank with its temperature, power, clock and throttling replaced, each marked `simulated`."""

    def __init__(
        self,
        board: Profile,
        real: SensorBank,
        cpu_seconds: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.thermal = ThermalModel(board)
        self._real = real
        self._cpu_seconds = cpu_seconds
        self._clock = clock
        self._last = (clock(), cpu_seconds())

    def read(self) -> dict[str, Reading]:
        """Advance the model to now, by the CPU time that was really used, and read it."""
        now, used = self._clock(), self._cpu_seconds()
        seconds = now - self._last[0]
        if seconds > 0:
            # A new host starts counting at zero: less CPU time than before means none.
            self.thermal.step(seconds, max(used - self._last[1], 0.0) / seconds / FULL_CORES)
            self._last = (now, used)
        readings = self._real.read()
        board, thermal = self.thermal.board, self.thermal
        values = {
            "cpu_temperature": (thermal.temperature_c, "°C"),
            "power": (thermal.power_w, "W"),
            "cpu_frequency": (board.frequency_mhz / thermal.slowdown, "MHz"),
            "throttled": (float(thermal.slowdown > 1.0), ""),
        }
        for name, (value, unit) in values.items():
            reading = Reading(round(value, 2), unit, f"simulated {board.name}")
            readings[name] = replace(reading, quality="simulated")
        return readings
