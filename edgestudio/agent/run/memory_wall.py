"""Tells by trying whether this system holds a process to the memory that it is limited to.

Kernels do; an emulator of processes, or a sandbox that answers for the kernel, may take the limit and forget it.
Nothing of EdgeStudio is imported: run as a program, it tries on itself and prints what held, as JSON.
"""

from __future__ import annotations

import json
import mmap
import resource
import sys

_LIMIT_BYTES = 256 << 20
_ASKED_BYTES = 1 << 30
"""Address space alone: none of it is written to."""


def try_memory_limit() -> str:
    """Limit this process and ask for more; "" when it gets none, else why the limit does not hold."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_BYTES, _LIMIT_BYTES))
    except (OSError, ValueError) as error:
        return f"this system refuses to limit a process's memory ({error})"
    try:
        mmap.mmap(-1, _ASKED_BYTES).close()
    except (OSError, MemoryError):
        return ""
    return "this system takes limits on a process's memory and does not hold it to them"


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"reason": try_memory_limit()}))
