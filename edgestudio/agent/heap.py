"""Gives large blocks back to the system as soon as they are free, instead of keeping what a large request once took."""

from __future__ import annotations

import contextlib
import ctypes

LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3
"""From <malloc.h>. Setting it also ends that glibc raises it to the largest block that was ever freed (mallopt(3))."""


def give_back_large_blocks() -> None:
    """For this process, where its C library can; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
