"""Builds TensorRT engines from ONNX files, with progress and the parser's own reasons; also for RTX, without a GPU."""

from __future__ import annotations

import contextlib
import importlib
import time
from pathlib import Path
from typing import Any

import psutil

from edgestudio.runtime.backends.tensorrt import logger_for
from edgestudio.runtime.derive import Derived, DeriveRequest, Progress
from edgestudio.wire.errors import ModelError

WORKSPACE_SHARE = 4
"""A board's GPU and processor often share one memory: the builder may try what fits into a quarter of what is free."""
PARSED = 0.05
_SHAPES_HINT = "Push it with golden inputs, or export the model with fixed sizes."


def build_engine(request: DeriveRequest, progress: Progress) -> Derived:
    """See `runtime.derive`. ModelError names the operator that TensorRT lacks, or says why the build ended."""
    trt = importlib.import_module(request.choice.backend)
    started = time.perf_counter()
    problems = logger_for(trt)
    builder = trt.Builder(problems)
    progress("reading the model", 0.0)
    network = builder.create_network(_network_flags(trt))
    _parse(trt, network, problems, request.model)
    config = builder.create_builder_config()
    profile = _profile(builder, network, request)
    if profile is not None:
        config.add_optimization_profile(profile)
    _aim(trt, config, request)
    monitor = _monitor(trt, progress)
    if monitor is not None:
        config.progress_monitor = monitor
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise ModelError(
            f"TensorRT {trt.__version__} cannot build an engine from {request.model.name}: {problems.last()}",
            hint="Quantise it with the TensorRT preset, or let the release run on cuda or cpu.",
            code="build-failed",
        )
    with request.out.open("wb") as file:
        file.write(memoryview(serialized))
    progress("building the engine", 1.0)
    facts = {"build_s": time.perf_counter() - started, "layers": int(network.num_layers)}
    return Derived(is_worth_keeping=True, facts=facts)


def _network_flags(trt: Any) -> int:
    # Version 8 must be told that the batch is a dimension like any other; later ones know nothing else.
    flag = getattr(getattr(trt, "NetworkDefinitionCreationFlag", None), "EXPLICIT_BATCH", None)
    is_old = trt.__version__.split(".")[0] == "8"
    return 1 << int(flag) if flag is not None and is_old else 0


def _parse(trt: Any, network: Any, problems: Any, path: Path) -> None:
    parser = trt.OnnxParser(network, problems)
    if parser.parse_from_file(str(path)):
        return
    told = []
    for index in range(min(parser.num_errors, 5)):
        error = parser.get_error(index)
        where = f"{_said(error, 'node_operator')} '{_said(error, 'node_name')}'".strip(" '")
        told.append(
            f"{where}: {' '.join(str(error.desc()).split())[:200]}" if where else str(error.desc())[:200]
        )
    raise ModelError(
        f"TensorRT {trt.__version__} cannot read {path.name}: {'; '.join(told) or problems.last()}",
        hint="Export it without that operator, or let the release run on cuda or cpu.",
        code="build-failed",
    )


def _said(error: Any, name: str) -> str:
    call = getattr(error, name, None)
    return str(call() or "") if call is not None else ""


def _profile(builder: Any, network: Any, request: DeriveRequest) -> Any:
    """From which sizes to which the engine can be fed; None where the model leaves nothing open."""
    profile, is_needed = builder.create_optimization_profile(), False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.is_shape_tensor:
            raise ModelError(
                f"'{tensor.name}' of {request.model.name} is a shape that is given at run time, which engines are not "
                "built for here",
                hint="Export the model with that size fixed.",
                code="build-failed",
            )
        shape = tuple(int(size) for size in tensor.shape)
        if all(size >= 0 for size in shape):
            continue
        is_needed = True
        profile.set_shape(tensor.name, *_range(tensor.name, shape, request))
    return profile if is_needed else None


def _range(name: str, shape: tuple[int, ...], request: DeriveRequest) -> tuple[tuple[int, ...], ...]:
    """The least, usual and largest shape: sizes of the release's own items, and batches where the first is open."""
    fed = request.shapes.get(name)
    if fed is not None and len(fed) != len(shape):
        fed = None
    if fed is None and any(size < 0 for size in shape[1:]):
        raise ModelError(
            f"'{name}' of {request.model.name} leaves its size open, and an engine is built for known sizes",
            hint=_SHAPES_HINT,
            code="build-failed",
        )
    usual = tuple(size if size >= 0 else (fed[axis] if fed else 1) for axis, size in enumerate(shape))
    if shape[0] >= 0:
        return usual, usual, usual
    return (1, *usual[1:]), usual, (max(usual[0], request.max_batch), *usual[1:])


def _aim(trt: Any, config: Any, request: DeriveRequest) -> None:
    """For which GPU, and with how much memory at most."""
    with contextlib.suppress(AttributeError, RuntimeError):
        limit = max(256 << 20, psutil.virtual_memory().available // WORKSPACE_SHARE)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
    if request.gpu is None or not hasattr(config, "num_compute_capabilities"):
        return  # TensorRT itself builds for the GPU that it runs on
    wanted = f"SM{request.gpu.compute_capability.replace('.', '')}"
    capability = getattr(trt.ComputeCapability, wanted, None)
    if capability is None:
        raise ModelError(
            f"TensorRT for RTX {trt.__version__} does not build for {request.gpu.name} "
            f"(compute capability {request.gpu.compute_capability})",
            hint="It needs an RTX GPU of the Turing generation or later.",
            code="build-failed",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)


def _monitor(trt: Any, progress: Progress) -> Any:
    if not hasattr(trt, "IProgressMonitor"):
        return None  # before version 9 the library does not tell

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Adds up nested phases: each step of a phase is a share of the step of the phase around it."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.open: list[tuple[str, int, int]] = []
            self.reached = PARSED

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.open.append((name, max(int(steps), 1), 0))

        def step_complete(self, name: str, step: int) -> bool:
            self.open = [
                (each, steps, int(step) + 1 if each == name else done) for each, steps, done in self.open
            ]
            share, fraction = 1.0, 0.0
            for _, steps, done in self.open:
                share /= steps
                fraction += share * min(done, steps)
            self.reached = max(self.reached, PARSED + (0.99 - PARSED) * min(fraction, 1.0))
            progress("building the engine", self.reached)
            return True

        def phase_finish(self, name: str) -> None:
            self.open = [phase for phase in self.open if phase[0] != name]

    return Monitor()
