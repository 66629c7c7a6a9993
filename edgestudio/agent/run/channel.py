"""How an agent and its model host talk: small JSON frames over a socket pair, tensors through shared memory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import socket
import struct
import tempfile
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from edgestudio.wire.errors import InputError

Array = np.ndarray[Any, Any]

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 8 << 20
FIRST_ARENA_BYTES = 1 << 20
MAX_ARENA_BYTES = 1 << 30
ALIGNMENT = 64
"""Tensors start at cache lines, as vectorised kernels like them."""
_PLAIN_KINDS = "biufc"
_FEWEST_QUICK, _FORGIVEN_AFTER = 4, 512
NEXT_S = 0.0004
"""How long a model host looks for the next request, where they follow each other closely, before it sleeps."""


def may_look(busy: int = 1) -> bool:
    """Whether a processor is free to look while `busy` others work: without one, nothing would come meanwhile."""
    if not hasattr(socket, "MSG_DONTWAIT") or not hasattr(os, "sched_getaffinity"):
        return False
    return len(os.sched_getaffinity(0)) > busy


def look(link: socket.socket, size: int, until: float) -> bytes | None:
    """Receive at most `size` bytes before `perf_counter()` says `until`, without sleeping; None when none came.

    Whoever else could run on this processor is let through between two looks.
    """
    while perf_counter() < until:
        with contextlib.suppress(BlockingIOError):
            return link.recv(size, socket.MSG_DONTWAIT)
        os.sched_yield()
    return None


class Streak:
    """Whether looking is worth it: the last few words of the other side all came within `quick_s`.

    Where it always has something to say soon, `is_owed`, each look in vain makes the next one take more of them: on a
    processor that others need, whoever looks in vain is made to wait. Else a pause is only a pause.
    """

    def __init__(self, quick_s: float, *, is_owed: bool) -> None:
        self.quick_s = quick_s
        self._is_owed = is_owed
        self._needed = _FEWEST_QUICK
        self._quick = 0

    @property
    def is_on(self) -> bool:
        """True while one should look."""
        return self._quick >= self._needed

    def note(self, took_s: float) -> None:
        """The other side took `took_s`."""
        if took_s <= self.quick_s:
            self._quick += 1
            if self._quick >= _FORGIVEN_AFTER:
                self._needed = _FEWEST_QUICK
        else:
            if self.is_on and self._is_owed:
                self._needed = min(2 * self._needed, _FORGIVEN_AFTER)
            self._quick = 0


def frame(message: Mapping[str, Any]) -> bytes:
    """`message` as one length-prefixed frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into messages; raises ValueError for what no honest peer sends."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Add `data` and return the messages that are complete now."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= HEADER.size:
            (size,) = HEADER.unpack_from(self._buffer)
            if size > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {size} bytes")
            if len(self._buffer) < HEADER.size + size:
                break
            message = json.loads(self._buffer[HEADER.size : HEADER.size + size])
            if not isinstance(message, dict):
                raise ValueError("a frame that is no object")
            messages.append(message)
            del self._buffer[: HEADER.size + size]
        return messages


class Arena:
    """Shared memory that one side writes tensors into and the other reads; it grows as needed, never shrinks.

    The file behind it has no name and is sealed against shrinking where the system can do so: a model host
    that has been taken over must not be able to make its agent fault by cutting the memory short.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._map = self._mapped()

    @classmethod
    def create(cls) -> Arena:
        """A new arena; its `handle` is passed to the child."""
        if hasattr(os, "memfd_create"):
            handle = os.memfd_create("edgestudio-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(handle, FIRST_ARENA_BYTES)
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        else:
            with tempfile.TemporaryFile() as file:
                handle = os.dup(file.fileno())
            os.ftruncate(handle, FIRST_ARENA_BYTES)
        return cls(handle)

    def write(self, arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
        """Copy `arrays` in and return the layout that `read` on the other side needs."""
        layout: list[dict[str, Any]] = []
        offset = 0
        for name, array in arrays.items():
            if array.dtype.kind not in _PLAIN_KINDS:
                raise InputError(
                    f"The tensor {name!r} holds {array.dtype}, which cannot be passed to a board's model.",
                    hint="Use numbers or booleans.",
                    code="bad-tensor",
                )
            size = array.nbytes
            layout.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "at": offset})
            offset += -(-size // ALIGNMENT) * ALIGNMENT
        self._reserve(offset)
        for entry, array in zip(layout, arrays.values(), strict=True):
            target: Array = np.frombuffer(
                self._map, array.dtype, count=array.size, offset=entry["at"]
            ).reshape(array.shape)
            target[...] = array
        return layout

    def write_groups(self, groups: Sequence[Mapping[str, Array]]) -> list[list[dict[str, Any]]]:
        """Several sets of arrays side by side; a layout for each."""
        flat = {
            f"{number}/{name}": array
            for number, arrays in enumerate(groups)
            for name, array in arrays.items()
        }
        entries = iter(self.write(flat))
        return [[{**next(entries), "name": name} for name in arrays] for arrays in groups]

    def read(self, layout: list[dict[str, Any]], *, copy: bool) -> dict[str, Array]:
        """The arrays of `layout`: views that hold until the next message, or copies. ValueError when it lies."""
        arrays: dict[str, Array] = {}
        for entry in layout:
            dtype = np.dtype(str(entry["dtype"]))
            shape = tuple(int(size) for size in entry["shape"])
            offset = int(entry["at"])
            count = 1
            for size in shape:
                count *= size
            end = offset + count * dtype.itemsize
            if dtype.kind not in _PLAIN_KINDS or offset < 0 or min(shape, default=0) < 0:
                raise ValueError("a tensor layout that no honest peer sends")
            if end > len(self._map):
                self._map = self._mapped()
            if end > len(self._map):
                raise ValueError("a tensor outside the shared memory")
            view: Array = np.frombuffer(self._map, dtype, count=count, offset=offset).reshape(shape)
            arrays[str(entry["name"])] = view.copy() if copy else view
        return arrays

    def close(self) -> None:
        """Give the memory back; arrays that still view it keep it until they go."""
        with contextlib.suppress(BufferError):
            self._map.close()
        with contextlib.suppress(OSError):
            os.close(self.handle)
        self.handle = -1

    def _reserve(self, size_bytes: int) -> None:
        if size_bytes <= len(self._map):
            return
        if size_bytes > MAX_ARENA_BYTES:
            raise InputError(
                f"The tensors take {size_bytes} bytes; a board accepts {MAX_ARENA_BYTES} at once.",
                code="too-large",
            )
        size = max(size_bytes, 2 * len(self._map))
        os.ftruncate(self.handle, size)
        self._map = self._mapped()

    def _mapped(self) -> mmap.mmap:
        return mmap.mmap(self.handle, os.fstat(self.handle).st_size)
