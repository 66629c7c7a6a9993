from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton

from edgestudio.ui.dragging import model_mime
from edgestudio.ui.panels.devices import DevicesPanel
from tests.ui.parts import (
    SOURCE,
    VARIANT,
    Bench,
    active,
    board,
    deployment,
    drag_out,
    drag_over,
    drop_on,
    model,
    variant,
)


@pytest.fixture
def panel(qtbot, bench: Bench) -> DevicesPanel:
    made = DevicesPanel(bench.desk)
    qtbot.addWidget(made)
    made.resize(700, 500)
    made.show()
    qtbot.waitExposed(made)
    return made


def texts(panel: DevicesPanel, board_id: str = "b1") -> list[str]:
    return [
        label.text()
        for label in panel.cards[board_id].findChildren(QLabel)
        if label.isVisible() and label.text()
    ]


def test_a_card_says_who_where_and_what_runs(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(model(), variant(), board(active=(active(3),), sensors={"cpu_temperature": [57.2, "°C"]}))
    said = texts(panel)
    assert "Online · 127.0.0.1:4433" in said
    assert "digits 1.3 · release 3" in said
    assert "newest" in said
    assert "57 °C" in said
    assert "Online" in panel.cards["b1"].accessibleName()


def test_a_later_artifact_of_the_same_recipe_is_newer(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(model(), variant(), board(active=(active(),)))
    newer = model("d" * 64, "digits-int8-b", parent=SOURCE, recipe="INT8 static")
    bench.put(type(newer)(**{**{f: getattr(newer, f) for f in newer.__dataclass_fields__}, "created": 2.0}))
    assert "newer: digits-int8-b" in texts(panel)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"presence": "offline", "last_seen": 1.0}, "Offline, last seen 1970-01-01"),
        ({"presence": "unknown", "is_paired": False}, "Found, not paired"),
        ({"presence": "unknown"}, "Not connected"),
    ],
)
def test_presence_is_told_in_words_and_icons(panel: DevicesPanel, bench: Bench, fields, words) -> None:
    bench.put(board(**fields))
    assert any(text.startswith(words) for text in texts(panel))
    assert any(label.accessibleName().startswith(words) for label in panel.cards["b1"].findChildren(QLabel))


def test_a_simulated_board_cannot_be_mistaken(panel: DevicesPanel, bench: Bench, qtbot) -> None:
    bench.put(board(), board("b2", is_simulated=True))
    assert "SIMULATED" not in texts(panel)
    qtbot.waitUntil(lambda: "SIMULATED" in texts(panel, "b2"))
    assert "simulated" in panel.cards["b2"].accessibleName()
    panel.findChild(object, "devices-switch").click()
    assert [panel.table.model().index(at, 3).data() for at in range(2)] == ["Real", "SIMULATED"]


def test_the_screen_of_a_board_started_here_is_shown_until_paired(panel: DevicesPanel, bench: Bench) -> None:
    screen = ("ready", "pairing code: 42-COPPER-LANTERN-TIGER")
    bench.put(board(is_paired=False, screen=screen))
    shown = panel.findChild(QLabel, "board-screen-b1")
    assert shown.isVisible()
    assert "42-COPPER-LANTERN-TIGER" in shown.text()
    bench.put(board(screen=screen))
    assert not shown.isVisible()


def test_dropping_a_model_installs_it_after_the_drag(panel: DevicesPanel, bench: Bench, qtbot) -> None:
    bench.put(variant(), board())
    assert drop_on(panel.cards["b1"], model_mime(VARIANT, "digits-int8"))
    assert bench.runs == []  # not while the drag's own event loop is on the stack
    qtbot.waitUntil(lambda: bool(bench.runs))
    assert bench.runs == [("board.push", {"model": VARIANT, "boards": ["b1"]})]


@pytest.mark.parametrize("fields", [{"is_paired": False}, {"presence": "offline"}])
def test_a_board_that_cannot_take_a_model_says_why(panel: DevicesPanel, bench: Bench, qtbot, fields) -> None:
    bench.put(board(**fields))
    card = panel.cards["b1"]
    assert not drag_over(card, model_mime(VARIANT, "x"))
    assert card.property("drop") == "refused"
    assert panel.findChild(QLabel, "board-hint-b1").text() in (
        "Pair this board first",
        "This board is offline",
    )
    qtbot.wait(20)
    assert bench.runs == []


def test_files_are_left_to_the_window(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(board())
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(Path("/tmp/x.onnx")))])
    assert not drop_on(panel.cards["b1"], mime)
    broken = QMimeData()
    broken.setData("application/x-edgestudio-model", b"\xff{not json")
    assert not drop_on(panel.cards["b1"], broken)


def test_while_a_model_is_dragged_every_taker_shows_it(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(board(), board("b2", presence="offline"))
    bench.desk.drag.began.emit()
    assert panel.cards["b1"].property("drop") == "ready"
    assert panel.findChild(QLabel, "board-hint-b1").text() == "Drop to install"
    assert panel.cards["b2"].property("drop") == ""
    assert drag_over(panel.cards["b1"], model_mime(VARIANT, "x"))
    assert panel.cards["b1"].property("drop") == "hover"
    drag_out(panel.cards["b1"])
    assert panel.cards["b1"].property("drop") == "ready"
    bench.desk.drag.ended.emit()
    assert panel.cards["b1"].property("drop") == ""


def test_progress_and_outcome_of_an_installation(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(board(), deployment("running", "done", "done", "running", "waiting"))
    assert "Installing: transfer" in texts(panel)
    assert not panel.findChild(QPushButton, "board-push-b1").isVisible()
    bench.put(deployment("failed", "done", "done", "failed", reason="the disk is full"))
    assert "Last installation failed" in texts(panel)
    assert panel.findChild(QPushButton, "board-push-b1").isVisible()


def test_by_keyboard_return_installs_or_pairs(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(model(), board(), board("b2", is_paired=False))
    bench.desk.selected.select_model(SOURCE)
    panel.cards["b1"].setFocus(Qt.FocusReason.TabFocusReason)
    assert bench.desk.selected.boards == ("b1",)
    QTest.keyClick(panel.cards["b1"], Qt.Key.Key_Return)
    QTest.keyClick(panel.cards["b2"], Qt.Key.Key_Return)
    assert bench.runs == [("board.push", {"model": SOURCE, "boards": ["b1"]}), ("board.pair", {})]
    assert bench.desk.selected.boards == ("b2",)


def test_the_table_takes_drops_sorts_and_searches(panel: DevicesPanel, bench: Bench, qtbot) -> None:
    bench.put(board(name="zebra"), board("b2", name="ant", presence="offline"))
    panel.findChild(object, "devices-switch").click()
    table = panel.table
    assert [table.model().index(at, 0).data() for at in range(2)] == ["ant", "zebra"]
    mime = model_mime(VARIANT, "x")
    assert not drop_on(table.viewport(), mime, table.visualRect(table.model().index(0, 0)).center())
    assert drop_on(table.viewport(), mime, table.visualRect(table.model().index(1, 0)).center())
    qtbot.waitUntil(lambda: bool(bench.runs))
    assert bench.runs == [("board.push", {"model": VARIANT, "boards": ["b1"]})]
    panel.search.setText("zeb")
    assert table.model().rowCount() == 1


def test_a_removed_board_leaves_the_selection(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(board())
    assert bench.desk.selected.boards == ("b1",)
    bench.take(board())
    assert bench.desk.selected.boards == ()
    panel.findChild(QPushButton, "devices-simulated").click()
    assert bench.runs == [("board.add_simulated", {})]


def test_own_boards_come_before_those_of_others(panel: DevicesPanel, bench: Bench, qtbot) -> None:
    bench.put(board("b1", is_paired=False), board("b2", is_paired=False))
    assert bench.desk.selected.boards == ("b1",)
    own = board("b3", is_paired=False, is_local=True)
    bench.put(own)
    assert bench.desk.selected.boards == ("b3",)

    def order() -> list[str]:
        return sorted(panel.cards, key=lambda key: (panel.cards[key].y(), panel.cards[key].x()))

    qtbot.waitUntil(lambda: order() == ["b3", "b1", "b2"])
    bench.put(board("b2"))
    qtbot.waitUntil(lambda: order() == ["b2", "b3", "b1"])
    bench.put(board("b4", is_paired=False))
    assert bench.desk.selected.boards == ("b3",)


def test_a_board_that_was_started_here_and_has_ended_starts_again(panel: DevicesPanel, bench: Bench) -> None:
    bench.put(board(is_simulated=True))
    start, push = (panel.findChild(QPushButton, f"board-{what}-b1") for what in ("start", "push"))
    assert not start.isVisible()
    bench.put(board(is_simulated=True, presence="offline", can_start=True, problem="Nothing listens there."))
    assert "Stopped" in texts(panel)
    assert "Nothing listens there." not in texts(panel)
    assert not push.isVisible()
    start.click()
    assert bench.runs == [("board.start", {"board": "b1"})]


def test_a_card_is_as_narrow_as_its_dock(qtbot, bench: Bench) -> None:
    panel = DevicesPanel(bench.desk)
    qtbot.addWidget(panel)
    bench.put(board())
    panel.resize(240, 400)
    panel.show()
    qtbot.waitUntil(lambda: 0 < panel.cards["b1"].width() <= 240)
    card = panel.cards["b1"]
    assert card.mapTo(panel, card.rect().topRight()).x() < panel.width()
