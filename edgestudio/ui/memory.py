"""Keeps the window small: large blocks go back to the system at once, and a document is read without disturbance."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""
_LARGE_BYTES = 256 << 10


def keep_large_blocks_apart() -> None:
    """Give blocks from 256 KiB pages of their own in this process, which go back to the system when they are freed.

    By itself the C library raises that size to 32 MiB as soon as the first such block was freed: the columns of large
    graphs then leave holes between small blocks, about 20 MB with 50,000 nodes.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def give_memory_back() -> None:
    """Hand pages that the C library keeps for later back to the system: after a large file, tens of megabytes."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Make a million small objects without anyone looking for garbage among them, meanwhile or afterwards.

    Each such look stops the window for a tenth of a second. What is frozen is freed as ever when nobody refers
    to it; the next document thaws it, so that cycles are found then.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.unfreeze()
            gc.freeze()
            gc.enable()
        give_memory_back()
