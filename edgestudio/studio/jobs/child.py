"""Starting and ending child processes: how to call ourselves, a clean environment, no orphans."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

_PACKAGE_PARENT = Path(__file__).parents[3]
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_POLL_S = 0.02


def own_command(*arguments: str) -> list[str]:
    """The command that starts this program again, installed, in a checkout or frozen into one file."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    # -P: never import from the folder that the user happens to be in.
    return [sys.executable, "-P", "-m", "edgestudio", *arguments]


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without proxies, with this package importable and few threads per library."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in _PROXIES}
    if not getattr(sys, "frozen", False):
        before = kept.get("PYTHONPATH")
        kept["PYTHONPATH"] = os.pathsep.join([str(_PACKAGE_PARENT), *([before] if before else [])])
    threads = str(max(1, min(4, os.cpu_count() or 1)))
    for name in _THREAD_VARIABLES:
        kept.setdefault(name, threads)
    kept.update({"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "HF_HUB_OFFLINE": "1"})
    kept.update(extra or {})
    return kept


def spawn_options() -> dict[str, Any]:
    """How a child starts: as leader of its own process group."""
    if os.name == "nt":
        return {"creationflags": 0x00000200}  # CREATE_NEW_PROCESS_GROUP
    return {"start_new_session": True}


async def end_process(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """Ask the process's group to end, wait, then kill the whole group; returns when it is gone.

    Finishes even when the caller is cancelled again meanwhile, and lets that cancellation pass afterwards.
    """
    reaping = asyncio.ensure_future(_reap(process, grace_s))
    cancelled: asyncio.CancelledError | None = None
    while not reaping.done():
        try:
            await asyncio.shield(reaping)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _reap(process: asyncio.subprocess.Process, grace_s: float) -> None:
    if process.returncode is None:
        _signal_group(process.pid, "terminate")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until_gone(process), grace_s)
    # Also when the leader ended in time: a grandchild may have stayed.
    _signal_group(process.pid, "kill")
    await until_gone(process)


async def until_gone(process: asyncio.subprocess.Process) -> int:
    """The exit status, as soon as there is one.

    `Process.wait` of Python 3.11 waits for the pipes as well, which a grandchild can hold open for ever.
    """
    while process.returncode is None:  # noqa: ASYNC110  asyncio has no event for this
        await asyncio.sleep(_POLL_S)
    return process.returncode


def memory_in_use(pid: int) -> int:
    """Bytes that a process and its children have in memory; 0 when it is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for member in (leader, *leader.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += int(member.memory_info().rss)
    return total


def memory_limit(wanted_bytes: int) -> int | None:
    """What to watch a worker for: at most the machine's memory; None where the worker bounds itself."""
    return None if sys.platform == "linux" else min(wanted_bytes, int(psutil.virtual_memory().total))


def _signal_group(pid: int, how: str) -> None:
    if os.name == "posix":
        number = signal.SIGTERM if how == "terminate" else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for member in [*leader.children(recursive=True), leader]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.terminate() if how == "terminate" else member.kill()
