"""What this board is: processor, memory, model name and the runtimes that it has."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from edgestudio.agent.run.spawn import environment
from edgestudio.runtime.backend import available
from edgestudio.runtime.gpu import Gpu, missing_driver

PROBE_S = 20.0

_ARCH = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class BoardFacts:
    """Checked against what a release requires."""

    hardware: str
    arch: str
    runtimes: Mapping[str, Any]
    """Usable runtimes: name -> version."""
    memory_bytes: int
    cores: int
    gpu: Gpu | None = None

    def resources(self) -> dict[str, Any]:
        """Memory, cores and GPU, as a studio reads them."""
        gpu = self.gpu.to_dict() if self.gpu else None
        return {"memory_bytes": self.memory_bytes, "cores": self.cores, "gpu": gpu}

    @classmethod
    def of_this_board(cls, sysroot: Path, hardware: str | None = None) -> BoardFacts:
        """Look at the system; `hardware` overrides what it is called, for simulated boards."""
        machine = platform.machine().lower()
        return cls(
            hardware=hardware or hardware_name(sysroot),
            arch=_ARCH.get(machine, machine),
            runtimes={row["name"]: row["version"] for row in available() if row["available"]},
            memory_bytes=psutil.virtual_memory().total,
            cores=psutil.cpu_count() or 1,
            gpu=None if missing_driver() else _ask_driver(),
        )


def _ask_driver() -> Gpu | None:
    """Asked in a process of its own: the driver would take memory and threads of the agent's for good."""
    try:
        said = subprocess.run(
            [sys.executable, "-m", "edgestudio.runtime.gpu"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False, env=environment(),
        ).stdout  # fmt: skip
        return Gpu.from_dict(json.loads(said))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def hardware_name(sysroot: Path) -> str:
    """What the board calls itself in its device tree or firmware; its processor when it does not say."""
    for place in ("proc/device-tree/model", "sys/devices/virtual/dmi/id/product_name"):
        try:
            name = (sysroot / place).read_bytes().strip(b"\x00\n ").decode(errors="replace")
        except OSError:
            continue
        if name:
            return name[:100]
    return platform.machine()
