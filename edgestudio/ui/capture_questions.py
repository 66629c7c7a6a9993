"""What a board keeps of its inputs, asked in dialogs: kept, fetched, removed, and done again here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from edgestudio.studio.app import Studio
from edgestudio.studio.commands.commands import Command
from edgestudio.ui import wording
from edgestudio.ui.ask import Answers, Question
from edgestudio.ui.board_asking import BoardAsker, is_paired, number, runs_something, which_model
from edgestudio.ui.desk import Desk
from edgestudio.ui.requests import Requests
from edgestudio.wire.capture import SUFFIX

_MOST_MB = 256.0


class CaptureQuestions(BoardAsker):
    """Adds its commands to the desk's."""

    def __init__(self, desk: Desk, requests: Requests, window: QWidget) -> None:
        super().__init__(desk, requests, window)
        for name, title, run, enabled, description in (
            ("board.capture", "Keep inputs on the board…", self._capture, runs_something,
             "A bounded ring of inputs with all that came of them"),
            ("board.capture_fetch", "Fetch kept inputs…", self._fetch, is_paired, ""),
            ("board.capture_clear", "Remove kept inputs…", self._clear, is_paired, ""),
        ):  # fmt: skip
            desk.commands.add(Command(name, title, run, "board", "", enabled, description))
        desk.commands.add(Command(
            "model.replay", "Replay kept inputs…", self._replay, "model",
            description="Does captured inferences again, here, and says which stage differs first",
        ))  # fmt: skip

    def _capture(self) -> None:
        board = self._board()
        if board is None:
            return

        async def work(studio: Studio, said: Answers) -> str:
            every = number(said["every"], "How many", 1, 1_000_000)
            below = number(said["below"], "The confidence", 0, 1)
            limit = number(said["limit"], "The room", 0.1, _MOST_MB)
            is_on = said["what"] == "on"
            view = await studio.captures.switch(
                board.id, said["model"], is_on=is_on, every=int(every or 1) if is_on else 1,
                confidence_below=below if is_on else None,
                max_bytes=int(limit * 2**20) if is_on and limit else None,
            )  # fmt: skip
            return _kept(view)

        on = Question(
            "what", "From now on", kind="choice", choices=(("on", "Keep inputs"), ("off", "Keep none"))
        )
        questions = [
            which_model(board), on,
            Question("every", "One of how many", "1", is_required=False),
            Question("below", "Only below the confidence", hint="From 0 to 1; empty: any.", is_required=False),
            Question("limit", "Room on the board, MB", hint=f"Up to {_MOST_MB:.0f}; the oldest go first.",
                     is_required=False),
        ]  # fmt: skip
        self._ask(
            "capture-dialog", f"Keep inputs on {board.name}", questions, work, accept="Apply",
            sentence="Inputs stay on the board, with their outputs and sensors, until they are fetched or removed.",
        )  # fmt: skip

    def _fetch(self) -> None:
        board = self._board()
        if board is None:
            return
        dialog = QFileDialog(self._window, f"Fetch what {board.name} kept into …")
        dialog.setObjectName("capture-folder-dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)

        async def fetch(studio: Studio, folder: Path) -> None:
            files = await studio.captures.fetch(board.id, folder)
            if files:
                studio.notices.add(
                    "success", f"{len(files)} captures from {board.name} are in {folder}.",
                    hint="Model > Replay kept inputs … does them again here.",
                )  # fmt: skip
            else:
                studio.notices.add("info", f"{board.name} has kept nothing yet.")

        dialog.fileSelected.connect(lambda name: self._serve(lambda studio: fetch(studio, Path(name))))
        dialog.open()

    def _clear(self) -> None:
        board = self._board()
        if board is None:
            return

        async def work(studio: Studio, said: Answers) -> str:
            return f"{await studio.captures.clear(board.id)} captures were removed from {board.name}."

        self._ask(
            "capture-clear-dialog", f"Remove what {board.name} kept?", [], work, accept="Remove",
            sentence="All captures leave the board. Those that were fetched stay where they are.",
        )  # fmt: skip

    def _replay(self) -> None:
        dialog = QFileDialog(self._window, "Replay kept inputs", "", f"Captures (*{SUFFIX});;All files (*)")
        dialog.setObjectName("replay-dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)

        async def replay(studio: Studio, names: list[str]) -> None:
            report = await studio.captures.replay([Path(name) for name in names])
            rows = report["captures"]
            same = sum(bool(each["equal"]) for each in rows)
            details = "\n".join(f"{each['id']}: {_verdict(each)}" for each in rows)
            studio.notices.add(
                "success" if report["equal"] else "warning",
                f"{same} of {len(rows)} captured inferences are bit-equal here.",
                hint="" if report["equal"] else f"What differs first: {report['first_difference']}.",
                details=details,
            )

        dialog.filesSelected.connect(lambda names: self._serve(lambda studio: replay(studio, list(names))))
        dialog.open()


def _kept(view: Mapping[str, Any]) -> str:
    rules = ", ".join(f"{name} (1 in {rule['every']})" for name, rule in view["models"].items())
    room = f"{wording.size(view['size_bytes'])} of {wording.size(view['max_bytes'])}"
    return f"Kept from now on: {rules or 'nothing'}. {len(view['captures'])} captures there, {room} used."


def _verdict(capture: Mapping[str, Any]) -> str:
    return "bit-equal" if capture["equal"] else f"{capture['first_difference']} differs first"
