"""Runs work beside the UI thread and hands its result back on it; what was overtaken is dropped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from edgestudio.wire.errors import EdgeStudioError

_PATIENT_S = sys.getswitchinterval()
_EAGER_S = 0.0005
"""Every call into Qt gives the interpreter away: a frame of twenty calls that waits each time is a stutter."""
_at_work = 0
_at_work_lock = threading.Lock()


class Background(QObject):
    """One line of work: a new `run` overtakes the one before, whose result then never arrives."""

    _arrived = Signal(int, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._turn = 0
        self._done: Callable[[Any], object] = lambda _: None
        self._failed: Callable[[str], object] = lambda _: None
        self._arrived.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def run(
        self, work: Callable[[], Any], done: Callable[[Any], object], failed: Callable[[str], object]
    ) -> None:
        """Start `work` in a thread; `done` gets its result, or `failed` a sentence, on the UI thread."""
        self._turn += 1
        self._done, self._failed = done, failed
        threading.Thread(target=self._work, args=(self._turn, work), name="graph-work", daemon=True).start()

    def forget(self) -> None:
        """Drop whatever is under way."""
        self._turn += 1

    def _work(self, turn: int, work: Callable[[], Any]) -> None:
        result, problem = None, None
        _count(1)
        try:
            result = work()
        except EdgeStudioError as error:
            problem = error.sentence
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            problem = f"The graph cannot be shown: {error}"
        finally:
            _count(-1)
        try:
            self._arrived.emit(turn, result, problem)
        except RuntimeError:
            return  # the window was closed meanwhile

    def _deliver(self, turn: int, result: object, problem: object) -> None:
        if turn != self._turn:
            return
        if problem is None:
            self._done(result)
        else:
            self._failed(str(problem))


def _count(by: int) -> None:
    """While anything is at work, the UI thread gets its turn ten times as often."""
    global _at_work
    with _at_work_lock:
        _at_work += by
        sys.setswitchinterval(_EAGER_S if _at_work else _PATIENT_S)
