"""Runs engines with TensorRT or TensorRT for RTX, two packages of one interface; an engine fits one GPU and version."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.runtime.backend import Array, Feeds, SessionOptions, TensorSpec, check_feeds
from edgestudio.runtime.backends.cuda import Bytes, Cuda
from edgestudio.wire.errors import InputError, ModelError

MAX_SHOWN = 200


def open_tensorrt(path: Path, options: SessionOptions) -> TensorrtSession:
    """Load an engine with TensorRT; ModelError when it was built for another version or GPU."""
    return TensorrtSession(path, options, "tensorrt")


def open_tensorrt_rtx(path: Path, options: SessionOptions) -> TensorrtSession:
    """Load an engine with TensorRT for RTX; ModelError when it was built for another version or GPU."""
    return TensorrtSession(path, options, "tensorrt_rtx")


@dataclass
class _Buffer:
    """One tensor's place on the GPU and its pinned place on the host, as large as it has needed to be so far."""

    device: int = 0
    host: int = 0
    view: Bytes | None = None
    size_bytes: int = -1


class TensorrtSession:
    """One execution context on a stream of its own. Buffers stay from one inference to the next and only grow."""

    def __init__(
        self, path: Path, options: SessionOptions, backend: str, library: Any = None, cuda: Cuda | None = None
    ) -> None:
        self.backend = backend
        self._trt: Any = library or importlib.import_module(backend)
        self._path = options.derived or path
        self._context: Any = None
        self._buffers: dict[str, _Buffer] = {}
        self._problems = logger_for(self._trt)
        self._cuda = cuda or Cuda()
        self._runtime = self._trt.Runtime(self._problems)
        self._engine: Any = self._runtime.deserialize_cuda_engine(self._path.read_bytes())
        self._context = self._engine.create_execution_context() if self._engine is not None else None
        if self._context is None:
            self._cuda.close()
            raise ModelError(
                f"TensorRT {self._trt.__version__} cannot load {self._path.name}: {self._problems.last()}",
                hint="Engines fit only the TensorRT version and GPU they were built with: push the ONNX file, and "
                "the board builds its own.",
                code="runtime-refused",
            )
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inward = self._trt.TensorIOMode.INPUT
        is_input = {name: self._engine.get_tensor_mode(name) == inward for name in names}
        self.inputs = tuple(self._spec(name) for name in names if is_input[name])
        self.outputs = tuple(self._spec(name) for name in names if not is_input[name])
        self._ranges = {spec.name: self._range(spec) for spec in self.inputs}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, Any] = {}
        """Who takes the outputs whose size only the inference itself tells, such as the boxes that were found."""

    def _spec(self, name: str) -> TensorSpec:
        try:
            dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        except TypeError as error:
            raise ModelError(
                f"'{name}' of {self._path.name} has a type that arrays do not have",
                hint="Export the model with float32, float16 or integer inputs and outputs.",
                code="runtime-refused",
            ) from error
        shape = tuple(int(size) if size >= 0 else None for size in self._engine.get_tensor_shape(name))
        return TensorSpec(name, dtype.name, shape)

    def _range(self, spec: TensorSpec) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The smallest and the largest shape that the engine was built for; None where nothing is open."""
        if all(isinstance(size, int) for size in spec.shape):
            return None
        low, _, high = self._engine.get_tensor_profile_shape(spec.name, 0)
        return tuple(map(int, low)), tuple(map(int, high))

    def placement(self) -> dict[str, Any]:
        """An engine runs on the GPU as a whole; its layers are those that the builder fused."""
        inspector = self._engine.create_engine_inspector()
        oneline = self._trt.LayerInformationFormat.ONELINE
        layers: dict[str, str] = {}
        for index in range(int(self._engine.num_layers)):
            text = " ".join(str(inspector.get_layer_information(index, oneline)).split())[:MAX_SHOWN]
            layers[text if text and text not in layers else f"{text}#{index}"] = "GPU"
        return {
            "counts": {"GPU": len(layers)},
            "nodes": layers,
            "requested": ["GPU"],
            "source": "engine",
            "alarm": None,
        }

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference: copies in, the engine and copies out are lined up on one stream and waited for once."""
        check_feeds(self.inputs, feeds)
        if self._context is None:
            raise ModelError(f"{self._path.name} is closed", code="closed")
        for spec in self.inputs:
            self._upload(spec, np.asarray(feeds[spec.name], order="C"))
        arrays = {spec.name: self._prepared(spec) for spec in self.outputs}
        if not self._context.execute_async_v3(self._cuda.stream):
            raise ModelError(
                f"TensorRT failed while running {self._path.name}: {self._problems.last()}", code="run-failed"
            )
        fixed = {name: array for name, array in arrays.items() if array is not None}
        for name, array in fixed.items():
            self._cuda.download(self._buffers[name].host, self._buffers[name].device, array.nbytes)
        self._cuda.wait()
        late = {spec.name: self._late(spec) for spec in self.outputs if spec.name not in fixed}
        if late:
            self._cuda.wait()
        # The buffers are written again by the next inference: what leaves is a copy.
        return {spec.name: {**fixed, **late}[spec.name].copy() for spec in self.outputs}

    def _upload(self, spec: TensorSpec, array: Array) -> None:
        if self._shapes.get(spec.name) != array.shape:
            self._check_range(spec.name, array.shape)
            if not self._context.set_input_shape(spec.name, array.shape):
                raise InputError(f"input '{spec.name}' cannot have shape {array.shape}", code="bad-feed")
            self._shapes[spec.name] = array.shape
        buffer = self._grown(spec.name, array.nbytes)
        assert buffer.view is not None
        buffer.view[: array.nbytes] = np.frombuffer(array.data.cast("B") if array.nbytes else b"", np.uint8)
        self._cuda.upload(buffer.device, buffer.host, array.nbytes)
        self._context.set_tensor_address(spec.name, buffer.device)

    def _check_range(self, name: str, shape: tuple[int, ...]) -> None:
        limits = self._ranges[name]
        if limits is None:
            return
        low, high = limits
        if not all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True)):
            raise InputError(
                f"input '{name}' may be from {_text(low)} to {_text(high)} here, not {_text(shape)}",
                hint="The engine was built for the sizes of the release's golden inputs and its largest batch.",
                code="bad-feed",
            )

    def _prepared(self, spec: TensorSpec) -> Array | None:
        """Where an output will be, None when its size is not known before."""
        shape = tuple(int(size) for size in self._context.get_tensor_shape(spec.name))
        if any(size < 0 for size in shape):
            if spec.name not in self._places:
                self._places[spec.name] = _place_of(self._trt, self._grown)
                self._context.set_output_allocator(spec.name, self._places[spec.name])
            self._places[spec.name].shape = None
            return None
        dtype = np.dtype(spec.dtype)
        size_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        buffer = self._grown(spec.name, size_bytes)
        self._context.set_tensor_address(spec.name, buffer.device)
        assert buffer.view is not None
        return buffer.view[:size_bytes].view(dtype).reshape(shape)

    def _late(self, spec: TensorSpec) -> Array:
        shape, dtype = self._places[spec.name].shape, np.dtype(spec.dtype)
        size_bytes = int(np.prod(shape or (), dtype=np.int64)) * dtype.itemsize
        buffer = self._grown(spec.name, 0)
        if shape is None or buffer.view is None or size_bytes > buffer.size_bytes:
            raise ModelError(f"TensorRT gave '{spec.name}' less room than it filled", code="run-failed")
        self._cuda.download(buffer.host, buffer.device, size_bytes)
        return buffer.view[:size_bytes].view(dtype).reshape(shape)

    def _grown(self, name: str, size_bytes: int) -> _Buffer:
        buffer = self._buffers.setdefault(name, _Buffer())
        if size_bytes > buffer.size_bytes:
            self._release(buffer)
            buffer.device = self._cuda.allocate(size_bytes)
            buffer.host, buffer.view = self._cuda.pinned(size_bytes)
            buffer.size_bytes = size_bytes
        return buffer

    def _release(self, buffer: _Buffer) -> None:
        buffer.view = None
        if buffer.device:
            self._cuda.free(buffer.device)
        if buffer.host:
            self._cuda.free_pinned(buffer.host)
        buffer.device, buffer.host, buffer.size_bytes = 0, 0, -1

    def profile(self, feeds: Feeds, runs: int) -> list[dict[str, Any]]:
        """Engines built without detailed profiling cannot tell their layers apart: empty."""
        check_feeds(self.inputs, feeds)
        return []

    def close(self) -> None:
        """Release the context, the engine and the memory."""
        self._context = self._engine = None
        for buffer in self._buffers.values():
            self._release(buffer)
        self._buffers.clear()
        self._cuda.close()


def logger_for(trt: Any) -> Any:
    """A logger of the library that keeps what went wrong instead of printing it."""

    class Problems(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.lines = [*self.lines, " ".join(str(text).split())[:400]][-20:]

        def last(self) -> str:
            return self.lines[-1] if self.lines else "the library gives no reason"

    return Problems()


def _place_of(trt: Any, grown: Any) -> Any:
    class Place(trt.IOutputAllocator):  # type: ignore[misc]
        """Gives the engine room for an output as it asks, and remembers the shape that came out."""

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] | None = None

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            return int(grown(name, int(size)).device)

        def reallocate_output_async(
            self, name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return int(grown(name, int(size)).device)

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shape = tuple(int(length) for length in shape)

    return Place()


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"
