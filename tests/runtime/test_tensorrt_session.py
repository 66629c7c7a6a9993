"""What an engine's session does around the GPU: buffers, shapes, streams. A stand-in computes; no GPU is needed.

The stand-in library keeps "GPU" memory apart from the host's and does nothing before the stream is waited for, so that
a copy that is forgotten, too short or too early shows. That real engines run is shown only on a board with a GPU.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.runtime.backend import SessionOptions
from edgestudio.runtime.backends.cuda import Cuda
from edgestudio.runtime.backends.tensorrt import TensorrtSession
from edgestudio.wire.errors import InputError, ModelError


class Memory:
    """Takes the place of libcudart: memory on the heap, and a stream that runs when it is waited for."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.lined_up: list[Callable[[], object]] = []
        self.fails: set[str] = set()
        self.cudaGetErrorString = _Said()

    def _new(self, pointer: Any, size: Any) -> int:
        if "allocate" in self.fails:
            return 2
        block = ctypes.create_string_buffer(size.value)
        address = ctypes.addressof(block)
        self.blocks[address] = block
        pointer._obj.value = address
        return 0

    cudaMalloc = cudaMallocHost = _new

    def _free(self, pointer: Any) -> int:
        del self.blocks[pointer.value]
        return 0

    cudaFree = cudaFreeHost = _free

    def cudaStreamCreate(self, pointer: Any) -> int:
        pointer._obj.value = 77
        return 0

    def cudaStreamDestroy(self, _: Any) -> int:
        return 0

    def cudaMemcpyAsync(self, target: Any, source: Any, size: Any, _: int, stream: Any) -> int:
        assert stream.value == 77
        self.lined_up.append(lambda: ctypes.memmove(target.value, source.value, size.value))
        return 0

    def cudaStreamSynchronize(self, _: Any) -> int:
        for work in self.lined_up:
            work()
        self.lined_up.clear()
        return 700 if "run" in self.fails else 0


class _Said:
    restype: Any = None

    def __call__(self, status: int) -> bytes:
        return {2: b"out of memory", 700: b"an illegal memory access was encountered"}[status]


class Engine:
    """y = x + 1 for x of shape [1..4, 3]; `found` are the values above 1, as many as there are."""

    num_io_tensors, num_layers = 3, 2

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.shape: tuple[int, ...] = (-1, 3)
        self.address: dict[str, int] = {}
        self.allocator: Any = None

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y", "found")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_dtype(self, name: str) -> str:
        return "float"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1,) if name == "found" else self.shape

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        return ((1, 3), (1, 3), (4, 3))

    def create_execution_context(self) -> Engine:
        return self

    def create_engine_inspector(self) -> Any:
        return types.SimpleNamespace(get_layer_information=lambda index, _: "Add + Relu\n")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> None:
        self.address[name] = address

    def set_output_allocator(self, name: str, allocator: Any) -> None:
        self.allocator = allocator

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 77
        shape = self.shape

        def work() -> None:
            count = int(np.prod(shape))
            x = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.address["x"]))
            np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.address["y"]))[:] = x + 1

        self.memory.lined_up.append(work)
        self.memory.cudaStreamSynchronize(None)  # an output of unknown size needs the values
        count = int(np.prod(shape))
        x = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.address["x"]))
        found = np.ascontiguousarray(x[x > 1])
        place = self.allocator.reallocate_output_async("found", 0, found.nbytes, 256, stream)
        ctypes.memmove(place, found.ctypes.data, found.nbytes)
        self.allocator.notify_shape("found", found.shape)
        return True


def library(engine: Engine | None) -> Any:
    class Logger:
        Severity = types.SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    class Allocator:
        pass

    return types.SimpleNamespace(
        __version__="10.3.0",
        ILogger=Logger,
        IOutputAllocator=Allocator,
        TensorIOMode=types.SimpleNamespace(INPUT="in"),
        LayerInformationFormat=types.SimpleNamespace(ONELINE=0),
        nptype=lambda _: np.float32,
        Runtime=lambda _: types.SimpleNamespace(deserialize_cuda_engine=lambda data: engine),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.engine").write_bytes(b"ftrt")
    return tmp_path / "a.engine"


def opened(path: Path, memory: Memory) -> TensorrtSession:
    engine = Engine(memory)
    return TensorrtSession(path, SessionOptions(), "tensorrt", library(engine), Cuda(memory))


def test_items_go_in_and_answers_come_out_whatever_their_size(path: Path) -> None:
    memory = Memory()
    session = opened(path, memory)
    answers = []
    for rows in (1, 4, 2):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        outputs = session.run({"x": x})
        np.testing.assert_array_equal(outputs["y"], x + 1)
        np.testing.assert_array_equal(outputs["found"], x[x > 1])
        answers.append((outputs["y"], x + 1))
    for kept, want in answers:  # an answer stays what it was when the next one is made
        np.testing.assert_array_equal(kept, want)
    turned = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(session.run({"x": turned})["y"], turned + 1)
    assert session.placement()["counts"] == {"GPU": 2}
    session.close()
    session.close()
    assert memory.blocks == {}
    with pytest.raises(ModelError, match="closed"):
        session.run({"x": np.zeros((1, 3), np.float32)})


def test_what_does_not_fit_is_refused_before_the_gpu_sees_it(path: Path) -> None:
    session = opened(path, Memory())
    with pytest.raises(InputError, match="may be from 1x3 to 4x3 here, not 5x3"):
        session.run({"x": np.zeros((5, 3), np.float32)})
    with pytest.raises(InputError, match="must be float32"):
        session.run({"x": np.zeros((1, 3))})
    session.close()


def test_a_gpu_that_fails_says_how(path: Path) -> None:
    memory = Memory()
    session = opened(path, memory)
    memory.fails = {"allocate"}
    with pytest.raises(ModelError, match="allocate memory on the GPU: out of memory"):
        session.run({"x": np.zeros((1, 3), np.float32)})
    memory.fails = {"run"}
    with pytest.raises(ModelError, match="illegal memory access"):
        session.run({"x": np.zeros((1, 3), np.float32)})
    memory.fails = set()
    session.run({"x": np.zeros((1, 3), np.float32)})
    session.close()
    with pytest.raises(ModelError, match=r"cannot load a\.engine: the library gives no reason"):
        TensorrtSession(path, SessionOptions(), "tensorrt", library(None), Cuda(Memory()))
