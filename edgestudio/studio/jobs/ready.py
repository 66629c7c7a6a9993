"""Keeps one worker started and waiting, so that the next job does not wait for a process and its imports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from edgestudio.studio.jobs.child import end_process
from edgestudio.studio.jobs.worker_link import start_worker
from edgestudio.wire.errors import JobError

# A job that just began, or a window that just opened, has the machine to itself for so long.
_LATER_S = 1.5
_GRACE_S = 0.5


class ReadyWorker:
    """A worker without a request: it takes its limits with the request, and ends by itself when the studio does.

    Nothing waits unless `keep` was called. Call everything on the loop thread.
    """

    def __init__(self, command: Sequence[str], *, later_s: float = _LATER_S) -> None:
        self._command = [*command, "--ready"]
        self._later_s = later_s
        self._is_kept = False
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process that waits, if one does."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def keep(self) -> None:
        """From now on have a worker ready, soon after each job took one."""
        self._is_kept = True
        self._renew()

    def take(self) -> asyncio.subprocess.Process | None:
        """The waiting worker, which now is the caller's; None when there is none or it has died."""
        process, self._process = self._process, None
        self._renew()
        return process if process is not None and process.returncode is None else None

    async def stop(self) -> None:
        """End the waiting worker and start no other; returns when it is gone."""
        self._is_kept = False
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
        process, self._process = self._process, None
        if process is not None:
            await end_process(process, _GRACE_S)

    def _renew(self) -> None:
        if self._is_kept and (self._starting is None or self._starting.done()):
            self._starting = asyncio.ensure_future(self._start())

    async def _start(self) -> None:
        await asyncio.sleep(self._later_s)
        if self.pid is not None:
            return
        # Not cancelled half-way: a process that was started is always known here.
        starting = asyncio.ensure_future(start_worker(self._command))
        try:
            self._process = await asyncio.shield(starting)
        except JobError:
            return  # the next job tries by itself, and says why it cannot
        except asyncio.CancelledError:
            with contextlib.suppress(JobError):
                self._process = await starting
            raise
