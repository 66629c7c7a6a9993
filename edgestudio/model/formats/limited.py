"""Runs one of our modules in a Python of its own, within limits of time and memory that hold on every system."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import NamedTuple

import psutil

_POLL_S = 0.05


class Ended(NamedTuple):
    """How the child ended, and what it wrote."""

    status: int
    out: bytes
    err: bytes


class LimitError(Exception):
    """The child took more time or memory than it was allowed, and was ended."""


def run_limited(module: str, *arguments: str, wall_s: float, memory_bytes: int) -> Ended:
    """Run `module` with these arguments; raises LimitError once it takes longer or is larger than it may be.

    The child bounds itself as well where its system can, which notices a single large request for memory; this
    watches from outside, which works everywhere and while a library holds the interpreter's lock.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    until = time.monotonic() + wall_s
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        while True:
            try:
                out, err = child.communicate(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                if time.monotonic() < until and resident_bytes(child.pid) <= memory_bytes:
                    continue
                child.kill()
                child.communicate()
                raise LimitError from None
            return Ended(child.returncode, out, err)


def resident_bytes(pid: int) -> int:
    """The memory that a process has in use, 0 when it is gone or does not tell."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def bound_self(cpu_s: int, memory_bytes: int) -> None:
    """Bound this process's processor time and address space, each where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, limit in (("RLIMIT_CPU", cpu_s), ("RLIMIT_AS", memory_bytes), ("RLIMIT_CORE", 0)):
        # macOS refuses a bound on the address space below what a process begins with.
        with contextlib.suppress(ValueError, OSError):
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (most, most))
