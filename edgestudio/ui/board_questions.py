"""What the boards' commands need to know, asked in dialogs: where a model may run, how fast and right it is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QWidget

from edgestudio.studio.app import Studio
from edgestudio.studio.boards.provisioning import provision
from edgestudio.studio.commands.actions import is_target
from edgestudio.studio.commands.commands import Command, Selection
from edgestudio.ui import wording
from edgestudio.ui.ask import Answers, AskDialog, Question
from edgestudio.ui.board_asking import BoardAsker, number, runs_something, which_model
from edgestudio.ui.desk import Desk
from edgestudio.ui.requests import Done, Failed, Requests
from edgestudio.wire import api
from edgestudio.wire.release import ACCELERATORS


class BoardQuestions(BoardAsker):
    """Adds its commands to the desk's."""

    def __init__(self, desk: Desk, requests: Requests, window: QWidget) -> None:
        super().__init__(desk, requests, window)
        for name, title, run, enabled, description in (
            ("board.push_options", "Install with options…", self._push, _can_push,
             "Under another name, with other data for the dry run, or on a chosen accelerator"),
            ("board.bench", "Benchmark on the board…", self._bench, runs_something,
             "Latency of what runs there, measured there"),
            ("board.evaluate", "Evaluate on the board…", self._evaluate, runs_something,
             "Accuracy of what runs there, on labelled data from here"),
            ("board.provision", "Prepare a board by a file…", self._provision, None,
             "For a board that nobody will sit in front of"),
        ):  # fmt: skip
            desk.commands.add(
                Command(name, title, run, "board", "", enabled or (lambda _: True), description)
            )

    # --- installing

    def _push(self) -> None:
        model = self._desk.stores.models.get(self._desk.selected.model)
        boards = [row for row in self._boards() if is_target(row)]
        if model is None or not boards:
            return

        def act(said: Answers, done: Done, failed: Failed) -> None:
            gpu = tuple(each.strip() for each in said["gpu"].split(",") if each.strip())
            self._desk.run(
                "board.push", model=model.sha256, boards=[row.id for row in boards], slot=said["name"] or None,
                pipeline=_path(said["pipeline"]), golden=_path(said["golden"]),
                accelerators=tuple(said["on"].split()), gpu=gpu,
            )  # fmt: skip
            done(None)

        questions = [
            Question("on", "Where it runs", kind="choice", choices=_places(), is_required=False),
            Question("gpu", "Made for the GPU", hint="Names or compute capabilities, separated by commas; "
                     "needed for engines that were built already.", is_required=False),
            Question("name", "Name there", hint="Empty: as the model that it was made from.", is_required=False),
            Question("pipeline", "Pipeline", kind="file", hint="Empty: the model's own.", is_required=False),
            Question("golden", "Data for the dry run", kind="data", hint="Empty: the model's own.",
                     is_required=False),
        ]  # fmt: skip
        names = ", ".join(row.name for row in boards)
        AskDialog(
            "push-dialog", f"Install {model.name}", self._window, questions, act, accept="Install",
            sentence=f"On {names}.",
        ).show()  # fmt: skip

    # --- what runs there

    def _bench(self) -> None:
        board = self._board()
        if board is None:
            return

        async def work(studio: Studio, said: Answers) -> str:
            minutes = number(said["soak"], "The minutes", 0, 24 * 60)
            found = await studio.boards.bench(board.id, model=said["model"], soak_minutes=minutes or 0.0)
            return f"{said['model']}: {_latency(found.get('latency_ms'))}"

        soak = Question("soak", "Go on for, minutes", hint="Empty: a short measurement.", is_required=False)
        self._ask(
            "bench-dialog", f"Benchmark on {board.name}", [which_model(board), soak], work, accept="Measure",
            sentence="The board goes on serving meanwhile; what it reports of its own load is on the dashboard.",
        )  # fmt: skip

    def _evaluate(self) -> None:
        board = self._board()
        if board is None:
            return

        async def work(studio: Studio, said: Answers) -> str:
            found = await studio.boards.evaluate(board.id, Path(said["data"]), model=said["model"])
            share = wording.accuracy(found.get("top1"))
            return f"{share} of {found.get('n', 0):,} items are right on {board.name}."

        data = Question(
            "data", "Labelled data", kind="data", hint="An .npz with x and y, or a folder by class."
        )
        self._ask(
            "evaluate-dialog",
            f"Evaluate on {board.name}",
            [which_model(board), data],
            work,
            accept="Evaluate",
        )

    # --- boards without a screen

    def _provision(self) -> None:
        async def work(studio: Studio, said: Answers) -> str:
            port = number(said["port"], "The port", 1, 65535)
            await provision(
                studio.paths, Path(said["file"]), said["name"], host=said["host"],
                port=int(port or api.DEFAULT_PORT),
            )  # fmt: skip
            await studio.boards.load()
            return f"Carry {said['file']} to the board like a key: edgestudio-agent provision FILE. Then remove it."

        questions = [
            Question("name", "Name of the board"),
            Question("host", "Address", hint="Empty: its name on the local network.", is_required=False),
            Question("port", "Port", str(api.DEFAULT_PORT), is_required=False),
            Question("file", "File", kind="new-file", hint="It holds the board's key."),
        ]
        self._ask(
            "provision-dialog", "Prepare a board by a file", questions, work, accept="Write",
            sentence="The board trusts this studio from its first start; no code is needed.",
        )  # fmt: skip


def _places() -> tuple[tuple[str, str], ...]:
    """Where a model may run, as choices: words in the order of preference, and how they read."""
    found = [("", "Where the board thinks best"), ("cpu", "On the processor alone")]
    for name in ACCELERATORS:
        if name != "cpu":
            found += [(f"{name} cpu", f"{name}, else the processor"), (name, f"{name} alone")]
    return tuple(found)


def _path(text: object) -> Path | None:
    return Path(str(text)) if text else None


def _latency(times: object) -> str:
    known: Mapping[str, Any] = times if isinstance(times, Mapping) else {}
    parts = [
        f"{key} {wording.latency(known[key])}" for key in ("p50", "p90", "p99") if known.get(key) is not None
    ]
    count = f", n {known['n']:,}" if isinstance(known.get("n"), int) else ""
    return (", ".join(parts) + count) or "the board measured nothing"


def _can_push(selection: Selection) -> bool:
    return selection.model is not None and any(is_target(board) for board in selection.boards)
