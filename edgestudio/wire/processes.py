"""Starting a child process on an event loop so that a start which is cancelled comes to an end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

_CONNECTED_S = 1.0


async def start_process(*command: str, **options: Any) -> asyncio.subprocess.Process:
    """`asyncio.create_subprocess_exec`; cancelled meanwhile, it ends what it has started and then passes that on.

    Of itself asyncio (up to Python 3.13 at least) kills a process whose start is cancelled before its pipes are
    connected, and then waits for ever for these pipes to close. Raises OSError when `command` cannot be started.
    """
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*command, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _ended(starting, is_group=bool(options.get("start_new_session")))
        raise


async def _ended(starting: asyncio.Task[asyncio.subprocess.Process], *, is_group: bool) -> None:
    while not starting.done():
        # A few turns of the loop connect the pipes. A loop that ends has cancelled the start as well: then it
        # takes a second time to get asyncio out of its wait.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({starting}, timeout=_CONNECTED_S)
        if not starting.done():
            starting.cancel()
    if starting.cancelled() or starting.exception() is not None:
        return
    process = starting.result()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if is_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    await process.wait()
    # asyncio would let go of its pipes in its next turn, which a loop that ends does not have.
    getattr(process, "_transport").close()  # noqa: B009 - it has no public name
