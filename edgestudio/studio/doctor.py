"""What is installed here, what the network allows, and what to do about what is not."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from typing import Any

from edgestudio import __version__
from edgestudio.devices.doctor import examine
from edgestudio.studio.paths import Paths

# Import name, distribution, what it is for, the extra that brings it ("" = the base).
_LIBRARIES = (
    ("onnx", "onnx", "reads and writes ONNX", ""),
    ("onnxruntime", "onnxruntime", "runs ONNX models", ""),
    ("onnxslim", "onnxslim", "cleans up ONNX graphs", ""),
    ("ai_edge_litert", "ai-edge-litert", "runs TFLite models", ""),
    ("ai_edge_quantizer", "ai-edge-quantizer", "quantises TFLite models", ""),
    ("coremltools", "coremltools", "reads and writes Core ML", ""),
    ("netron", "netron", "shows the long tail of formats", ""),
    ("PySide6", "PySide6-Essentials", "draws the window", ""),
    ("pyqtgraph", "pyqtgraph", "draws the charts", ""),
    ("tensorflow", "tensorflow", "reads Keras and SavedModel, makes TFLite", "tensorflow"),
    ("torch", "torch", "reads PyTorch models, prunes and trains", "torch"),
    ("openvino", "openvino", "runs and quantises for Intel processors", "openvino"),
    ("executorch", "executorch", "makes ExecuTorch programs", "executorch"),
    ("tensorrt", "tensorrt", "builds engines for NVIDIA GPUs", "tensorrt"),
)
_LITTLE_DISK_BYTES = 1 << 30

Check = dict[str, Any]


class Doctor:
    """Runs the checks; each is `name, ok, detail, remedy` with ok None for what is optional and absent."""

    def __init__(self, paths: Paths, interfaces: tuple[str, ...] = ()) -> None:
        self._paths = paths
        self._interfaces = interfaces

    async def checks(self) -> list[Check]:
        """All checks, the installation's first; imports no machine-learning library."""
        local = await asyncio.to_thread(self._local)
        return [*local, *await self.network()]

    async def network(self) -> list[Check]:
        """Why a board may be missing: interfaces used and skipped, mDNS, firewall."""
        return await examine(wanted=self._interfaces or None)

    def _local(self) -> list[Check]:
        return [
            _check("edgestudio", ok=True, detail=f"{__version__}, Python {platform.python_version()}"),
            self._home(),
            _display(),
            *(_library(*entry) for entry in _LIBRARIES),
        ]

    def _home(self) -> Check:
        home = self._paths.home
        free = shutil.disk_usage(home).free
        ok = os.access(home, os.W_OK) and free > _LITTLE_DISK_BYTES
        detail = f"{home}, {free / (1 << 30):.1f} GiB free"
        return _check(
            "home", ok=ok, detail=detail, remedy="Free some space, or move it with EDGESTUDIO_HOME."
        )


def _display() -> Check:
    if not sys.platform.startswith("linux"):
        return _check("display", ok=True, detail=sys.platform)
    shown = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    return _check(
        "display",
        ok=True if shown else None,
        detail=shown or "none",
        remedy="The window needs a graphical session; the command line does not.",
    )


def _library(module: str, distribution: str, purpose: str, extra: str) -> Check:
    if importlib.util.find_spec(module) is None:
        remedy = f"pip install 'edgestudio[{extra}]'" if extra else "Install EdgeStudio again: make setup"
        return _check(module, ok=None if extra else False, detail=f"absent; {purpose}", remedy=remedy)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    return _check(module, ok=True, detail=f"{version}; {purpose}")


def _check(name: str, *, ok: bool | None, detail: str, remedy: str = "") -> Check:
    return {"name": name, "ok": ok, "detail": detail, "remedy": "" if ok else remedy}
