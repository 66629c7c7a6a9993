"""What the dialogs about boards have in common: the selected board, its models, numbers that people type."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from PySide6.QtWidgets import QWidget

from edgestudio.studio.app import Studio
from edgestudio.studio.commands.actions import is_target
from edgestudio.studio.commands.commands import Selection
from edgestudio.studio.rows import BoardRow
from edgestudio.ui.ask import Answers, AskDialog, Question
from edgestudio.ui.desk import Desk
from edgestudio.ui.requests import Done, Failed, Requests
from edgestudio.wire.errors import InputError

Work = Callable[[Studio, Answers], Coroutine[Any, Any, Any]]


class BoardAsker:
    """Asks about the selected board; each dialog starts a service and shows its answer in place."""

    def __init__(self, desk: Desk, requests: Requests, window: QWidget) -> None:
        self._desk, self._requests, self._window = desk, requests, window

    def _ask(self, name: str, title: str, questions: list[Question], work: Work, **words: str) -> None:
        def act(said: Answers, done: Done, failed: Failed) -> None:
            self._requests.serve(lambda studio: work(studio, said), done, failed)

        AskDialog(name, title, self._window, questions, act, **words).show()

    def _serve(self, work: Callable[[Studio], Coroutine[Any, Any, Any]]) -> None:
        """Start what has no dialog to answer in; its failure becomes a notice."""
        self._requests.serve(work, lambda _: None, self._requests.report)

    def _boards(self) -> list[BoardRow]:
        found = (self._desk.stores.boards.get(key) for key in self._desk.selected.boards)
        return [row for row in found if row is not None]

    def _board(self) -> BoardRow | None:
        boards = self._boards()
        return boards[0] if len(boards) == 1 else None


def which_model(board: BoardRow) -> Question:
    """Which of the models that run on a board is meant."""
    names = tuple((each.model, f"{each.model} {each.version}".strip()) for each in board.active)
    return Question("model", "Model", kind="choice", choices=names)


def number(text: str, what: str, low: float, high: float) -> float | None:
    """What was typed, None where nothing was; raises InputError."""
    if not text.strip():
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InputError(f"{what} must be a number from {low:g} to {high:g}, not {text!r}.", code="bad-value")
    return value


def is_paired(selection: Selection) -> bool:
    """One board, and it can be reached as far as is known."""
    return selection.board is not None and is_target(selection.board)


def runs_something(selection: Selection) -> bool:
    """One board, on which a model runs."""
    return is_paired(selection) and selection.board is not None and bool(selection.board.active)
