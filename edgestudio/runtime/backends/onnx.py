"""Runs ONNX files with ONNX Runtime, and says where each node really ran."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgestudio.runtime.backend import Array, Feeds, SessionOptions, TensorSpec, check_feeds
from edgestudio.runtime.backends.onnx_nodes import listed_nodes
from edgestudio.runtime.profile import OperatorTimes
from edgestudio.wire.errors import InputError, ModelError

if TYPE_CHECKING:
    from edgestudio.runtime.derive import Derived, DeriveRequest, Progress

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "acl": "ACLExecutionProvider",
    "armnn": "ArmNNExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "dml": "DmlExecutionProvider",
}
_OPTIMIZATION = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "off": "ORT_DISABLE_ALL",
}
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
_INTEGERS = frozenset(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))
_CPU = "CPUExecutionProvider"
_NVIDIA = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})
# What ZipMap gives: for each row, the score of every class.
_SCORES = "seq(map("


def open_onnx(path: Path, options: SessionOptions) -> OnnxSession:
    """Load `path`; ModelError with the library's reason when it refuses."""
    return OnnxSession(path, options)


class OnnxSession:
    """One `onnxruntime.InferenceSession`."""

    backend = "onnx"

    def __init__(self, path: Path, options: SessionOptions) -> None:
        import onnxruntime

        self._ort = onnxruntime
        self._path = path
        self._options = options
        self._requested = _providers(options.providers, onnxruntime.get_available_providers())
        if _NVIDIA.intersection(self._requested) and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds CUDA and cuDNN where they were installed as Python packages
        self._session: Any = self._create(profile_prefix=None)
        self.inputs = _fed(self._session.get_inputs(), path)
        self.outputs = _given(self._session.get_outputs(), path)
        self._output_names = [spec.name for spec in self.outputs]
        self._placement: dict[str, Any] | None = None

    def _create(self, profile_prefix: str | None) -> Any:
        ort = self._ort
        config = ort.SessionOptions()
        config.intra_op_num_threads = self._options.threads
        config.inter_op_num_threads = 1
        config.log_severity_level = 3
        config.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, _OPTIMIZATION[self._options.optimization]
        )
        # Idle threads that spin heat a board and steal the core that the model needs.
        config.add_session_config_entry("session.intra_op.allow_spinning", "0")
        config.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        path = self._path
        if self._options.derived is not None:  # optimised on this board before
            config.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            path = self._options.derived
        if profile_prefix is not None:
            config.enable_profiling = True
            config.profile_file_prefix = profile_prefix
        try:
            return ort.InferenceSession(str(path), config, providers=self._requested)
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime {ort.__version__} cannot load {self._path.name}: {_reason(error)}",
                hint=_hint(str(error)),
                code="runtime-refused",
                details=str(error),
            ) from error

    def placement(self) -> dict[str, Any]:
        """Where each node was placed, as the library recorded it, or from a profiled run where it cannot.

        Where it cannot and there is nothing but the processor, the nodes are those that the file lists: a run with
        made-up input, which may fail or never end, would tell nothing that is not known.
        """
        if self._placement is None:
            nodes, source = self._assigned(), "recorded"
            if nodes is None and self._requested == [_CPU]:
                nodes, source = [(name, op, _CPU) for name, op in listed_nodes(self._path)], "listed"
            elif nodes is None:
                nodes, source = self._profiled_units(), "profiled"
            self._placement = _judged(nodes, self._requested, source, self._refused())
        return self._placement

    def _refused(self) -> str:
        """Why ONNX Runtime dropped the provider that was asked for, which it tells no caller; "" when it did not."""
        if self._requested[0] in self._session.get_providers():
            return ""
        return "ONNX Runtime could not start it: a library of its driver is missing or of another version"

    def _assigned(self) -> list[tuple[str, str, str]] | None:
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            return None
        try:
            subgraphs = self._session.get_provider_graph_assignment_info()
        except Exception:  # noqa: BLE001 - a provider that cannot report is asked by profiling instead
            return None
        return [(node.name, node.op_type, part.ep_name) for part in subgraphs for node in part.get_nodes()]

    def _profiled_units(self) -> list[tuple[str, str, str]]:
        from edgestudio.runtime.backend import random_feeds

        events = self._trace(random_feeds(self.inputs), runs=1)
        return [(name, op, unit) for name, op, unit, _ in events]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference."""
        check_feeds(self.inputs, feeds)
        if self._session is None:
            raise ModelError(f"{self._path.name} is closed", code="closed")
        try:
            values = self._session.run(self._output_names, feeds)
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime failed while running {self._path.name}: {_reason(error)}",
                code="run-failed",
                details=str(error),
            ) from error
        return {
            name: value if isinstance(value, np.ndarray) else _table(value, name)
            for name, value in zip(self._output_names, values, strict=True)
        }

    def profile(self, feeds: Feeds, runs: int) -> list[dict[str, Any]]:
        """Time per operator from ONNX Runtime's own profiler, in a session of its own."""
        times = OperatorTimes(runs)
        for name, op, unit, duration_ms in self._trace(feeds, runs):
            times.add(name, op, unit, duration_ms)
        return times.rows()

    def _trace(self, feeds: Feeds, runs: int) -> list[tuple[str, str, str, float]]:
        with tempfile.TemporaryDirectory(dir=self._options.profile_dir) as folder:
            session = self._create(profile_prefix=str(Path(folder) / "trace"))
            for _ in range(runs):
                session.run(self._output_names, dict(feeds))
            trace = Path(session.end_profiling())
            events = json.loads(trace.read_text(encoding="utf-8"))
        return [
            (
                event["name"].removesuffix("_kernel_time"),
                event["args"].get("op_name", ""),
                event["args"].get("provider", "unknown"),
                event["dur"] / 1000,
            )
            for event in events
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        ]

    def close(self) -> None:
        """Release the model."""
        self._session = None


def _providers(wanted: tuple[str, ...], present: list[str]) -> list[str]:
    chosen = []
    for name in wanted:
        provider = PROVIDERS.get(name.lower(), name)
        if provider not in present:
            usable = ", ".join(present)
            raise InputError(
                f"this ONNX Runtime has no {provider}", hint=f"It has: {usable}.", code="no-provider"
            )
        chosen.append(provider)
    if _CPU not in chosen:
        chosen.append(_CPU)
    return chosen


def present_providers() -> list[str]:
    """The execution providers that this build of ONNX Runtime has; whether their drivers are here shows on loading."""
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def keep_optimized(request: DeriveRequest, progress: Progress) -> Derived:
    """See `runtime.derive`: the graph as ONNX Runtime optimises it for this processor, so that it need not again.

    Not worth keeping where it loads hardly faster; refused where it does not answer as the model itself does.
    """
    import onnxruntime as ort

    from edgestudio.runtime.derive import compared

    progress("optimising the model", 0.0)
    config = ort.SessionOptions()
    config.log_severity_level = 3
    config.optimized_model_filepath = str(request.out)
    config.add_session_config_entry("session.save_model_format", "ONNX")
    try:
        ort.InferenceSession(str(request.model), config, providers=[_CPU])
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime cannot keep what it optimises: {_reason(error)}", code="build-failed"
        ) from error
    plain = SessionOptions(threads=request.threads)
    quick = SessionOptions(threads=request.threads, derived=request.out)
    return compared(
        request,
        lambda: OnnxSession(request.model, plain),
        lambda: OnnxSession(request.model, quick),
        progress,
    )


def _judged(
    nodes: list[tuple[str, str, str]], requested: list[str], source: str, refused: str = ""
) -> dict[str, Any]:
    counts = Counter(unit for _, _, unit in nodes)
    fallen = Counter(op for _, op, unit in nodes if unit == _CPU)
    alarm = None
    if requested[0] != _CPU and fallen:
        ops = ", ".join(f"{op} ({count})" for op, count in fallen.most_common(5))
        alarm = (
            f"{sum(fallen.values())} of {len(nodes)} nodes fell back from {requested[0]} to the CPU: {ops}"
        )
    if refused:
        alarm = f"{alarm or requested[0] + ' does none of the work'} ({refused})"
    return {
        "counts": dict(counts),
        "nodes": {name or f"{op}#{index}": unit for index, (name, op, unit) in enumerate(nodes)},
        "requested": list(requested),
        "source": source,
        "alarm": alarm,
    }


def _spec(value: Any) -> TensorSpec:
    kind = value.type
    dtype = _DTYPES.get(kind) or (kind[7:-1] if kind.startswith("tensor(") else "")
    shape = tuple(size if size is None or isinstance(size, str) else int(size) for size in value.shape)
    return TensorSpec(value.name, dtype, shape)


def _fed(values: list[Any], path: Path) -> tuple[TensorSpec, ...]:
    """What the model takes; ModelError where that is no tensor of numbers or text, which nothing here could make."""
    for value in values:
        if not _is_plain(value.type):
            raise ModelError(
                f"the input '{value.name}' of {path.name} takes {_words(value.type)}, which cannot be fed here",
                hint="Export the model with plain tensors as inputs, of float32 for example.",
                code="not-a-tensor",
            )
    return tuple(_spec(value) for value in values)


def _given(values: list[Any], path: Path) -> tuple[TensorSpec, ...]:
    """What the model answers in numbers or text: its tensors, and rows of classes with scores as tables of scores.

    Lists of tensors are left out; ModelError where there is nothing else.
    """
    usable = [value for value in values if _is_plain(value.type) or value.type.startswith(_SCORES)]
    if values and not usable:
        raise ModelError(
            f"{path.name} answers with {_words(values[0].type)}, which cannot be read here",
            hint="Export the model with plain tensors as outputs, of float32 for example.",
            code="not-a-tensor",
        )
    return tuple(
        TensorSpec(value.name, "float32", (None, None)) if value.type.startswith(_SCORES) else _spec(value)
        for value in usable
    )


def _is_plain(kind: str) -> bool:
    return kind in _DTYPES or kind in _INTEGERS


def _words(kind: str) -> str:
    known = {"seq": "a list (sequence)", "map": "a table (map)", "optional": "an optional value"}
    return known.get(kind.split("(", 1)[0]) or f"a {kind.replace('(', ' of ', 1).removesuffix(')')}"


def _table(rows: Any, name: str) -> Array:
    """Scores as classifiers of scikit-learn give them (a row of class to score each): [rows, classes], by class."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ModelError(f"the output '{name}' is no tensor", code="bad-output")
    return np.asarray([[row[key] for key in sorted(row)] for row in rows], np.float32)


def _reason(error: Exception) -> str:
    """The library's own sentence without its bracketed prefix and build paths."""
    text = str(error).strip()
    text = text.rsplit("[ONNXRuntimeError]", 1)[-1].lstrip(" :0123456789")
    text = text.split("\n", 1)[0]
    return text[:300] or type(error).__name__


def _hint(text: str) -> str:
    lowered = text.lower()
    if "not_implemented" in lowered or "is not a registered function/op" in lowered:
        return "This runtime lacks an operator that the model uses: re-export with another opset or quantisation."
    if "opset" in lowered:
        return "The model's opset is newer than this runtime: update the runtime or export an older opset."
    if "external" in lowered:
        return "The model keeps weights in a second file: copy that file along, under the same name."
    return "Open the file with `edgestudio inspect` to see what it holds."
