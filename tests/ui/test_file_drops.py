"""Files from other programs over the window's boards: what the window says, and what it then runs."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint

from edgestudio.ui.file_drops import FileDrops
from edgestudio.ui.panels.devices import DevicesPanel
from tests.ui.parts import Bench, board, model


class Follower:
    """Stands for the window's requests: hears of an ended opening at once."""

    def follow(self, future: Future, done) -> None:
        future.add_done_callback(lambda ended: done(ended.result()))


@pytest.fixture
def panel(qtbot, bench: Bench) -> DevicesPanel:
    made = DevicesPanel(bench.desk)
    qtbot.addWidget(made)
    made.resize(420, 600)
    made.show()
    qtbot.waitExposed(made)
    return made


def middle(panel: DevicesPanel, key: str = "b1") -> QPoint:
    card = panel.cards[key]
    return card.mapToGlobal(card.rect().center())


@pytest.fixture
def opening(bench: Bench, monkeypatch) -> Future:
    """What opening comes to, which the test says."""
    future: Future = Future()
    run = bench.desk.commands.run

    def answered(command_id: str, **arguments):
        run(command_id, **arguments)
        return future if command_id == "model.open" else None

    monkeypatch.setattr(bench.desk.commands, "run", answered)
    return future


def test_a_file_over_a_board_is_opened_and_installed_there(
    panel, bench: Bench, opening: Future, qtbot
) -> None:
    bench.put(board())
    drops = FileDrops(bench.desk, Follower(), panel, lambda files: None)
    files = [Path("/models/net.onnx")]
    qtbot.waitUntil(lambda: drops.aim(files, middle(panel)).words.endswith("install it on b1"))
    assert panel.cards["b1"].property("drop") == "hover"
    drops.aim(files, middle(panel)).drop()
    assert bench.runs == [("model.open", {"paths": files})]
    row = model()
    opening.set_result([row])
    assert bench.runs[1:] == [("board.push", {"model": row.sha256, "boards": ["b1"]})]
    drops.left()
    assert panel.cards["b1"].property("drop") == ""


def test_what_could_not_be_opened_is_not_installed(panel, bench: Bench, opening: Future, qtbot) -> None:
    bench.put(board())
    drops = FileDrops(bench.desk, Follower(), panel, lambda files: None)
    qtbot.waitUntil(lambda: "install" in drops.aim([Path("a")], middle(panel)).words)
    drops.aim([Path("a")], middle(panel)).drop()
    opening.set_result([None])
    assert [name for name, _ in bench.runs] == ["model.open"]


@pytest.mark.parametrize(
    ("fields", "files", "says"),
    [
        ({"is_paired": False}, ["a.onnx"], "Pair this board first"),
        ({"presence": "offline"}, ["a.onnx"], "This board is offline"),
        ({}, ["a.onnx", "b.onnx"], "one alone"),
    ],
)
def test_where_nothing_can_be_installed_files_are_opened_and_why_is_said(
    panel, bench: Bench, qtbot, fields, files, says
) -> None:
    bench.put(board(**fields))
    opened: list[list[Path]] = []
    drops = FileDrops(bench.desk, Follower(), panel, opened.append)
    paths = [Path(name) for name in files]
    qtbot.waitUntil(lambda: says in drops.aim(paths, middle(panel)).words)
    drops.aim(paths, middle(panel)).drop()
    assert opened == [paths]
    assert bench.runs == []


def test_beside_the_boards_files_are_opened(panel, bench: Bench) -> None:
    bench.put(board())
    opened: list[list[Path]] = []
    drops = FileDrops(bench.desk, Follower(), panel, opened.append)
    aim = drops.aim([Path("a.onnx")], panel.mapToGlobal(QPoint(-50, -50)))
    assert aim.words == "Drop to open a.onnx"
    aim.drop()
    assert opened == [[Path("a.onnx")]]


def test_a_row_of_the_table_is_a_place_too(panel, bench: Bench, qtbot) -> None:
    bench.put(board())
    panel.findChild(object, "devices-switch").click()
    table = panel.table
    where = table.viewport().mapToGlobal(table.visualRect(table.model().index(0, 0)).center())
    drops = FileDrops(bench.desk, Follower(), panel, lambda files: None)
    qtbot.waitUntil(lambda: "install it on" in drops.aim([Path("a.onnx")], where).words)
