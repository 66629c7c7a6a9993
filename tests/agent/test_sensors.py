"""Faults 39 and 40: sensors that are missing, denied, absurd, frozen; heat that comes, stays and flaps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestudio.agent.observe.sensors.bank import RealBank
from edgestudio.agent.observe.sensors.reading import Reading, read_number
from edgestudio.agent.observe.throttle import LADDER, ThrottleLadder
from edgestudio.agent.simulate import PROFILES, SimulatedBank, ThermalModel, profile
from edgestudio.wire.errors import UsageError

PI = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61234\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
}
JETSON = {
    "sys/class/thermal/thermal_zone0/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone0/temp": "100000\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "48500\n",
    "sys/class/thermal/thermal_zone2/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "47250\n",
    "sys/class/hwmon/hwmon3/name": "ina3221\n",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon3/in1_input": "5000\n",
    "sys/class/hwmon/hwmon3/curr1_input": "1400\n",
    "sys/class/hwmon/hwmon3/in2_label": "VDD_CPU\n",
    "sys/class/hwmon/hwmon3/in2_input": "5000\n",
    "sys/class/hwmon/hwmon3/curr2_input": "400\n",
    "sys/class/hwmon/hwmon3/curr1_crit_alarm": "0\n",
}
X86 = {
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "55000\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "262143328000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "3\n",
    "proc/meminfo": "MemTotal:       8000 kB\nMemAvailable:   2000 kB\n",
    "proc/pressure/memory": "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n",
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\n",
}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_raspberry_pi(tmp_path: Path) -> None:
    got = RealBank(tree(tmp_path, PI), tmp_path, "Raspberry Pi 5 Model B Rev 1.0").read()
    assert got["cpu_temperature"].value == pytest.approx(61.234)
    assert got["cpu_frequency"].value == 2400
    assert got["throttled"].value == 1.0
    assert got["under_voltage"].value == 1.0
    assert got["power"].value is None
    assert "does not measure" in got["power"].reason


def test_a_jetson(tmp_path: Path) -> None:
    got = RealBank(tree(tmp_path, JETSON), tmp_path, "NVIDIA Jetson Orin Nano").read()
    assert got["cpu_temperature"].value == 48.5, "the PMIC's constant 100 degrees are no temperature"
    assert got["gpu_temperature"].value == 47.25
    assert got["power"].value == pytest.approx(7.0)
    assert got["throttled"].value == 0.0


def test_an_x86_gateway_counts_energy_across_the_wrap(tmp_path: Path) -> None:
    clock = Clock()
    bank = RealBank(tree(tmp_path, X86), tmp_path, "gateway", clock)
    first = bank.read()
    assert first["cpu_temperature"].value == 55.0
    assert first["memory_used"].value == pytest.approx(75.0)
    assert first["memory_pressure"].value == 1.5
    assert first["power"].value is None
    assert first["cpu_load"].value is None
    tree(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "14999150\n"})
    tree(tmp_path, {"proc/stat": "cpu  200 0 200 1500 100 0 0 0 0 0\n"})
    clock.now = 1.0
    second = bank.read()
    assert second["power"].value == pytest.approx(15.0)
    assert second["cpu_load"].value == pytest.approx(20.0)
    assert second["throttled"].value == 0.0


def test_a_machine_without_any_sensor_says_so_and_never_zero(tmp_path: Path) -> None:
    for hardware in ("Raspberry Pi 4", "Jetson Orin", "gateway"):
        for name, reading in RealBank(tmp_path, tmp_path, hardware).read().items():
            if name == "disk_free":
                continue
            assert reading.value is None, name
            assert reading.quality == "not_available", name
            assert reading.reason, name


def test_a_sensor_that_may_not_be_read_says_how_to_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, X86)
    readable = Path.read_text

    def guarded(self: Path, *arguments: Any, **more: Any) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))  # as the kernel says to all but root
        return readable(self, *arguments, **more)

    monkeypatch.setattr(Path, "read_text", guarded)
    power = RealBank(tmp_path, tmp_path, "gateway").read()["power"]
    assert power.quality == "denied"
    assert power.value is None
    assert "chmod" in power.reason


@pytest.mark.parametrize("text", ["", "nonsense", "nan", "inf", "\x00\xff", "12 13"])
def test_what_is_no_number_is_not_available(tmp_path: Path, text: str) -> None:
    path = tmp_path / "temp"
    path.write_bytes(text.encode("latin-1"))
    reading = read_number(path, "°C")
    assert reading.value is None
    assert reading.quality == "not_available"
    assert read_number(tmp_path, "°C").value is None, "a folder in a sensor's place"


def test_what_cannot_be_true_is_stale(tmp_path: Path) -> None:
    clock = Clock()
    place = "sys/class/thermal/thermal_zone0/temp"
    bank = RealBank(tree(tmp_path, PI), tmp_path, "Raspberry Pi", clock)
    assert bank.read()["cpu_temperature"].quality == "ok"
    for text, word in (("99000", "jumped"), ("200000", "cannot be true"), ("-300000", "cannot be true")):
        clock.now += 1
        tree(tmp_path, {place: text})
        reading = bank.read()["cpu_temperature"]
        assert reading.quality == "stale"
        assert word in reading.reason
        assert reading.value is None
    clock.now += 1
    tree(tmp_path, {place: "99000"})
    assert bank.read()["cpu_temperature"].value == 99.0, "a value that stays is believed after the jump"
    (tmp_path / place).unlink()
    assert bank.read()["cpu_temperature"].quality == "not_available"


def test_a_frozen_sensor_is_noticed(tmp_path: Path) -> None:
    clock = Clock()
    bank = RealBank(tree(tmp_path, PI), tmp_path, "Raspberry Pi", clock)
    for _ in range(901):
        clock.now += 1
        reading = bank.read()["cpu_temperature"]
    assert reading.quality == "stale"
    assert "not moved" in reading.reason


@given(st.dictionaries(st.sampled_from(sorted({*PI, *JETSON, *X86})), st.binary(max_size=64)))
def test_no_tree_brings_the_reader_down(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("sys")
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for hardware in ("Raspberry Pi 5", "Jetson", "x86"):
        for reading in RealBank(root, root, hardware).read().values():
            assert (reading.value is None) == (reading.quality != "ok")
            assert reading.value is not None or reading.reason


# ---------------------------------------------------------------------- heat


def test_the_ladder_takes_one_step_per_half_minute_and_comes_back(tmp_path: Path) -> None:
    ladder = ThrottleLadder(hot_c=82, cool_c=74)
    usable = ("fewer-frames", "paused")
    changes = [(t, change.rung) for t in range(300) if (change := ladder.decide(float(t), 90.0, usable))]
    assert changes == [(0, "fewer-frames"), (30, "paused")]
    assert ladder.decide(301.0, 78.0, usable) is None, "between the limits nothing changes"
    assert ladder.decide(302.0, None, usable) is None, "an unknown temperature is no relief"
    back = [(t, change.rung) for t in range(303, 500) if (change := ladder.decide(float(t), 60.0, usable))]
    assert back == [(303, "fewer-frames"), (333, "normal")]


def test_flapping_around_the_limit_changes_nothing_more_often() -> None:
    ladder = ThrottleLadder(hot_c=82, cool_c=74)
    times = [
        t for t in range(600) if ladder.decide(float(t), 82.0 if t % 2 else 73.0, LADDER[1:]) is not None
    ]
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(times))


@given(st.lists(st.one_of(st.none(), st.floats(-50, 150)), max_size=200))
def test_the_ladder_never_flaps_whatever_it_reads(temperatures: list[float | None]) -> None:
    ladder = ThrottleLadder()
    last: int | None = None
    for second, temperature in enumerate(temperatures):
        change = ladder.decide(float(second), temperature, LADDER[1:])
        if change is not None:
            assert last is None or second - last >= 30
            assert change.text
            last = second


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_simulated_board_heats_throttles_and_cools(name: str) -> None:
    model = ThermalModel(profile(name))
    idle = model.temperature_c
    for _ in range(3600):
        model.step(1.0, 0.0)
    assert model.temperature_c == pytest.approx(idle), "idle is where it starts"
    for _ in range(3600):
        model.step(1.0, 1.0)
    hot = model.temperature_c
    assert hot > idle + 5
    assert hot <= model.board.throttle_c + 10, "the governor holds it"
    for _ in range(3600):
        model.step(1.0, 0.0)
    assert model.slowdown == 1.0
    assert model.temperature_c == pytest.approx(idle, abs=0.5)


def test_simulated_readings_say_so_and_the_rest_stays_real(tmp_path: Path) -> None:
    clock, used = Clock(), [0.0]
    real = RealBank(tree(tmp_path, X86), tmp_path, "x", clock)
    bank = SimulatedBank(profile("pi5"), real, lambda: used[0], clock)
    start = bank.read()["cpu_temperature"].value
    for _ in range(120):
        clock.now += 1.0
        used[0] += 2.0
        got = bank.read()
    assert got["cpu_temperature"].quality == "simulated"
    assert isinstance(got["cpu_temperature"], Reading)
    assert (got["cpu_temperature"].value or 0) > (start or 0) + 10
    assert got["power"].quality == "simulated"
    assert got["memory_used"].quality == "ok"
    with pytest.raises(UsageError, match="no simulated board"):
        profile("toaster")
