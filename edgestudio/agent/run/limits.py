"""The walls around a model host: memory, time, files, core dumps, the network, and death together with its agent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from edgestudio.agent.run.isolation import cut_network
from edgestudio.agent.run.landlock import hide_files
from edgestudio.agent.run.scratch import take_scratch

OPEN_FILES = 256
SYSTEM_BYTES = 128 << 20
"""Left to the system and the agent, whatever a model asks for."""
NICENESS = 2
"""Behind the agent itself, yet not so far that anything else on the board starves the model."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True)
class Files:
    """Folders that a process does not see but for `readable`; it writes to `writable` and devices alone."""

    hidden: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


def confine(
    memory_bytes: int, parent_pid: int, *, with_gpu: bool = False, files: Files | None = None
) -> tuple[str, str]:
    """Apply the limits to this process; called before anything is imported that they are to hold.

    `with_gpu`: the driver of an NVIDIA GPU reserves address space without end, so that only what is really written
    to can be limited (RLIMIT_DATA instead of RLIMIT_AS).
    Returns why the network could not be cut off, and why files could not be hidden; "" where that holds. Without
    `files` they are left alone.
    """
    if memory_bytes:
        if not with_gpu:
            _limit(resource.RLIMIT_AS, memory_bytes)
        _limit(resource.RLIMIT_DATA, min(memory_bytes, share_of(physical_bytes())))
    _be_first_to_go()
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None, use_errno=True)
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    open_network = cut_network()
    if sys.platform == "linux":
        with contextlib.suppress(
            OSError, AttributeError
        ):  # after the namespaces: a change of rights clears it
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the signal was set
        raise SystemExit(0)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    open_files = "nobody asked for it"
    if files is not None:
        scratch = take_scratch()
        own = (str(scratch),) if scratch is not None else ()
        open_files = hide_files(files.hidden, files.readable, (*files.writable, *own))
    return open_network, open_files


def physical_bytes() -> int:
    """The memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def share_of(physical: int) -> int:
    """What a model may fill of it, so that the system keeps running: a bomb is then an error, no outage."""
    return physical - max(physical // 8, min(SYSTEM_BYTES, physical // 2))


def _be_first_to_go() -> None:
    """Where memory runs out all the same, the kernel is to end the model and not its agent."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def allow_cpu_seconds(seconds: float) -> None:
    """Let this process use `seconds` of CPU from now on; more and the kernel ends it.

    A second line behind the agent's own deadline: it holds even when the agent is stopped. Only the soft
    limit moves, because a lowered hard limit could never be raised again.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, hard))


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (ceiling, ceiling))
