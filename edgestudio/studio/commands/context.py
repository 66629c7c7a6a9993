"""What the bodies of commands share: the studio, its loop, the window, and what is selected."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from edgestudio.studio.app import Studio
from edgestudio.studio.commands.commands import Selection, Window
from edgestudio.studio.rows import ModelRow

Submit = Callable[[Coroutine[Any, Any, Any]], "Future[Any]"]


class CommandContext:
    """Arguments win, the selection comes second, else the window is asked."""

    def __init__(
        self, studio: Studio, submit: Submit, window: Window, selection: Callable[[], Selection]
    ) -> None:
        self._studio = studio
        self._submit = submit
        self._window = window
        self._selection = selection

    def _start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return self._submit(self._studio.guard(work))

    def _model(self, model: str | None) -> str | None:
        selected = self._selection().model
        return model or (selected.sha256 if selected else None)

    def _row(self, model: str | None) -> ModelRow | None:
        sha256 = self._model(model)
        return self._studio.models.find(sha256) if sha256 else None

    def _board(self, board: str | None) -> str | None:
        selected = self._selection().board
        return board or (selected.id if selected else None)
