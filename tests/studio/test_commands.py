"""One list of commands: complete, without double shortcuts, enabled by what is selected."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgestudio.studio.app import Studio
from edgestudio.studio.commands.catalogue import build_commands
from edgestudio.studio.commands.commands import Command, Selection
from edgestudio.studio.loop import LoopThread
from edgestudio.studio.rows import ActiveModel, BoardRow, JobRow, ModelRow

PROMISED = (
    "model.open", "model.open_sample", "model.remove", "model.export", "optimize.run", "job.cancel",
    "job.retry", "board.add_simulated", "board.add_this_computer", "board.add_address", "board.pair",
    "board.unpair", "board.push", "board.rollback", "board.forget", "app.quit", "app.settings", "app.palette",
    "model.rename", "model.set_tags", "model.set_version", "model.note", "model.reveal", "model.publish",
    "model.import_registry", "model.open_in_netron", "model.edit", "edit.undo", "edit.redo", "model.check",
    "model.diff", "optimize.doctor", "optimize.sensitivity", "project.save", "project.open", "project.restore",
    "board.invite", "keys.rotate", "keys.export", "keys.import", "dashboard.export",
)  # fmt: skip
MODEL = ModelRow("a" * 64, "m", "/m", "onnx", 1, 0.0)
STRANGER = BoardRow("b", "pi", "127.0.0.1", 1)
PAIRED = BoardRow("c", "pi", "127.0.0.1", 1, "online", is_paired=True)
SERVING = BoardRow(
    "d", "pi", "127.0.0.1", 1, "online", is_paired=True, active=(ActiveModel("m", 1, "1", "a" * 64),)
)
GONE = BoardRow("e", "pi", "127.0.0.1", 1, "offline", is_paired=True)


class Window:
    """What a window would be asked, written down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.files: list[Path] = []

    def ask_model_files(self) -> list[Path]:
        self.asked.append("files")
        return self.files

    def ask_save_path(self, title: str, suggested: str) -> Path | None:
        self.asked.append(f"save {suggested}")
        return None

    def ask_text(self, title: str, prompt: str, initial: str = "") -> str | None:
        self.asked.append(f"text {title}")
        return None

    def show(self, what: str) -> None:
        self.asked.append(f"show {what}")

    def view(self, action: str) -> None:
        self.asked.append(f"view {action}")

    def close(self) -> None:
        self.asked.append("close")


class Desk:
    def __init__(self) -> None:
        self.loop = LoopThread()
        self.studio = Studio()
        self.window = Window()
        self.selection = Selection()
        self.commands = build_commands(self.studio, self.loop.submit, self.window, lambda: self.selection)


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.loop.submit(made.studio.stop()).result(30)
    assert made.loop.stop()


def test_the_list_is_complete_and_readable(desk):
    ids = [command.id for command in desk.commands]
    assert set(PROMISED) <= set(ids)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", command_id) for command_id in ids)
    assert all(command.title and command.title[0].isupper() for command in desk.commands)
    assert "board.push" in desk.commands
    shortcuts = [command.shortcut for command in desk.commands if command.shortcut]
    assert len(shortcuts) == len(set(shortcuts))


def test_a_taken_id_or_shortcut_is_refused(desk):
    with pytest.raises(ValueError, match=r"model\.open"):
        desk.commands.add(Command("model.open", "Again", lambda: None, "file"))
    with pytest.raises(ValueError, match=r"Ctrl\+O"):
        desk.commands.add(Command("model.other", "Other", lambda: None, "file", "Ctrl+O"))


@pytest.mark.parametrize(
    ("command", "selection", "enabled"),
    [
        ("model.open", Selection(), True),
        ("model.remove", Selection(), False),
        ("model.remove", Selection(MODEL), True),
        ("optimize.run", Selection(MODEL), True),
        ("board.pair", Selection(boards=(STRANGER,)), True),
        ("board.pair", Selection(boards=(PAIRED,)), False),
        ("board.pair", Selection(boards=(STRANGER, PAIRED)), False),
        ("board.unpair", Selection(boards=(GONE,)), True),
        ("board.push", Selection(MODEL, (PAIRED,)), True),
        ("board.push", Selection(MODEL, (STRANGER, PAIRED)), True),
        ("board.push", Selection(MODEL, (GONE,)), False),
        ("board.push", Selection(boards=(PAIRED,)), False),
        ("board.rollback", Selection(boards=(PAIRED,)), False),
        ("board.rollback", Selection(boards=(SERVING,)), True),
        ("model.edit", Selection(MODEL), True),
        ("model.edit", Selection(replace(MODEL, format="tflite")), False),
        ("optimize.doctor", Selection(MODEL), False),
        ("optimize.doctor", Selection(replace(MODEL, data_path="/d")), True),
        ("board.invite", Selection(boards=(STRANGER,)), False),
        ("edit.undo", Selection(MODEL), False),
        ("project.restore", Selection(), False),
        ("job.cancel", Selection(job=JobRow("j", "bench", "B", "running")), True),
        ("job.cancel", Selection(job=JobRow("j", "bench", "B", "done")), False),
        ("job.retry", Selection(job=JobRow("j", "bench", "B", "failed")), False),
    ],
)
def test_the_selection_enables(desk, command, selection, enabled):
    desk.selection = selection
    assert desk.commands.is_enabled(command) is enabled


def test_what_is_not_enabled_does_nothing(desk):
    assert desk.commands.run("model.remove") is None
    assert desk.commands.run("board.push") is None
    assert desk.window.asked == []


def test_the_window_is_asked_for_what_is_missing(desk):
    desk.commands.run("model.open")
    desk.selection = Selection(MODEL, (STRANGER,))
    desk.commands.run("optimize.run")
    desk.commands.run("board.pair")
    desk.commands.run("board.add_address")
    desk.commands.run("app.palette")
    desk.commands.run("view.reset")
    desk.commands.run("app.quit")
    assert desk.window.asked == [
        "files", "show recipe", "text Pair", "text Add a board", "show palette", "view reset", "close",
    ]  # fmt: skip


def test_a_failure_becomes_a_notice_and_nothing_is_raised(desk, tmp_path):
    future = desk.commands.run("model.open", paths=[tmp_path / "absent.onnx", tmp_path / "gone.onnx"])
    assert future is not None
    assert future.result(30) == [None, None]
    notices = list(desk.studio.notices.rows)
    assert [notice.level for notice in notices] == ["error", "error"]
    assert "absent.onnx" in notices[0].message


def test_a_rename_is_taken_back_by_its_shortcut(desk):
    commands = desk.commands
    row = commands.run("model.open_sample").result(60)
    desk.selection = Selection(row)
    commands.run("model.rename", name="net").result(30)
    assert desk.studio.models.get(row.sha256).name == "net"
    assert commands.is_enabled("edit.undo")
    assert commands.run("edit.undo").result(30) == f"Rename: {row.name}"
    assert desk.studio.models.get(row.sha256).name == row.name
    commands.run("model.remove").result(30)
    assert desk.studio.models.rows.get(row.sha256) is None
    commands.run("edit.undo").result(30)
    assert desk.studio.models.get(row.sha256).name == row.name


def test_what_needs_more_shows_its_place(desk):
    desk.selection = Selection(MODEL)
    for command in ("model.edit", "model.publish", "model.check", "keys.export"):
        assert desk.commands.run(command) is None
    shown = [each for each in desk.window.asked if each.startswith("show")]
    assert shown == ["show edit-model", "show publish", "show check", "show recovery-kit-export"]
