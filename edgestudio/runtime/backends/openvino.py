"""Runs OpenVINO IR, ONNX and TFLite files with OpenVINO, in full precision unless the file says otherwise."""

from __future__ import annotations

import importlib
import io
import sys
import types
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgestudio.runtime.backend import Array, Feeds, SessionOptions, TensorSpec, check_feeds
from edgestudio.runtime.profile import OperatorTimes
from edgestudio.wire.errors import InputError, ModelError

if TYPE_CHECKING:
    from edgestudio.runtime.derive import Derived, DeriveRequest, Progress

_DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "boolean": "bool", "string": "string"}
_DTYPES |= {f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)} | {
    f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)
}
_DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU", "auto": "AUTO"}


def open_openvino(path: Path, options: SessionOptions) -> OpenvinoSession:
    """Load `path`; ModelError with the library's reason when it refuses."""
    return OpenvinoSession(path, options)


class OpenvinoSession:
    """One compiled OpenVINO model with its inference request."""

    backend = "openvino"

    def __init__(self, path: Path, options: SessionOptions) -> None:
        self._path = path
        self._options = options
        self._core = quiet_openvino().Core()
        self._device = self._chosen_device()
        self._compiled = self._compile(profile=False)
        self._request: Any = self._compiled.create_infer_request()
        self.inputs = tuple(_spec(port, f"input_{index}") for index, port in enumerate(self._compiled.inputs))
        self.outputs = tuple(
            _spec(port, f"output_{index}") for index, port in enumerate(self._compiled.outputs)
        )

    def _chosen_device(self) -> str:
        if not self._options.providers:
            return "CPU"
        wanted = self._options.providers[0]
        device = _DEVICES.get(wanted.lower(), wanted)
        present = [*self._core.available_devices, "AUTO"]
        if device.split(".")[0] not in {name.split(".")[0] for name in present}:
            raise InputError(
                f"OpenVINO sees no {device} here", hint=f"It has: {', '.join(present)}.", code="no-provider"
            )
        return device

    def _compile(self, *, profile: bool) -> Any:
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": profile}
        if self._device == "CPU":
            config["INFERENCE_NUM_THREADS"] = self._options.threads
            # Processors with bfloat16 would use it unasked, at a cost of two digits.
            config["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            if self._options.derived is not None:  # compiled on this board before
                with self._options.derived.open("rb") as file:
                    return self._core.import_model(io.BytesIO(file.read()), self._device, config)
            return self._core.compile_model(self._core.read_model(str(self._path)), self._device, config)
        except Exception as error:
            raise ModelError(
                f"OpenVINO cannot load {self._path.name}: {_reason(error)}",
                hint="An .xml needs its .bin beside it; otherwise an operator may be unknown to OpenVINO.",
                code="runtime-refused",
                details=str(error),
            ) from error

    def placement(self) -> dict[str, Any]:
        """Which device each node was compiled for, from OpenVINO's own runtime model."""
        used = self._used()
        nodes: dict[str, str] = {}
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            if node.get_type_name() in ("Parameter", "Result", "Constant"):
                continue
            told = {key: str(getattr(value, "value", value)) for key, value in node.get_rt_info().items()}
            if told.get("layerType") in ("Const", "Input", "Output"):
                continue  # weights and the model's own edges do no work
            nodes[node.get_friendly_name()] = told.get("affinity") or (
                used if "," not in used else self._device
            )
        asked = self._device.split(".")[0]
        fallen = [name for name, unit in nodes.items() if unit.split(".")[0] == "CPU"]
        alarm = None
        if asked not in ("CPU", "AUTO") and (asked not in used or fallen):
            alarm = f"{asked} was asked for, but {used} runs the model"
            alarm += f": {len(fallen)} of {len(nodes)} nodes on the CPU" if fallen else ""
        return {
            "counts": dict(Counter(nodes.values())),
            "nodes": nodes,
            "requested": [self._device],
            "source": f"compiled for {used}",
            "alarm": alarm,
        }

    def _used(self) -> str:
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        return ",".join(devices) if isinstance(devices, (list, tuple)) else str(devices)

    def exported(self) -> bytes:
        """What was compiled, for `import_model` of the same version on the same device."""
        try:
            blob = self._compiled.export_model()
        except Exception as error:
            raise ModelError(
                f"OpenVINO cannot keep what it compiled for {self._device}: {_reason(error)}",
                code="build-failed",
            ) from error
        return bytes(blob.getvalue() if hasattr(blob, "getvalue") else blob)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference."""
        check_feeds(self.inputs, feeds)
        if self._request is None:
            raise ModelError(f"{self._path.name} is closed", code="closed")
        return self._run(self._request, feeds)

    def _run(self, request: Any, feeds: Feeds) -> dict[str, Array]:
        try:
            results = request.infer(
                [
                    np.ascontiguousarray(feeds[spec.name]) if feeds[spec.name].ndim else feeds[spec.name]
                    for spec in self.inputs
                ]
            )
        except Exception as error:
            raise ModelError(
                f"OpenVINO failed while running {self._path.name}: {_reason(error)}",
                code="run-failed",
                details=str(error),
            ) from error
        return {spec.name: np.array(results[index]) for index, spec in enumerate(self.outputs)}

    def profile(self, feeds: Feeds, runs: int) -> list[dict[str, Any]]:
        """Time per operator from OpenVINO's performance counters."""
        request = self._compile(profile=True).create_infer_request()
        times = OperatorTimes(runs)
        for _ in range(runs):
            self._run(request, feeds)
            for entry in request.get_profiling_info():
                if str(entry.status).endswith("EXECUTED"):
                    times.add(
                        entry.node_name, entry.node_type, self._device, entry.real_time.total_seconds() * 1000
                    )
        return times.rows()

    def close(self) -> None:
        """Release the model."""
        self._request = None


def quiet_openvino() -> Any:
    """The library, without the reports on its use that importing it would send to its maker."""
    sys.modules.setdefault("openvino_telemetry", cast("types.ModuleType", None))
    return importlib.import_module("openvino")


def devices() -> dict[str, str]:
    """The devices that OpenVINO sees, by their full names."""
    core = quiet_openvino().Core()
    return {
        name.split(".")[0]: str(core.get_property(name, "FULL_DEVICE_NAME"))
        for name in core.available_devices
    }


def keep_compiled(request: DeriveRequest, progress: Progress) -> Derived:
    """See `runtime.derive`: the model as OpenVINO compiles it for this device, so that it need not again."""
    from edgestudio.runtime.derive import compared

    progress("compiling the model", 0.0)
    providers = (request.choice.provider,) if request.choice.provider else ()
    plain = SessionOptions(threads=request.threads, providers=providers)
    request.out.write_bytes(OpenvinoSession(request.model, plain).exported())
    quick = SessionOptions(threads=request.threads, providers=providers, derived=request.out)
    return compared(
        request,
        lambda: OpenvinoSession(request.model, plain),
        lambda: OpenvinoSession(request.model, quick),
        progress,
    )


def _spec(port: Any, fallback: str) -> TensorSpec:
    names = sorted(port.get_names())
    shape = tuple(int(size.get_length()) if size.is_static else None for size in port.get_partial_shape())
    kind = port.get_element_type().get_type_name()
    return TensorSpec(names[0] if names else fallback, _DTYPES.get(kind, ""), shape)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check"))]
    return (telling or lines or [type(error).__name__])[0][:300]
