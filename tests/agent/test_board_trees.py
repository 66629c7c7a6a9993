"""Whole boards as their kernels show them under --sysroot: unit and quality of every reading, by kind of board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.install.facts import hardware_name
from edgestudio.agent.observe.sensors.bank import RealBank
from tests.agent.test_sensors import Clock, tree

COMMON = {
    "proc/meminfo": "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:   6000000 kB\n",
    "proc/pressure/memory": "some avg10=0.50 avg60=0.10 avg300=0.00 total=10\nfull avg10=9.00 avg60=0 total=0\n",
    "proc/pressure/cpu": "some avg10=12.25 avg60=0.10 avg300=0.00 total=10\n",
    "proc/pressure/io": "some avg10=3.00 avg60=0.10 avg300=0.00 total=10\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
}
PI4 = (
    COMMON
    | {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\x00",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48205\n",
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon0/temp1_input": "48205\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "e0008\n",  # soft limit now; sticky bits of long ago
    }
)
PI5 = COMMON | {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\x00",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "55100\n",
    "sys/class/hwmon/hwmon2/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "50000\n",  # only history
}
ORIN = COMMON | {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\x00",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51406\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "50031\n",
    "sys/class/thermal/thermal_zone8/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone8/temp": "52000\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "4992\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1016\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "4992\n",
    "sys/class/hwmon/hwmon1/curr2_input": "160\n",
    "sys/class/hwmon/hwmon1/curr1_max_alarm": "0\n",
    "sys/class/hwmon/hwmon1/curr1_crit_alarm": "1\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
}
X86 = COMMON | {
    "sys/devices/virtual/dmi/id/product_name": "Gateway 3000\n",
    "sys/class/hwmon/hwmon3/name": "coretemp\n",
    "sys/class/hwmon/hwmon3/temp1_input": "61000\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "1\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "7\n",
}
UNITS = {
    "cpu_temperature": "°C", "gpu_temperature": "°C", "cpu_frequency": "MHz", "gpu_frequency": "MHz",
    "cpu_load": "%", "memory_used": "%", "memory_pressure": "%", "cpu_pressure": "%", "io_pressure": "%",
    "disk_free": "MiB", "power": "W", "throttled": "", "under_voltage": "",
}  # fmt: skip
EXPECTED: dict[str, tuple[dict[str, str], dict[str, float | None]]] = {
    "pi4": (PI4, {"cpu_temperature": 48.205, "throttled": 1.0, "under_voltage": 0.0, "power": None}),
    "pi5": (PI5, {"cpu_temperature": 55.1, "throttled": 0.0, "under_voltage": 0.0, "power": None}),
    "orin": (
        ORIN,
        {
            "cpu_temperature": 51.406, "gpu_temperature": 50.031, "gpu_frequency": 624.75,
            "power": 4.992 * 1.016, "throttled": 1.0,
        },
    ),
    "x86": (X86, {"cpu_temperature": 61.0, "throttled": 0.0, "power": None}),
}  # fmt: skip


@pytest.mark.parametrize("board", sorted(EXPECTED))
def test_every_reading_of_a_board_has_its_unit_its_value_and_its_quality(tmp_path: Path, board: str) -> None:
    files, values = EXPECTED[board]
    tree(tmp_path, files)
    got = RealBank(tmp_path, tmp_path, hardware_name(tmp_path)).read()
    for name, reading in got.items():
        assert reading.unit == UNITS[name], name
        assert (reading.value is None) == (reading.quality != "ok"), name
        assert reading.value is not None or reading.reason, name
    for name, value in values.items():
        assert got[name].value == (None if value is None else pytest.approx(value)), name
    assert got["cpu_frequency"].value == 1500
    assert got["memory_used"].value == pytest.approx(25.0)
    assert [got[f"{kind}_pressure"].value for kind in ("memory", "cpu", "io")] == [0.5, 12.25, 3.0]
    assert (got["disk_free"].value or 0) > 0


def test_a_gateway_whose_energy_counter_is_for_root_only_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, X86)
    readable = Path.read_text

    def guarded(self: Path, *arguments: Any, **more: Any) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))  # as the kernel says to all but root
        return readable(self, *arguments, **more)

    monkeypatch.setattr(Path, "read_text", guarded)
    clock = Clock()
    bank = RealBank(tmp_path, tmp_path, hardware_name(tmp_path), clock)
    for _ in range(3):
        clock.now += 1
        power = bank.read()["power"]
        assert (power.value, power.quality, power.unit) == (None, "denied", "W")
        assert "intel-rapl" in power.reason


def test_a_kernel_without_pressure_and_a_disk_that_is_gone_say_why(tmp_path: Path) -> None:
    got = RealBank(tree(tmp_path, {"proc/stat": "cpu 1\n"}), tmp_path / "gone", "gateway").read()
    for name in ("memory_pressure", "cpu_pressure", "io_pressure"):
        assert got[name].quality == "not_available"
        assert "pressure" in got[name].reason
    assert got["disk_free"].quality == "not_available"
    assert got["disk_free"].value is None
