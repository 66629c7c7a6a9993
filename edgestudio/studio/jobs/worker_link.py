"""Starts workers, runs one request in each, and turns how it ends into a result or one error."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgestudio.studio.jobs.child import (
    child_environment,
    end_process,
    memory_in_use,
    spawn_options,
    until_gone,
)
from edgestudio.wire import errors
from edgestudio.wire.errors import EdgeStudioError, JobError
from edgestudio.wire.processes import start_process

# One event is one line; a large model's summary is long.
_LINE_LIMIT = 64 << 20
_TAIL_LINES = 50
_FAREWELL_S = 5.0
_WATCH_S = 0.25

Event = dict[str, Any]


async def start_worker(command: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a worker that waits for its request; raises JobError `worker-unavailable`."""
    try:
        return await start_process(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            env=child_environment(),
            **spawn_options(),
        )
    except OSError as error:
        raise JobError(
            f"A worker process could not be started: {error.strerror or error}",
            hint="Close other programs, or check that this installation is complete.",
            code="worker-unavailable",
        ) from error


async def run_in_worker(
    process: asyncio.subprocess.Process,
    request: Mapping[str, Any],
    on_event: Callable[[Event], None],
    *,
    grace_s: float = 2.0,
    timeout_s: float | None = None,
    memory_bytes: int | None = None,
) -> dict[str, Any]:
    """Send a worker that waits its request, pass on its events, return its result.

    With `memory_bytes` the memory in use is watched from here: only Linux lets a worker bound its own.

    Raises the error that the worker reported, JobError `job-crashed` with the signal and its last lines,
    JobError `job-timeout` or `memory`; a cancellation ends the worker's whole process group before it passes.
    """
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
    listening = asyncio.ensure_future(_collect(process, tail))
    conversing = asyncio.ensure_future(_converse(process, request, on_event))
    leaving = asyncio.ensure_future(until_gone(process))
    growing = asyncio.ensure_future(_outgrown(process, memory_bytes))
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.wait({conversing, leaving, growing}, return_when=asyncio.FIRST_COMPLETED)
            if growing.done() and not conversing.done():
                raise JobError(
                    "There is not enough memory for this job.",
                    hint="Use a smaller model or less data.",
                    code="memory",
                    details="".join(tail),
                )
            if not leaving.done():  # it has said its last word; give it time to end by itself
                await asyncio.wait({leaving}, timeout=_FAREWELL_S)
    except TimeoutError:
        raise JobError(
            f"The job was stopped: it took longer than {timeout_s:g} s.",
            hint="Try a smaller model or less data.",
            code="job-timeout",
            details="".join(tail),
        ) from None
    finally:
        status = process.returncode
        # Also after a normal end: what the worker may have left running in its group goes with it.
        await end_process(process, grace_s)
        await asyncio.wait({conversing, listening}, timeout=_FAREWELL_S)
        for task in (conversing, listening, leaving, growing):
            task.cancel()
    await asyncio.gather(listening, leaving, growing, return_exceptions=True)
    return _outcome(await conversing, status or 0, tail)


async def _converse(
    process: asyncio.subprocess.Process, request: Mapping[str, Any], on_event: Callable[[Event], None]
) -> Event | None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the crash is reported by how it ended
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
    async for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a library that kept a copy of the real stdout; nothing that we said
        if not isinstance(event, dict):
            continue
        if event.get("event") in ("done", "failed"):
            return event
        on_event(event)
    return None


async def _outgrown(process: asyncio.subprocess.Process, memory_bytes: int | None) -> None:
    """Return once the worker and its children have more memory in use than they may; else never."""
    if memory_bytes is None:
        await asyncio.Event().wait()
    limit = memory_bytes or 0
    while process.returncode is not None or memory_in_use(process.pid) <= limit:  # noqa: ASYNC110  no event for this
        await asyncio.sleep(_WATCH_S)


async def _collect(process: asyncio.subprocess.Process, tail: collections.deque[str]) -> None:
    assert process.stderr is not None
    with contextlib.suppress(ValueError):  # a single line longer than the limit
        async for line in process.stderr:
            tail.append(line.decode(errors="replace"))


def _outcome(terminal: Event | None, status: int, tail: collections.deque[str]) -> dict[str, Any]:
    if terminal is None:
        raise _crash(status, "".join(tail))
    if terminal["event"] == "done":
        result = terminal.get("result")
        return result if isinstance(result, dict) else {}
    raise rebuilt_error(terminal, "".join(tail))


def _crash(status: int, tail: str) -> JobError:
    hint = "A library crashed on this model; the studio is not affected. The details hold its last lines."
    if status >= 0:
        how = f"ended with status {status} and no result"
    else:
        name = _signal_name(-status)
        how = f"was ended by {name}"
        if name == "SIGKILL":
            hint = "The system ended it, most likely for want of memory. Close other programs."
    return JobError(f"The worker {how}.", hint=hint, code="job-crashed", details=tail)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def rebuilt_error(event: Mapping[str, Any], tail: str = "") -> EdgeStudioError:
    """The error that a worker reported, as the same class of the tree, so that exit codes hold."""
    kind = getattr(errors, str(event.get("type", "")), JobError)
    if not (isinstance(kind, type) and issubclass(kind, EdgeStudioError)):
        kind = JobError
    return kind(
        str(event.get("message") or "The job failed without saying why."),
        hint=str(event.get("hint") or ""),
        code=str(event.get("code") or "job-failed"),
        details=str(event.get("details") or "") or tail,
    )
