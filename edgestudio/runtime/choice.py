"""Chooses by what a board has where a model runs: which library, on which accelerator, in which order."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgestudio.runtime.backend import BACKENDS, BackendSpec
from edgestudio.runtime.format_names import format_title
from edgestudio.runtime.gpu import Gpu
from edgestudio.wire.errors import InputError, ModelError
from edgestudio.wire.release import ACCELERATORS

CPU = "cpu"
BY_NAME_ONLY = frozenset({"xnnpack", "tensorrt-ep"})
"""Used only where a release asks for it: another library for the same processor, not always the faster one, and
ONNX Runtime's own way to TensorRT, which builds its engines anew each time it loads."""
_OPENVINO_NODES = {"openvino-gpu": "dev/dri", "openvino-npu": "dev/accel"}


@dataclass(frozen=True)
class Choice:
    """One way to run a model. `device` and `version` name what a file derived for it fits; `provider` is for the
    library's options, "" for the processor."""

    accelerator: str
    backend: str
    provider: str
    version: str
    device: str
    must_build: bool = False
    """Whether it runs only what was built for it on this board."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> Choice:
        """What `to_dict` wrote."""
        return cls(**value)


@dataclass(frozen=True)
class Plan:
    """The ways that this board has, best first, and why what was asked for is not among them."""

    choices: tuple[Choice, ...]
    lacks: tuple[str, ...] = ()


def plan(
    format_name: str,
    *,
    runtimes: Sequence[str] = (),
    accelerators: Sequence[str] = (),
    gpu: Gpu | None = None,
    root: Path = Path("/"),
) -> Plan:
    """How a model of the format can run here; ModelError `no-backend` when it cannot.

    `runtimes` are the libraries that the release allows, empty for any; `accelerators` those that it names, empty
    for whatever the board has. `gpu` is what the driver said. Imports ONNX Runtime only where it could be chosen.
    """
    unknown = [name for name in accelerators if name not in ACCELERATORS]
    if unknown:
        raise InputError(
            f"there is no accelerator '{unknown[0]}'",
            hint=f"Known: {', '.join(ACCELERATORS)}.",
            code="bad-field",
        )
    found: list[Choice] = []
    lacks: list[str] = []
    wanted = accelerators or [name for name in ACCELERATORS if name not in BY_NAME_ONLY]
    for name in wanted:
        ways = list(_ways(name, format_name, runtimes, gpu, root))
        usable = [way for way in ways if isinstance(way, Choice)]
        found += usable[:1] if name == CPU else usable
        if accelerators and not any(isinstance(way, Choice) for way in ways):
            reasons = "; ".join(way for way in ways if isinstance(way, str))
            lacks.append(
                f"{name} was asked for: {reasons or f'nothing here runs {format_title(format_name)} files on it'}"
            )
    if not found:
        raise ModelError(
            f"nothing on this board runs {format_title(format_name)} files as the release asks for",
            hint="; ".join(lacks) or f"Install one of: {', '.join(_packages(format_name))}.",
            code="no-backend",
        )
    return Plan(tuple(found), tuple(lacks))


def _packages(format_name: str) -> list[str]:
    return [spec.package for spec in BACKENDS if format_name in (*spec.formats, *spec.builds_from)]


def _ways(
    name: str, format_name: str, runtimes: Sequence[str], gpu: Gpu | None, root: Path
) -> Iterator[Choice | str]:
    """Each way to the accelerator `name`, or why there is none."""
    for spec in BACKENDS:
        if runtimes and spec.name not in runtimes:
            continue
        if format_name not in (*spec.formats, *spec.builds_from):
            continue
        if importlib.util.find_spec(spec.needs) is None:
            if name == ("tensorrt" if spec.builds_from else CPU):
                yield f"{spec.package} is not installed"
            continue
        if spec.builds_from or format_name == "tensorrt":
            if name == "tensorrt":
                yield from _tensorrt(spec, format_name, gpu)
        elif spec.name == "onnx":
            yield from _onnx(spec, name, gpu)
        elif spec.name == "openvino":
            yield from _openvino(spec, name, root)
        elif name == CPU:
            yield Choice(CPU, spec.name, "", version_of(spec), processor(root))


def _tensorrt(spec: BackendSpec, format_name: str, gpu: Gpu | None) -> Iterator[Choice | str]:
    if gpu is None:
        yield f"{spec.title} finds no NVIDIA GPU"
        return
    device = f"{gpu.name} ({gpu.compute_capability})"
    yield Choice("tensorrt", spec.name, "gpu", version_of(spec), device, must_build=format_name != "tensorrt")


def _onnx(spec: BackendSpec, name: str, gpu: Gpu | None) -> Iterator[Choice | str]:
    if name == CPU:
        yield Choice(CPU, spec.name, "", version_of(spec), processor())
        return
    from edgestudio.runtime.backends.onnx import PROVIDERS, present_providers

    provider = PROVIDERS.get(name.removesuffix("-ep"))
    if provider is None or name == "tensorrt":
        return
    if provider not in present_providers():
        yield f"this ONNX Runtime has no {provider}"
    elif name in ("cuda", "tensorrt-ep") and gpu is None:
        yield f"ONNX Runtime has {provider}, and the driver finds no GPU"
    else:
        device = gpu.name if gpu else processor()
        yield Choice(name, spec.name, name.removesuffix("-ep"), version_of(spec), device)


def _openvino(spec: BackendSpec, name: str, root: Path) -> Iterator[Choice | str]:
    if name == CPU:
        yield Choice(CPU, spec.name, "", version_of(spec), processor(root))
    elif name in _OPENVINO_NODES:
        if not any(
            (root / _OPENVINO_NODES[name]).glob("*")
        ):  # the library is heavy: not asked without a device
            yield f"this system has no device for it (/{_OPENVINO_NODES[name]})"
            return
        device = name.removeprefix("openvino-")
        module = __import__("edgestudio.runtime.backends.openvino", fromlist=["devices"])
        ask: Callable[[], dict[str, str]] = module.devices
        full_name = ask().get(device.upper())
        if full_name is None:
            yield f"OpenVINO sees no {device.upper()}"
        else:
            yield Choice(name, spec.name, device, version_of(spec), full_name)


def version_of(spec: BackendSpec) -> str:
    """The installed library's version; "unknown" where a vendor ships it without one."""
    try:
        return importlib.metadata.version(spec.package)
    except (
        importlib.metadata.PackageNotFoundError
    ):  # vendors ship it under other names, such as onnxruntime-gpu
        names = importlib.metadata.packages_distributions().get(spec.needs)
        return importlib.metadata.version(names[0]) if names else "unknown"


def processor(root: Path = Path("/")) -> str:
    """What distinguishes this processor from others: architecture, model and the instructions that it has."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    kept = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    lines = sorted({line for line in text.splitlines() if line.split("\t")[0].split(":")[0].strip() in kept})
    return f"{platform.machine()}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"
