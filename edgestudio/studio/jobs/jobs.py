"""Heavy work in worker processes: a queue with lanes, states, cancel and retry."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.jobs.child import memory_limit, own_command
from edgestudio.studio.jobs.kinds import KINDS, JobKind
from edgestudio.studio.jobs.lane import Lane
from edgestudio.studio.jobs.ready import ReadyWorker
from edgestudio.studio.jobs.worker_link import Event, run_in_worker, start_worker
from edgestudio.studio.rows import JobRow
from edgestudio.wire.errors import EdgeStudioError, InputError, JobError

Receive = Callable[[dict[str, Any], Path], dict[str, Any]]

_LOG_LINES = 200
_ENDED_KEPT = 100
_LIGHT_AT_ONCE = 2


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[dict[str, Any]]
    is_cancel_wanted: bool = False


class JobService:
    """Runs jobs; each has one row that ends in exactly one of done, failed, crashed, cancelled."""

    def __init__(
        self,
        bus: EventBus,
        jobs_dir: Path,
        *,
        heavy_at_once: int = 1,
        worker_command: Sequence[str] | None = None,
        kinds: Mapping[str, JobKind] = KINDS,
        grace_s: float = 2.0,
        memory_limit: Callable[[int], int | None] = memory_limit,
    ) -> None:
        self.rows: Ledger[JobRow] = Ledger(bus, "jobs")
        self.folder = jobs_dir
        self._command = list(worker_command or own_command("--worker"))
        self.ready = ReadyWorker(self._command)
        self._kinds = kinds
        self._grace_s = grace_s
        self._memory_limit = memory_limit
        self._lanes = {"heavy": Lane(heavy_at_once), "light": Lane(_LIGHT_AT_ONCE)}
        self._running: dict[str, _Running] = {}
        self._again: dict[str, Callable[[], Awaitable[Any]]] = {}

    async def run(
        self,
        kind: str,
        params: Mapping[str, Any],
        *,
        title: str = "",
        subject: str | None = None,
        timeout_s: float | None = None,
        on_partial: Callable[[str, Any], None] | None = None,
        again: Callable[[], Awaitable[Any]] | None = None,
        receive: Receive | None = None,
        withdraw_on: frozenset[str] = frozenset(),
    ) -> dict[str, Any]:
        """Run one job to its end and return its result.

        `receive(result, out_dir)` runs in a thread while the job's folder still exists: it moves what the
        worker wrote to where it belongs, and a failure of it fails the job. `again` is what `retry` calls. An
        error whose code is in `withdraw_on` takes the row away: the caller knows what to do next.
        Raises the worker's error, or JobError when it crashed, took too long or was cancelled by `cancel`.
        """
        spec = self._kinds.get(kind)
        if spec is None:
            raise InputError(f"There is no job of the kind {kind!r}.", code="unknown-job")
        row = JobRow(uuid.uuid4().hex[:12], kind, title or spec.title, "queued", subject=subject)
        self.rows.put(row)
        self._forget_old()
        if again is not None:
            self._again[row.id] = again
        running = _Running(
            asyncio.ensure_future(self._execute(row, spec, params, timeout_s, on_partial, receive))
        )
        self._running[row.id] = running
        try:
            result: dict[str, Any] = await running.task
        except BaseException as error:
            current = asyncio.current_task()
            is_caller_cancelled = isinstance(error, asyncio.CancelledError) and (
                current is not None and current.cancelling() > 0
            )
            if isinstance(error, EdgeStudioError) and error.code in withdraw_on:
                self.rows.remove(row.id)
                self._again.pop(row.id, None)
                raise
            self._end_badly(row.id, error, is_cancelled=running.is_cancel_wanted)
            # The wish to cancel wins over an error that the cancelling caused.
            if running.is_cancel_wanted and not is_caller_cancelled:
                raise JobError(f"{row.title}: cancelled.", code="cancelled") from None
            raise
        finally:
            self._running.pop(row.id, None)
        self._end(row.id, "done", fraction=1.0)
        return result

    def allow_heavy(self, at_once: int) -> None:
        """Change how many heavy jobs may run at once; call it on the loop thread."""
        self._lanes["heavy"].resize(at_once)

    def cancel(self, job_id: str) -> bool:
        """Stop a queued or running job; False when it was over already."""
        running = self._running.get(job_id)
        if running is None or running.task.done():
            return False
        running.is_cancel_wanted = True
        running.task.cancel()
        return True

    def can_retry(self, job_id: str) -> bool:
        """True for a job that ended without success and knows how to start again."""
        row = self.rows.get(job_id)
        return row is not None and row.is_over and row.state != "done" and job_id in self._again

    async def retry(self, job_id: str) -> Any:
        """Do again what the job was part of, as a new job; the old row goes."""
        if not self.can_retry(job_id):
            raise InputError("This job cannot be started again.", code="cannot-retry")
        again = self._again.pop(job_id)
        self.rows.remove(job_id)
        return await again()

    def clear_ended(self) -> None:
        """Take the rows of jobs that are over out of the list."""
        for row in self.rows:
            if row.is_over:
                self.rows.remove(row.id)
                self._again.pop(row.id, None)

    async def stop(self) -> None:
        """Cancel everything and wait until every worker is gone."""
        waiting = [running.task for running in self._running.values()]
        for job_id in tuple(self._running):
            self.cancel(job_id)
        await asyncio.gather(*waiting, return_exceptions=True)
        await self.ready.stop()
        await asyncio.to_thread(self._remove_own)

    def _remove_own(self) -> None:
        for folder in self.folder.glob(f"{os.getpid()}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the folders of jobs whose studio is gone; a folder's name begins with its studio's pid."""
        with contextlib.suppress(OSError):
            for folder in self.folder.iterdir():
                owner = folder.name.partition("-")[0]
                if owner.isdigit() and int(owner) != os.getpid() and not psutil.pid_exists(int(owner)):
                    shutil.rmtree(folder, ignore_errors=True)

    async def _execute(
        self,
        row: JobRow,
        spec: JobKind,
        params: Mapping[str, Any],
        timeout_s: float | None,
        on_partial: Callable[[str, Any], None] | None,
        receive: Receive | None,
    ) -> dict[str, Any]:
        job_id = row.id
        async with self._lanes[spec.lane]:
            self.rows.change(job_id, state="running", started=time.time())
            out_dir = self.folder / f"{os.getpid()}-{job_id}"
            try:
                await asyncio.to_thread(out_dir.mkdir, parents=True, mode=0o700)
                request = {"id": job_id, "kind": row.kind, "params": dict(params), "out_dir": str(out_dir)}
                limit_s = timeout_s if timeout_s is not None else spec.timeout_s
                result = await run_in_worker(
                    self.ready.take() or await start_worker(self._command),
                    request,
                    lambda event: self._note(job_id, event, on_partial),
                    grace_s=self._grace_s,
                    timeout_s=limit_s,
                    memory_bytes=self._memory_limit(spec.memory_bytes),
                )
                return result if receive is None else await asyncio.to_thread(receive, result, out_dir)
            except OSError as error:
                raise JobError(
                    f"The job's files could not be written: {error.strerror or error}",
                    hint="Free some disk space, or check the permissions of the studio's folder.",
                    code="disk",
                ) from error
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, out_dir, ignore_errors=True))

    def _note(self, job_id: str, event: Event, on_partial: Callable[[str, Any], None] | None) -> None:
        what = event.get("event")
        if what == "phase":
            fraction = event.get("fraction")
            known = min(1.0, max(0.0, float(fraction))) if isinstance(fraction, int | float) else None
            self.rows.change(job_id, phase=str(event.get("name", "")), fraction=known)
        elif what == "log":
            row = self.rows.get(job_id)
            if row is not None:
                self.rows.change(job_id, log=(*row.log, str(event.get("line", "")))[-_LOG_LINES:])
        elif what == "partial" and on_partial is not None:
            on_partial(str(event.get("key", "")), event.get("value"))

    def _end_badly(self, job_id: str, error: BaseException, *, is_cancelled: bool) -> None:
        if is_cancelled or isinstance(error, asyncio.CancelledError):
            self._end(job_id, "cancelled", message="Cancelled.")
        elif isinstance(error, EdgeStudioError):
            state = "crashed" if error.code == "job-crashed" else "failed"
            self._end(job_id, state, message=error.message, hint=error.hint, details=error.details)
        else:
            self._end(job_id, "failed", message=f"This is a bug: {type(error).__name__}: {error}")

    def _end(self, job_id: str, state: str, **fields: Any) -> None:
        row = self.rows.get(job_id)
        if row is not None and not row.is_over:
            self.rows.change(job_id, state=state, ended=time.time(), **fields)

    def _forget_old(self) -> None:
        over = [row.id for row in self.rows if row.is_over]
        for job_id in over[:-_ENDED_KEPT]:
            self.rows.remove(job_id)
            self._again.pop(job_id, None)
