"""Runs TensorRT engines on NVIDIA boards; engines are built on the board itself, since they fit one GPU only."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.runtime.backend import Array, Feeds, SessionOptions, TensorSpec, check_feeds
from edgestudio.wire.errors import ModelError

_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_RUNTIMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")


def missing_driver() -> str:
    """Why CUDA cannot be used here; "" when its driver and runtime are present."""
    if ctypes.util.find_library("cuda") is None and not _loads("libcuda.so.1"):
        return "not available: there is no NVIDIA driver (libcuda.so.1)"
    if not any(_loads(name) for name in _RUNTIMES):
        return "not available: there is no CUDA runtime (libcudart)"
    return ""


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def open_tensorrt(path: Path, options: SessionOptions) -> TensorrtSession:
    """Load the engine `path`; ModelError when it was built for another TensorRT or GPU."""
    return TensorrtSession(path, options)


class TensorrtSession:
    """One execution context with buffers of its own on the GPU."""

    backend = "tensorrt"

    def __init__(self, path: Path, options: SessionOptions) -> None:
        import tensorrt

        self._trt = tensorrt
        self._path = path
        self._threads = options.threads
        self._cuda = _Cuda()
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ModelError(
                f"TensorRT {tensorrt.__version__} cannot load {path.name}",
                hint="Engines fit only the TensorRT version and GPU they were built with: build it on this board.",
                code="runtime-refused",
            )
        self._context: Any = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names}
        self.inputs = tuple(self._spec(name) for name in names if is_input[name])
        self.outputs = tuple(self._spec(name) for name in names if not is_input[name])

    def _spec(self, name: str) -> TensorSpec:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        shape = tuple(int(size) if size >= 0 else None for size in self._engine.get_tensor_shape(name))
        return TensorSpec(name, dtype.name, shape)

    def placement(self) -> dict[str, Any]:
        """An engine runs on the GPU as a whole; its layers are those that the builder fused."""
        inspector = self._engine.create_engine_inspector()
        layers = {
            inspector.get_layer_information(index, self._trt.LayerInformationFormat.ONELINE).strip()[
                :200
            ]: "GPU"
            for index in range(self._engine.num_layers)
        }
        return {
            "counts": {"GPU": self._engine.num_layers},
            "nodes": layers,
            "requested": ["GPU"],
            "source": "engine",
            "alarm": None,
        }

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference: copy in, run, copy out."""
        check_feeds(self.inputs, feeds)
        if self._context is None:
            raise ModelError(f"{self._path.name} is closed", code="closed")
        buffers: list[int] = []
        try:
            for spec in self.inputs:
                array = np.asarray(feeds[spec.name], order="C")
                self._context.set_input_shape(spec.name, array.shape)
                buffers.append(self._cuda.allocate(array.nbytes))
                self._cuda.copy(buffers[-1], array.ctypes.data, array.nbytes, _HOST_TO_DEVICE)
                self._context.set_tensor_address(spec.name, buffers[-1])
            outputs = {
                spec.name: np.empty(tuple(self._context.get_tensor_shape(spec.name)), spec.dtype)
                for spec in self.outputs
            }
            places = {}
            for name, array in outputs.items():
                buffers.append(self._cuda.allocate(array.nbytes))
                places[name] = buffers[-1]
                self._context.set_tensor_address(name, buffers[-1])
            if not self._context.execute_async_v3(0):
                raise ModelError(f"TensorRT failed while running {self._path.name}", code="run-failed")
            for name, array in outputs.items():
                self._cuda.copy(array.ctypes.data, places[name], array.nbytes, _DEVICE_TO_HOST)
            return outputs
        finally:
            for buffer in buffers:
                self._cuda.free(buffer)

    def profile(self, feeds: Feeds, runs: int) -> list[dict[str, Any]]:
        """Engines built without detailed profiling cannot tell their layers apart: empty."""
        check_feeds(self.inputs, feeds)
        return []

    def close(self) -> None:
        """Release the engine."""
        self._context = None
        self._engine = None


class _Cuda:
    """The four calls of the CUDA runtime that are needed; ModelError names the one that failed."""

    def __init__(self) -> None:
        self._library = next(ctypes.CDLL(name) for name in _RUNTIMES if _loads(name))

    def _check(self, status: int, what: str) -> None:
        if status:
            raise ModelError(
                f"CUDA could not {what} (error {status})", hint="Is the GPU's memory full?", code="run-failed"
            )

    def allocate(self, size: int) -> int:
        """Address of `size` new bytes on the GPU."""
        pointer = ctypes.c_void_p()
        self._check(
            self._library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(max(size, 1))), "allocate memory"
        )
        return int(pointer.value or 0)

    def copy(self, target: int, source: int, size: int, direction: int) -> None:
        """Copy and wait."""
        arguments = (ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size), direction)
        self._check(self._library.cudaMemcpy(*arguments), "copy memory")

    def free(self, address: int) -> None:
        """Give memory back."""
        self._library.cudaFree(ctypes.c_void_p(address))
