"""Runs a model file through whichever library fits it; each library is imported on use, never before."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from edgestudio.runtime.format_names import format_title
from edgestudio.runtime.recognise import recognise
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.errors import InputError, ModelError

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]
MAX_THREADS = 256


@dataclass(frozen=True)
class Affine:
    """How a tensor's integers stand for reals: real = scale * (q - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. `dtype` is numpy's name ("string" for text); sizes are int, a symbol's name or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
    quantization: Affine | None = None

    def concrete(self, unknown: int = 1) -> tuple[int, ...]:
        """The shape with `unknown` for each size that the model leaves open."""
        return tuple(size if isinstance(size, int) and size >= 0 else unknown for size in self.shape)


@dataclass(frozen=True)
class SessionOptions:
    """What a backend is asked for. `providers` are the accelerators to try first, for example ("cuda",)."""

    threads: int = 1
    optimization: str = "all"
    providers: tuple[str, ...] = ()
    profile_dir: Path | None = None
    derived: Path | None = None
    """A file that `runtime.derive` made from the model for this library on this board; opened in the model's place."""

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= MAX_THREADS:
            raise InputError(f"threads must be 1 to {MAX_THREADS}, not {self.threads}")
        if self.optimization not in ("all", "extended", "basic", "off"):
            raise InputError(
                f"unknown optimisation '{self.optimization}'", hint="Use all, extended, basic or off."
            )


class Session(Protocol):
    """A loaded model. Not thread-safe: one caller at a time."""

    @property
    def backend(self) -> str:
        """Name in `BACKENDS`."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` must be fed."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    def placement(self) -> dict[str, Any]:
        """Where nodes really run: {counts: {unit: nodes}, nodes: {name: unit}, requested, source, alarm}."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference; InputError when the feeds do not fit, ModelError when the library fails."""

    def profile(self, feeds: Feeds, runs: int) -> list[dict[str, Any]]:
        """Time per operator over `runs`: [{name, op, unit, mean_ms, calls, share}], slowest first; may be empty."""

    def close(self) -> None:
        """Release the model; calling it twice is harmless."""


@dataclass(frozen=True)
class BackendSpec:
    """One library. `needs` is the module to import, `package` what to install, `entry` "module:function".

    `builder` makes a file from a model that the library loads instead of it, faster or at all: from the formats of
    `builds_from` a board must build one, since the library opens nothing else.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    needs: str
    package: str
    entry: str
    probe: str = ""
    builder: str = ""
    builds_from: tuple[str, ...] = ()


BACKENDS: tuple[BackendSpec, ...] = (
    BackendSpec(
        "onnx", "ONNX Runtime", ("onnx",), "onnxruntime", "onnxruntime",
        "edgestudio.runtime.backends.onnx:open_onnx",
        builder="edgestudio.runtime.backends.onnx:keep_optimized",
    ),
    BackendSpec(
        "litert", "LiteRT", ("tflite",), "ai_edge_litert", "ai-edge-litert",
        "edgestudio.runtime.backends.litert:open_litert",
    ),
    BackendSpec(
        "openvino", "OpenVINO", ("openvino", "onnx", "tflite"), "openvino", "openvino",
        "edgestudio.runtime.backends.openvino:open_openvino",
        builder="edgestudio.runtime.backends.openvino:keep_compiled",
    ),
    BackendSpec(
        "tensorrt", "TensorRT", ("tensorrt",), "tensorrt", "tensorrt",
        "edgestudio.runtime.backends.tensorrt:open_tensorrt", "edgestudio.runtime.gpu:missing_driver",
        "edgestudio.runtime.backends.tensorrt_build:build_engine", ("onnx",),
    ),
    BackendSpec(
        "tensorrt_rtx", "TensorRT for RTX", ("tensorrt",), "tensorrt_rtx", "tensorrt-rtx",
        "edgestudio.runtime.backends.tensorrt:open_tensorrt_rtx", "edgestudio.runtime.gpu:missing_driver",
        "edgestudio.runtime.backends.tensorrt_build:build_engine", ("onnx",),
    ),
)  # fmt: skip


def runtime_title(name: str) -> str:
    """A runtime's own spelling; one that is not known here is left as it is."""
    return next((spec.title for spec in BACKENDS if spec.name == name), name)


def open_session(
    path: Path | str,
    *,
    backend: str | None = None,
    threads: int = 1,
    options: SessionOptions | None = None,
    is_scanned: bool = False,
) -> Session:
    """Load the model at `path` with the first backend that reads its format and is installed.

    The file is scanned for hostile content first, unless the caller just did so (`is_scanned`).
    Raises ModelError: missing, unknown or hostile file, no backend for it, or refused by its library.
    """
    path = Path(path)
    if not is_scanned:
        scan_model(path)
    format_name = recognise(path)
    chosen = _choose(format_name, backend, is_derived=options is not None and options.derived is not None)
    module, _, function = chosen.entry.partition(":")
    opener = getattr(importlib.import_module(module), function)
    return cast("Session", opener(path, options or SessionOptions(threads=threads)))


def _choose(format_name: str, backend: str | None, *, is_derived: bool) -> BackendSpec:
    candidates = [
        spec
        for spec in BACKENDS
        if format_name in spec.formats or (is_derived and format_name in spec.builds_from)
    ]
    if backend is not None:
        if backend not in {spec.name for spec in BACKENDS}:
            known = ", ".join(spec.name for spec in BACKENDS)
            raise InputError(f"there is no backend '{backend}'", hint=f"Known backends: {known}.")
        candidates = [spec for spec in candidates if spec.name == backend]
        if not candidates:
            raise ModelError(
                f"the backend '{backend}' does not read {format_title(format_name)} files", code="no-backend"
            )
    if not candidates:
        raise ModelError(
            f"no backend runs {format_title(format_name)} files",
            hint="Convert the model to ONNX or TFLite.",
            code="no-backend",
        )
    reasons = []
    for spec in candidates:
        reason = unavailable(spec)
        if not reason:
            return spec
        reasons.append(f"{spec.title}: {reason}")
    raise ModelError(
        f"no runtime for {format_title(format_name)} files is installed ({'; '.join(reasons)})",
        hint=f"Install one of: {', '.join(spec.package for spec in candidates)}.",
        code="no-backend",
    )


def unavailable(spec: BackendSpec) -> str:
    """Why this backend cannot be used here; "" when nothing speaks against it. Imports no library."""
    if importlib.util.find_spec(spec.needs) is None:
        return f"not available: {spec.package} is not installed"
    if spec.probe:
        module, _, function = spec.probe.partition(":")
        return str(getattr(importlib.import_module(module), function)())
    return ""


def available() -> list[dict[str, Any]]:
    """Every backend as {name, title, version, available, reason, formats}; imports no library."""
    rows = []
    for spec in BACKENDS:
        reason = unavailable(spec)
        version: str | None = None
        try:
            version = importlib.metadata.version(spec.package)
        except importlib.metadata.PackageNotFoundError:
            # Vendors ship TensorRT and ONNX Runtime under several names; the module is what counts.
            version = None
        rows.append(
            {
                "name": spec.name,
                "title": spec.title,
                "version": version,
                "available": not reason,
                "reason": reason,
                "formats": list(spec.formats),
            }
        )
    return rows


def check_feeds(inputs: tuple[TensorSpec, ...], feeds: Feeds) -> None:
    """InputError naming the input whose array is missing, of another dtype or of a shape that cannot fit."""
    for spec in inputs:
        array = feeds.get(spec.name)
        if array is None:
            raise InputError(f"input '{spec.name}' is missing", code="bad-feed")
        if spec.dtype not in ("string", "") and array.dtype != np.dtype(spec.dtype):
            raise InputError(f"input '{spec.name}' must be {spec.dtype}, not {array.dtype}", code="bad-feed")
        if not _fits(spec.shape, array.shape):
            wanted = "x".join("?" if not isinstance(size, int) else str(size) for size in spec.shape)
            given = "x".join(map(str, array.shape))
            raise InputError(
                f"input '{spec.name}' must have shape {wanted}, not {given or '()'}", code="bad-feed"
            )
    if len(feeds) > len(inputs):
        extra = sorted(set(feeds) - {spec.name for spec in inputs})
        raise InputError(f"the model has no input '{extra[0]}'", code="bad-feed")


def _fits(wanted: tuple[int | str | None, ...], given: tuple[int, ...]) -> bool:
    if len(wanted) != len(given):
        return False
    return all(not isinstance(want, int) or want == have for want, have in zip(wanted, given, strict=True))


def random_feeds(
    inputs: tuple[TensorSpec, ...], *, seed: int = 0, unknown: int = 1, below: int = 2
) -> dict[str, Array]:
    """Seeded feeds of the right shape and dtype: what a benchmark runs on when it has no data.

    Floats are uniform in [0, 1), small integers span their type, wider integers lie `below` a bound so low that
    they are valid as tokens, masks and indices.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in inputs:
        shape = spec.concrete(unknown)
        if spec.dtype == "string":
            feeds[spec.name] = np.full(shape, "", dtype=object)
            continue
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            feeds[spec.name] = rng.random(shape, dtype=np.float32).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize == 1:
            bounds = np.iinfo(dtype)
            feeds[spec.name] = rng.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)
        else:
            feeds[spec.name] = np.asarray(rng.integers(0, below, shape)).astype(dtype)
    return feeds
