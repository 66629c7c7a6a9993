"""Runs the application as it is in this process, with a play by the hand in a thread beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol


class Play(Protocol):
    """What is played on the window; `failed` says afterwards what went wrong."""

    failed: list[str]

    def play(self) -> None:
        """Everything, from the first step to the last."""


def perform(make: Callable[[Any], Play]) -> int:
    """Open the window, play what `make` makes of the application, close it; the exit status, 0 if nothing failed."""
    from PySide6.QtCore import QTimer

    from edgestudio.ui import app as application

    outcome: list[Play] = []

    class Watched(application.App):
        """The application as it is, known to the play."""

        def __init__(self, studio: Any) -> None:
            super().__init__(studio)
            QTimer.singleShot(0, self._begin_play)

        def _begin_play(self) -> None:
            made = make(self)
            outcome.append(made)

            def play() -> None:
                try:
                    made.play()
                finally:
                    self.bridge.post(self.end)

            threading.Thread(target=play, name="hand", daemon=True).start()

    application.App = Watched  # type: ignore[misc]
    status = application.run([])
    return status or (1 if not outcome or outcome[0].failed else 0)
