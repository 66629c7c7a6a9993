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
PI3 = COMMON | {
    "proc/device-tree/model": "Raspberry Pi 3 Model B Plus Rev 1.3\x00",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61224\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",  # under-voltage and throttled now
}
ZERO2 = COMMON | {  # a kernel of a distribution: no file of the firmware, the processor cooled by the kernel
    "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\x00",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "80100\n",
    "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
}
IIO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
NANO = COMMON | {  # JetPack 4: the monitor is not in hwmon
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\x00",
    "sys/devices/virtual/thermal/thermal_zone0/type": "AO-therm\n",
    "sys/devices/virtual/thermal/thermal_zone0/temp": "45000\n",
    "sys/devices/virtual/thermal/thermal_zone1/type": "CPU-therm\n",
    "sys/devices/virtual/thermal/thermal_zone1/temp": "38500\n",
    "sys/devices/virtual/thermal/thermal_zone2/type": "GPU-therm\n",
    "sys/devices/virtual/thermal/thermal_zone2/temp": "36500\n",
    "sys/devices/virtual/thermal/thermal_zone4/type": "PMIC-Die\n",
    "sys/devices/virtual/thermal/thermal_zone4/temp": "100000\n",
    f"{IIO}/rail_name_0": "POM_5V_IN\n", f"{IIO}/in_power0_input": "2148\n",
    f"{IIO}/rail_name_1": "POM_5V_GPU\n", f"{IIO}/in_power1_input": "40\n",
    f"{IIO}/rail_name_2": "POM_5V_CPU\n", f"{IIO}/in_power2_input": "489\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "76800000\n",
}  # fmt: skip
XAVIER = COMMON | {  # two monitors, and no rail that is the whole board
    "proc/device-tree/model": "NVIDIA Jetson AGX Xavier\x00",
    "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/hwmon/hwmon2/name": "ina3221\n",
    "sys/class/hwmon/hwmon2/in1_label": "GPU\n", "sys/class/hwmon/hwmon2/in1_input": "19000\n",
    "sys/class/hwmon/hwmon2/curr1_input": "100\n",
    "sys/class/hwmon/hwmon2/in2_label": "CPU\n", "sys/class/hwmon/hwmon2/in2_input": "19000\n",
    "sys/class/hwmon/hwmon2/curr2_input": "50\n",
    "sys/class/hwmon/hwmon3/name": "ina3221\n",
    "sys/class/hwmon/hwmon3/in1_label": "NC\n", "sys/class/hwmon/hwmon3/in1_input": "8\n",
    "sys/class/hwmon/hwmon3/curr1_input": "9000\n",
    "sys/class/hwmon/hwmon3/in3_label": "SYS5V\n", "sys/class/hwmon/hwmon3/in3_input": "5000\n",
    "sys/class/hwmon/hwmon3/curr3_input": "400\n",
    "sys/class/hwmon/hwmon3/curr3_crit_alarm": "0\n",
    "sys/class/thermal/cooling_device4/type": "thermal-cpufreq-0\n",
    "sys/class/thermal/cooling_device4/cur_state": "0\n",
    "sys/class/thermal/cooling_device9/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device9/cur_state": "3\n",
    "sys/class/devfreq/17000000.gv11b/cur_freq": "318750000\n",
}  # fmt: skip
AMD = COMMON | {
    "sys/devices/virtual/dmi/id/product_name": "Ryzen Box\n",
    "sys/class/hwmon/hwmon0/name": "k10temp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "47250\n",
    "sys/class/hwmon/hwmon0/temp3_input": "90000\n",
}
ATOM = COMMON | {  # no package sensor, and a core that is not read as temp1
    "sys/devices/virtual/dmi/id/product_name": "Panel PC\n",
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp2_input": "52000\n",
    "sys/class/hwmon/hwmon0/temp10_input": "1000\n",
}
RK3588 = COMMON | {
    "proc/device-tree/model": "Radxa ROCK 5B\x00",
    "sys/class/thermal/thermal_zone0/type": "soc-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "44384\n",
    "sys/class/thermal/thermal_zone1/type": "bigcore0-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "46000\n",
    "sys/class/thermal/thermal_zone5/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone5/temp": "43461\n",
    "sys/class/devfreq/fb000000.gpu/cur_freq": "300000000\n",
    "sys/class/devfreq/fdab0000.npu/cur_freq": "1000000000\n",
    "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "cpufreq-cpu4\n",
    "sys/class/thermal/cooling_device1/cur_state": "3\n",
}
IMX8 = COMMON | {
    "proc/device-tree/model": "NXP i.MX8MPlus EVK board\x00",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "53000\n",
    "sys/class/hwmon/hwmon0/name": "ina219\n",
    "sys/class/hwmon/hwmon0/power1_input": "3400000\n",
}
SEVERAL = IMX8 | {
    "sys/class/hwmon/hwmon1/name": "ina226\n",
    "sys/class/hwmon/hwmon1/power1_input": "1100000\n",
}
UNKNOWN = COMMON | {"proc/device-tree/model": "Acme Board Nobody Met\x00"}
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
    "pi3": (PI3, {"cpu_temperature": 61.224, "throttled": 1.0, "under_voltage": 1.0, "power": None}),
    "zero2": (ZERO2, {"cpu_temperature": 80.1, "throttled": 1.0, "under_voltage": 1.0, "power": None}),
    "nano": (
        NANO,
        {
            "cpu_temperature": 38.5, "gpu_temperature": 36.5, "gpu_frequency": 76.8, "power": 2.148,
            "throttled": None,
        },
    ),
    "xavier": (
        XAVIER,
        {
            "cpu_temperature": 41.5, "gpu_temperature": None, "gpu_frequency": 318.75, "power": 1.9 + 0.95 + 2.0,
            "throttled": 0.0,
        },
    ),
    "amd": (AMD, {"cpu_temperature": 47.25, "power": None, "throttled": None}),
    "atom": (ATOM, {"cpu_temperature": 52.0, "power": None, "throttled": None}),
    "rk3588": (
        RK3588,
        {
            "cpu_temperature": 44.384, "gpu_temperature": 43.461, "gpu_frequency": 300.0, "power": None,
            "throttled": 1.0,
        },
    ),
    "imx8": (IMX8, {"cpu_temperature": 53.0, "gpu_temperature": None, "power": 3.4, "throttled": None}),
    "several monitors": (SEVERAL, {"power": None}),
    "unknown": (UNKNOWN, {"cpu_temperature": None, "gpu_frequency": None, "power": None, "throttled": None}),
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


def test_what_a_board_does_not_have_is_said_in_words(tmp_path: Path) -> None:
    got = RealBank(tree(tmp_path, SEVERAL), tmp_path, hardware_name(tmp_path)).read()
    assert "ina219, ina226" in got["power"].reason
    assert "no GPU" in got["gpu_temperature"].reason
    assert "cooling" in got["throttled"].reason


def test_an_energy_counter_that_wraps_gives_power(tmp_path: Path) -> None:
    tree(tmp_path, X86 | {"sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n"})
    counter, clock = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", Clock()
    bank = RealBank(tmp_path, tmp_path, hardware_name(tmp_path), clock)
    for energy_uj, watts in ((262_143_328_000, None), (9_999_150, 10.0), (24_999_150, 15.0)):
        clock.now += 1
        counter.write_text(f"{energy_uj}\n")
        assert bank.read()["power"].value == (None if watts is None else pytest.approx(watts, rel=1e-4))


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
