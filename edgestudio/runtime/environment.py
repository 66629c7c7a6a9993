"""What a measurement was made on: processor, governor, temperature, load, versions; unknown is None."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

_PACKAGES = ("onnxruntime", "ai-edge-litert", "openvino", "tensorrt", "tensorrt-rtx", "numpy", "edgestudio")
_BUSY = 0.5


def describe(threads: int = 1, sysroot: Path = Path("/")) -> dict[str, Any]:
    """The whole description, JSON-able, with `warnings` on what disturbs a measurement."""
    cores = os.cpu_count() or 1
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(sysroot),
        "cores": cores,
        "threads": threads,
        "python": platform.python_version(),
        "versions": _versions(),
        "is_virtual": _is_virtual(sysroot),
    }
    facts.update(moment(sysroot))
    facts["warnings"] = _warnings(facts, cores)
    return facts


def versions(backend: str = "") -> dict[str, str]:
    """What decides the last bit of an answer: machine, backend and the versions of the packages, flat."""
    return {"machine": platform.machine(), "backend": backend, **_versions()}


def moment(sysroot: Path = Path("/")) -> dict[str, Any]:
    """What changes while measuring: {governor, frequency_mhz, temperature_c, load_1min, memory_available_bytes}."""
    cpufreq = sysroot / "sys/devices/system/cpu/cpu0/cpufreq"
    frequency = _number(cpufreq / "scaling_cur_freq")
    return {
        "governor": _text(cpufreq / "scaling_governor"),
        "frequency_mhz": None if frequency is None else frequency / 1000,
        "temperature_c": _temperature(sysroot),
        "load_1min": _load(),
        "memory_available_bytes": _memory(sysroot),
    }


def peak_rss_bytes() -> int | None:
    """The most memory that this process ever had resident."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
        return None if peak is None else int(peak)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_kib if sys.platform == "darwin" else peak_kib * 1024


def rss_bytes() -> int:
    """Memory that this process has resident now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _versions() -> dict[str, str]:
    found = ((name, _version(name)) for name in _PACKAGES)
    return {name: version for name, version in found if version is not None}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor(sysroot: Path) -> str | None:
    model = _text(sysroot / "proc/device-tree/model")
    if model:
        return model.rstrip("\0")
    for line in (_text(sysroot / "proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _is_virtual(sysroot: Path) -> bool | None:
    cpuinfo = _text(sysroot / "proc/cpuinfo")
    return None if cpuinfo is None else " hypervisor" in cpuinfo


def _temperature(sysroot: Path) -> float | None:
    """The hottest thermal zone in °C; None where the machine shows none."""
    readings = [
        _number(zone / "temp") for zone in sorted((sysroot / "sys/class/thermal").glob("thermal_zone*"))
    ]
    plausible = [
        reading / 1000 for reading in readings if reading is not None and -40_000 < reading < 150_000
    ]
    return max(plausible) if plausible else None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _memory(sysroot: Path) -> int | None:
    for line in (_text(sysroot / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _warnings(facts: dict[str, Any], cores: int) -> list[str]:
    warnings = []
    load = facts["load_1min"]
    if load is not None and load > cores * _BUSY:
        warnings.append(f"other programs keep this computer busy (load {load:.1f} on {cores} cores)")
    if facts["governor"] in ("powersave", "conservative"):
        warnings.append(f"the processor's governor is {facts['governor']}: it may run below its full clock")
    if facts["is_virtual"]:
        warnings.append("this is a virtual machine: its neighbours share the processor")
    return warnings


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None
