"""The few calls of the CUDA runtime that an engine needs: a stream, memory on the GPU, pinned memory on the host."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from edgestudio.runtime.gpu import RUNTIMES, loads
from edgestudio.wire.errors import ModelError

_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Cuda:
    """One stream of the first GPU. Everything is asynchronous until `wait`; ModelError names the call that failed."""

    def __init__(self, library: Any = None) -> None:
        found = library or next((ctypes.CDLL(name) for name in RUNTIMES if loads(name)), None)
        if found is None:
            raise ModelError(
                "there is no CUDA runtime (libcudart) here",
                hint="Install the board's CUDA.",
                code="no-backend",
            )
        self._library: Any = found
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        pointer = ctypes.c_void_p()
        self._check(self._library.cudaStreamCreate(ctypes.byref(pointer)), "make a stream")
        self.stream = int(pointer.value or 0)

    def _check(self, status: int, what: str) -> None:
        if status:
            reason = self._library.cudaGetErrorString(status) or b""
            text = reason.decode(errors="replace") if isinstance(reason, bytes) else ""
            raise ModelError(
                f"CUDA could not {what}: {text or 'no reason given'} (error {status})",
                hint="Is the GPU's memory full, or its driver older than the CUDA runtime?",
                code="run-failed",
            )

    def allocate(self, size_bytes: int) -> int:
        """Address of new memory on the GPU."""
        return self._new(self._library.cudaMalloc, size_bytes, "allocate memory on the GPU")

    def free(self, address: int) -> None:
        """Give memory of the GPU back."""
        self._library.cudaFree(ctypes.c_void_p(address))

    def pinned(self, size_bytes: int) -> tuple[int, Bytes]:
        """New memory of the host that the GPU copies from and to by itself: its address and a view of it."""
        address = self._new(self._library.cudaMallocHost, size_bytes, "pin memory of the host")
        raw = (ctypes.c_uint8 * max(size_bytes, 1)).from_address(address)
        return address, np.ctypeslib.as_array(raw)[:size_bytes]

    def free_pinned(self, address: int) -> None:
        """Give pinned memory back; no view of it may be used any more."""
        self._library.cudaFreeHost(ctypes.c_void_p(address))

    def upload(self, device: int, host: int, size_bytes: int) -> None:
        """Line up a copy to the GPU."""
        self._copy(device, host, size_bytes, _HOST_TO_DEVICE)

    def download(self, host: int, device: int, size_bytes: int) -> None:
        """Line up a copy from the GPU."""
        self._copy(host, device, size_bytes, _DEVICE_TO_HOST)

    def wait(self) -> None:
        """Until everything that was lined up is done; what failed on the GPU is raised here."""
        self._check(self._library.cudaStreamSynchronize(ctypes.c_void_p(self.stream)), "finish the inference")

    def close(self) -> None:
        """End the stream; calling it twice is harmless."""
        if self.stream:
            self._library.cudaStreamDestroy(ctypes.c_void_p(self.stream))
            self.stream = 0

    def _new(self, call: Any, size_bytes: int, what: str) -> int:
        pointer = ctypes.c_void_p()
        self._check(call(ctypes.byref(pointer), ctypes.c_size_t(max(size_bytes, 1))), what)
        return int(pointer.value or 0)

    def _copy(self, target: int, source: int, size_bytes: int, direction: int) -> None:
        if size_bytes:
            self._check(
                self._library.cudaMemcpyAsync(
                    ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size_bytes), direction,
                    ctypes.c_void_p(self.stream),
                ),
                "copy memory",
            )  # fmt: skip
