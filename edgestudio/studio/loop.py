"""One asyncio loop in its own thread, for mDNS, board sessions and child processes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class LoopThread:
    """Runs coroutines off the UI thread; `stop` cancels what is left and lets its clean-up run."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._quit: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="edgestudio-loop", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        # Runner.close cancels what is still pending and runs its `finally` blocks.
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(_report)
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._quit = asyncio.Event()
        self._ready.set()
        await self._quit.wait()

    @property
    def is_running(self) -> bool:
        """True until the thread has ended."""
        return self._thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop from any thread; cancelling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the loop and wait for its thread; False when it did not end in time."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._quit.set)
            self._thread.join(timeout_s)
        return not self._thread.is_alive()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    _log.error("%s", context.get("message", "an error outside any task"), exc_info=error)
