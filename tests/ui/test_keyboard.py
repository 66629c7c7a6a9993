"""What a person without a pointer meets: Enter presses, Tab goes through what is seen, Escape leads back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import shiboken6
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMenu, QToolButton, QWidget

from edgestudio.studio.app import Studio
from edgestudio.studio.bus import RowEvent
from edgestudio.studio.paths import Paths
from edgestudio.ui.app import App
from edgestudio.ui.ask import AskDialog, Question
from edgestudio.ui.graph.search_bar import SearchBar
from edgestudio.ui.panels.devices import DevicesPanel
from edgestudio.ui.widgets.buttons import Button, IconButton, ToolButton
from edgestudio.ui.widgets.focus import enter
from tests.ui.parts import SOURCE, Bench, board, model

_KEY = Qt.Key


@pytest.fixture
def app(qtbot, tmp_path: Path) -> Iterator[App]:
    made = App(Studio(Paths(tmp_path / "home")))
    made.studio.settings.change(discovery=False)
    made.window.resize(1280, 800)
    made.window.show()
    made.stores.apply(RowEvent("models", "added", model()))
    made.desk.selected.select_model(SOURCE)
    yield made
    made.window.may_close = lambda: True
    made.window.close()
    assert made.close()
    made.window.deleteLater()


def test_enter_presses_what_has_the_focus(qtbot) -> None:
    pressed: list[str] = []
    host = QWidget()
    qtbot.addWidget(host)
    row = QHBoxLayout(host)
    buttons = [
        Button("Go", "go", run=lambda: pressed.append("go")),
        IconButton("add", "Add", "add", lambda: pressed.append("add")),
    ]
    with_menu = ToolButton()
    with_menu.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    menu = QMenu(with_menu)
    menu.addAction("One")
    menu.aboutToShow.connect(lambda: pressed.append("menu"))
    menu.aboutToShow.connect(menu.close, Qt.ConnectionType.QueuedConnection)
    with_menu.setMenu(menu)
    for button in (*buttons, with_menu):
        row.addWidget(button)
    host.show()
    for button in (*buttons, with_menu):
        QTest.keyClick(button, _KEY.Key_Return)
    assert pressed == ["go", "add", "menu"]
    QTest.keyClick(buttons[0], _KEY.Key_Enter)
    assert pressed[-1] == "go"


def test_enter_on_cancel_cancels(qtbot) -> None:
    host = QWidget()
    qtbot.addWidget(host)
    host.show()
    done: list[object] = []
    dialog = AskDialog("x", "A question", host, [Question("a", "A", "1")], lambda said, *_: done.append(said))
    dialog.show()
    QTest.keyClick(dialog._cancel, _KEY.Key_Return)
    assert done == []
    assert not dialog._is_open


def test_escape_and_down_lead_from_the_search_to_the_graph(qtbot) -> None:
    bar = SearchBar()
    qtbot.addWidget(bar)
    bar.show()
    left: list[int] = []
    bar.field.left.connect(lambda: left.append(1))
    bar.field.setText("op:Conv")
    QTest.keyClick(bar.field, _KEY.Key_Escape)
    assert (bar.field.text(), left) == ("", []), "the first one clears"
    QTest.keyClick(bar.field, _KEY.Key_Escape)
    QTest.keyClick(bar.field, _KEY.Key_Down)
    assert len(left) == 2


def test_tab_goes_through_the_boards_as_they_stand(qtbot, bench: Bench) -> None:
    panel = DevicesPanel(bench.desk)
    qtbot.addWidget(panel)
    stranger, own = board("b1", is_paired=False, is_local=False), board("b2", is_paired=True)
    for row in (stranger, own):
        bench.stores.apply(RowEvent("boards", "added", row))
    cards = panel.cards["b2"], panel.cards["b1"]
    assert bench.desk.selected.board == "b2", "commands act on the user's own"
    seen: list[QWidget] = []
    widget = panel._add.nextInFocusChain()
    while widget is not panel._add:
        if widget in cards:
            seen.append(widget)
        widget = widget.nextInFocusChain()
    assert seen == list(cards)


def test_tab_never_stops_in_a_dock_behind_another(app: App, qtbot) -> None:
    window = app.window
    window.docks.bring_forward("recipe")
    qtbot.waitUntil(lambda: not window.docks.is_in_front("properties"))
    hidden = window.docks["properties"]
    window.library.search.setFocus()
    for _ in range(60):
        assert window.focusNextPrevChild(True)
        focus = QApplication.focusWidget()
        assert focus is not None
        assert not hidden.isAncestorOf(focus), focus.objectName()


def test_the_recipe_is_shown_first_and_run_when_asked_again(app: App, qtbot, monkeypatch) -> None:
    runs: list[int] = []
    monkeypatch.setattr(app.window.recipe, "run", lambda: runs.append(1))
    app.window.library.search.setFocus()
    app.desk.run("optimize.run")
    assert runs == []
    assert app.window.recipe.isAncestorOf(QApplication.focusWidget()), "the keyboard went along"
    app.desk.run("optimize.run")
    assert runs == [1]


def test_a_tab_that_was_asked_for_takes_the_focus(app: App, qtbot) -> None:
    app.window.library.search.setFocus()
    app.desk.run("view.compare")
    focus = QApplication.focusWidget()
    assert focus is app.window.compare or app.window.compare.isAncestorOf(focus)
    enter(app.window.compare)
    assert QApplication.focusWidget() is focus, "what has it keeps it"


def test_looking_for_the_focus_ties_no_widget_to_another(app: App, qtbot) -> None:
    """Walking Qt's chain of focus did: what lived longer was then taken for deleted, and the window crashed."""
    window = app.window
    bars = window.menuBar(), window.statusBar(), window.tabs.tabBar()
    for name in ("properties", "recipe", "library", "devices", "timeline", "jobs", "notices", "properties"):
        window.docks.bring_forward(name)
        qtbot.wait(30)
    for name in ("notices", "jobs", "timeline"):
        window.docks.toggle(name)  # titles of docks come and go with their neighbours
        qtbot.wait(30)
    for panel in (window.recipe, window.library, window.devices):
        for child in panel.findChildren(QWidget):
            if child.focusPolicy() & Qt.FocusPolicy.TabFocus:
                child.deleteLater()
                break
    qtbot.wait(50)
    assert [shiboken6.isValid(bar) for bar in bars] == [True, True, True]
