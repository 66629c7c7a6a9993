"""Which NVIDIA GPU a board has, asked of its driver; run as a program it prints that as JSON."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import re
import sys
from dataclasses import asdict, dataclass
from typing import Any

_DRIVER = "libcuda.so.1"
RUNTIMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_CAPABILITY = re.compile(r"\d{1,2}\.\d")


@dataclass(frozen=True)
class Gpu:
    """One GPU. `compute_capability` is "major.minor", as CUDA counts the generations; `driver` its CUDA version."""

    name: str
    compute_capability: str
    driver: str = ""

    def matches(self, wanted: str) -> bool:
        """Whether `wanted`, a name or a compute capability, means this one."""
        if _CAPABILITY.fullmatch(wanted):
            return wanted == self.compute_capability
        return wanted.casefold() in self.name.casefold()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> Gpu | None:
        """What `to_dict` wrote; None for anything else."""
        if not isinstance(value, dict) or not value.get("name"):
            return None
        if not _CAPABILITY.fullmatch(str(value.get("compute_capability"))):
            return None
        return cls(
            str(value["name"])[:100], str(value["compute_capability"]), str(value.get("driver", ""))[:20]
        )


def missing_driver() -> str:
    """Why CUDA cannot be used here; "" when its driver and runtime are present."""
    if ctypes.util.find_library("cuda") is None and not loads(_DRIVER):
        return f"not available: there is no NVIDIA driver ({_DRIVER})"
    if not any(loads(name) for name in RUNTIMES):
        return "not available: there is no CUDA runtime (libcudart)"
    return ""


def loads(name: str) -> bool:
    """Whether the shared library `name` can be loaded."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def ask_driver(library: str = _DRIVER) -> Gpu | None:
    """The first GPU by CUDA's driver interface (cuInit, cuDeviceGetAttribute 75 and 76); None when there is none."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return None
    device, count, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    major, minor = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(100)
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGetCount(ctypes.byref(count)),
        lambda: 0 if count.value else 1,
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceGetName(name, len(name), device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device),
        lambda: cuda.cuDriverGetVersion(ctypes.byref(version)),
    )
    if any(call() != 0 for call in calls):
        return None
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", driver)


if __name__ == "__main__":
    found = ask_driver()
    sys.stdout.write(json.dumps(found.to_dict() if found else None))
