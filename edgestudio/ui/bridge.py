"""The one way from the loop's thread to the UI's: events into stores, results of coroutines into callbacks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Qt, Signal, Slot

from edgestudio.studio.bus import EventBus, RowEvent
from edgestudio.studio.loop import LoopThread
from edgestudio.studio.stores import Stores

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Bridge(QObject):
    """Lives on the UI thread; anything may be posted to it from any thread, and runs there in order.

    A burst of events costs one wake-up of the UI, not one each.
    """

    _woken = Signal()

    def __init__(self, loop: LoopThread, bus: EventBus, stores: Stores) -> None:
        super().__init__()
        self._loop, self._stores = loop, stores
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], object]] = []
        self._is_open = True
        self._woken.connect(self._drain, Qt.ConnectionType.QueuedConnection)
        self._unsubscribe = bus.subscribe(self._take)

    def post(self, work: Callable[[], object]) -> None:
        """Run `work` on the UI thread, after everything that was posted before; never once closed."""
        with self._lock:
            if not self._is_open:
                return
            must_wake = not self._waiting
            self._waiting.append(work)
        if must_wake:
            self._woken.emit()

    def call(
        self,
        work: Coroutine[Any, Any, T],
        done: Callable[[T], object] | None = None,
        failed: Callable[[BaseException], object] | None = None,
    ) -> Future[T]:
        """Start a coroutine on the loop; `done` or `failed` is called on the UI thread."""
        future = self._loop.submit(work)

        def settle(ended: Future[T]) -> None:
            if ended.cancelled():
                return
            error = ended.exception()
            if error is None:
                if done is not None:
                    result = ended.result()
                    self.post(lambda: done(result))
            elif failed is not None:
                self.post(lambda: failed(error))
            else:
                _log.error("a task failed and nobody asked", exc_info=error)

        future.add_done_callback(settle)
        return future

    def close(self) -> None:
        """Take no more events; what waits is dropped."""
        self._unsubscribe()
        with self._lock:
            self._is_open = False
            self._waiting.clear()

    def _take(self, event: RowEvent) -> None:
        self.post(lambda: self._stores.apply(event))

    @Slot()
    def _drain(self) -> None:
        # What arrives while this runs wakes the UI again, so that painting and input get their turn.
        with self._lock:
            batch, self._waiting = self._waiting, []
        for at, work in enumerate(batch):
            try:
                work()
            except Exception:
                self._put_back(batch[at + 1 :])
                raise

    def _put_back(self, rest: list[Callable[[], object]]) -> None:
        """One listener failed, which its own report says; the others still get their turn."""
        with self._lock:
            self._waiting[:0] = rest
            must_wake = self._is_open and bool(rest)
        if must_wake:
            self._woken.emit()
