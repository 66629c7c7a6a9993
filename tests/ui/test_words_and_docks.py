from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QLabel,
    QMainWindow,
    QPushButton,
    QTabWidget,
    QToolButton,
    QWidget,
)

from edgestudio.studio.commands.commands import Command
from edgestudio.ui.docks import AREAS, TITLES, TRAY, Docks, DockTitle
from edgestudio.ui.graph.panel import GraphPanel
from edgestudio.ui.panels.model_properties import ModelProperties
from edgestudio.ui.tray import TraySwitches
from edgestudio.ui.widgets.choice_box import ChoiceBox
from tests.ui.parts import SOURCE, VARIANT, Bench, model, variant


def _arranged(qtbot, width: int, height: int) -> tuple[QMainWindow, Docks]:
    """A window of this size with every dock in its place."""
    window = QMainWindow()
    qtbot.addWidget(window)
    docks = Docks(window)
    for name in AREAS:
        docks.add(name, QWidget())
    window.resize(width, height)
    window.show()
    docks.arrange(width, height)
    return window, docks


def test_what_people_said_is_shown_and_can_be_changed(qtbot, bench: Bench) -> None:
    bench.desk.commands.add(
        Command("model.note", "Note…", lambda: bench.runs.append(("model.note", {})), "model")
    )
    panel = ModelProperties(bench.desk)
    qtbot.addWidget(panel)
    panel.show()
    row = model(
        version="1.2.0",
        tags=("edge", "demo"),
        note="Trained on Monday.",
        facts={"metrics": {"top1": 0.98765}},
    )
    bench.put(row)
    bench.desk.selected.select_model(SOURCE)
    said = {
        name: panel.findChild(QLabel, f"model-{name}").text() for name in ("version", "tags", "note", "made")
    }
    assert said == {
        "version": "1.2.0", "tags": "edge, demo", "note": "Trained on Monday.", "made": "top1: 0.9877",
    }  # fmt: skip
    panel.findChild(QToolButton, "model-note-edit").click()
    assert bench.runs == [("model.note", {})]
    bench.put(replace(row, note="Trained on Tuesday."))
    qtbot.waitUntil(lambda: "Tuesday" in panel.findChild(QLabel, "model-note").text())


def test_of_a_thousand_inputs_some_are_listed(qtbot, bench: Bench) -> None:
    panel = ModelProperties(bench.desk)
    qtbot.addWidget(panel)
    tensors = [{"name": f"in{i}", "dtype": "float32", "shape": [1, 4]} for i in range(1000)]
    bench.put(model(summary={**model().summary, "inputs": tensors}))
    bench.desk.selected.select_model(SOURCE)
    texts = [each.text() for each in panel.findChildren(QLabel)]
    assert "and 936 more" in texts
    assert "in63" in texts
    assert "in64" not in texts


def test_lineage_leads_to_relatives(qtbot, bench: Bench) -> None:
    panel = ModelProperties(bench.desk)
    qtbot.addWidget(panel)
    panel.show()
    bench.put(model())
    bench.desk.selected.select_model(SOURCE)
    bench.put(variant())
    panel.findChild(QPushButton, f"lineage-{VARIANT[:12]}").click()
    assert bench.desk.selected.model == VARIANT
    panel.findChild(QPushButton, f"lineage-{SOURCE[:12]}").click()
    assert bench.desk.selected.model == SOURCE


def test_the_tray_folds_away_and_comes_back_with_all_its_tabs(qtbot) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(QWidget())
    docks = Docks(window)
    for name in AREAS:
        docks.add(name, QWidget())
    window.resize(1200, 800)
    window.show()
    docks.arrange(1200, 800)
    switches = TraySwitches(docks)
    qtbot.addWidget(switches)
    assert all(docks[name].isHidden() for name in TRAY), "nothing has happened yet"
    qtbot.waitUntil(lambda: window.centralWidget().height() > 700)
    switches.findChild(QToolButton, "tray-jobs").click()
    qtbot.waitUntil(lambda: docks.is_in_front("jobs"))
    assert not any(docks[name].isHidden() for name in TRAY)
    assert switches.findChild(QToolButton, "tray-jobs").isChecked()
    assert not docks.is_in_front("timeline")
    qtbot.waitUntil(lambda: window.centralWidget().height() < 650)
    height = docks["jobs"].height()
    switches.findChild(QToolButton, "tray-notices").click()
    qtbot.waitUntil(lambda: docks.is_in_front("notices"))
    switches.findChild(QToolButton, "tray-notices").click()
    qtbot.waitUntil(lambda: window.centralWidget().height() > 700)
    docks.turn_tray()
    qtbot.waitUntil(lambda: docks.is_in_front("notices"))
    qtbot.waitUntil(lambda: docks["notices"].height() == height)
    docks.set_count("notices", 2)
    assert switches.findChild(QToolButton, "tray-notices").text() == "Notices (2)"
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def test_a_narrow_window_begins_without_its_right_side(qtbot) -> None:
    _window, docks = _arranged(qtbot, 960, 540)
    assert docks["recipe"].isHidden()
    docks.bring_forward("recipe")
    assert not docks["recipe"].isHidden()
    assert not docks["properties"].isHidden(), "they share a place, and so their tabs"
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def test_a_dock_floats_and_closes_by_its_own_buttons(qtbot) -> None:
    _window, docks = _arranged(qtbot, 1200, 800)
    library: QDockWidget = docks["library"]
    qtbot.waitUntil(lambda: isinstance(library.titleBarWidget(), DockTitle))
    docks.peek("jobs")
    qtbot.waitUntil(lambda: not isinstance(docks["jobs"].titleBarWidget(), DockTitle))
    library.findChild(QToolButton, "dock-library-float").click()
    assert library.isFloating()
    library.findChild(QToolButton, "dock-library-float").click()
    assert not library.isFloating()
    library.findChild(QToolButton, "dock-library-close").click()
    assert library.isHidden()
    docks.toggle("library")
    assert not library.isHidden()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def test_a_long_choice_is_shortened_in_its_middle_and_told_in_full(qtbot) -> None:
    box = ChoiceBox()
    qtbot.addWidget(box)
    box.addItems(["short", "a-model-with-a-name-that-is-longer-than-any-field int8-static"])
    box.resize(180, 30)
    box.show()
    assert box.shown_text() == "short"
    box.setCurrentIndex(1)
    shown = box.shown_text()
    assert shown.startswith("a-mo")
    assert shown.endswith("static")
    assert "…" in shown
    box.showPopup()
    assert box.view().width() > box.width(), "the list shows more than the field"
    box.hidePopup()


def test_no_two_tabs_are_called_the_same(qtbot, bench: Bench) -> None:
    panel = GraphPanel()
    qtbot.addWidget(panel)
    sides = [tab.tabText(at) for tab in panel.findChildren(QTabWidget) for at in range(tab.count())]
    docks = [TITLES.get(name, name.capitalize()) for name in AREAS]
    assert "Node" in sides
    assert "Model" in docks
    assert not set(sides) & set(docks)
