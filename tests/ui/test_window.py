from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QDialog,
    QDockWidget,
    QLineEdit,
    QMenu,
    QMessageBox,
    QPushButton,
)

from edgestudio.assets import resource
from edgestudio.studio.app import Studio
from edgestudio.studio.bus import RowEvent
from edgestudio.studio.paths import Paths
from edgestudio.studio.rows import JobRow
from edgestudio.ui import menu_order, theme
from edgestudio.ui.app import App
from edgestudio.wire.errors import RefusedError
from tests.patience import PATIENCE
from tests.ui.parts import SOURCE, board, deployment, model, variant


@pytest.fixture
def app(qtbot, tmp_path: Path) -> Iterator[App]:
    made = App(Studio(Paths(tmp_path / "home")))
    made.studio.settings.change(discovery=False)
    made.window.resize(1280, 800)
    made.window.show()
    qtbot.waitExposed(made.window)
    yield made
    made.window.may_close = lambda: True
    made.window.close()
    made.loop.submit(made.studio.monitor.stop()).result(20 * PATIENCE)  # the dashboard opened the history
    assert made.close()
    made.window.deleteLater()


def put(app: App, row, action: str = "added") -> None:
    name = {"ModelRow": "models", "JobRow": "jobs", "BoardRow": "boards", "DeploymentRow": "deployments"}
    app.stores.apply(RowEvent(name[type(row).__name__], action, row))


def dialog(app: App, name: str) -> QDialog:
    return app.window.findChild(QDialog, name)


def test_everything_is_there(app: App) -> None:
    docks = {dock.objectName() for dock in app.window.findChildren(QDockWidget)}
    assert docks == {
        f"dock-{name}"
        for name in ("library", "recipe", "properties", "devices", "timeline", "jobs", "notices")
    }
    tabs = app.window.tabs
    assert [tabs.tabText(at) for at in range(tabs.count())] == [
        "Welcome",
        "Graph",
        "Results",
        "Compare",
        "Reports",
        "Dashboard",
    ]
    assert app.window.findChild(QPushButton, "welcome-sample").isVisible()


def test_every_command_is_an_action_with_its_shortcut(app: App) -> None:
    for command in app.desk.commands:
        action = app.window.findChild(QAction, f"action-{command.id}")
        assert action is not None, command.id
        assert action.shortcut() == QKeySequence(command.shortcut)
    for key in (
        "Ctrl+O",
        "Ctrl+F",
        "Ctrl+1",
        "Ctrl+9",
        "Ctrl+Return",
        "Ctrl+Shift+E",
        "F5",
        "F11",
        "Ctrl+Shift+P",
        "Ctrl+,",
    ):
        assert any(action.shortcut() == QKeySequence(key) for action in app.window.actions()), key


def test_every_button_has_words_for_a_screen_reader(app: App) -> None:
    put(app, model())
    put(app, board())
    for button in app.window.findChildren(QAbstractButton):
        if button.isVisible() and button.focusPolicy() & Qt.FocusPolicy.TabFocus:
            assert button.accessibleName() or button.text(), button.objectName()


def test_commands_follow_the_selection(app: App) -> None:
    push = app.window.findChild(QAction, "action-board.push")
    assert not push.isEnabled()
    put(app, model())
    put(app, board())
    app.desk.selected.select_model(SOURCE)
    assert push.isEnabled()
    put(app, board(presence="offline"), "changed")
    assert not push.isEnabled()


def test_keys_lead_to_palette_find_and_settings(app: App, qtbot) -> None:
    QTest.keyClick(
        app.window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    )
    assert app.window.palette_popup.isVisible()
    QTest.keyClick(app.window.palette_popup.line, Qt.Key.Key_Escape)
    app.desk.run("view.find")
    assert app.window.focusWidget() is app.window.findChild(QLineEdit, "library-search")
    app.desk.run("app.settings")
    settings = dialog(app, "settings-dialog")
    assert settings.isVisible()
    assert not settings.isModal()
    settings.form.set_values({"theme": "dark", "heavy_jobs": 2})
    settings.findChild(QPushButton, "settings-save").click()
    qtbot.waitUntil(lambda: theme.palette().is_dark)
    assert app.studio.settings.current.heavy_jobs == 2
    app.desk.run("view.theme_light")
    assert not theme.palette().is_dark


@pytest.mark.parametrize("command", ["help.contents", "help.keys", "help.about", "help.doctor"])
def test_dialogs_open_and_close_without_blocking(app: App, qtbot, command: str) -> None:
    app.desk.run(command)
    found = [each for each in app.window.findChildren(QDialog) if each.isVisible()]
    assert len(found) == 1
    qtbot.wait(50)
    with qtbot.waitSignal(found[0].destroyed):
        found[0].close()


def test_layouts_are_saved_named_and_reset(app: App) -> None:
    window = app.window
    window.docks["library"].hide()
    window.layouts.save("no library")
    app.desk.run("view.reset")
    assert window.docks["library"].isVisible()
    assert window.layouts.names() == ["no library"]
    assert window.layouts.load("no library")
    assert not window.docks["library"].isVisible()
    assert not window.layouts.load("unknown")
    app.desk.run("view.library")
    assert window.docks["library"].isVisible()


def test_an_opened_model_and_an_installation_come_forward(app: App, qtbot) -> None:
    window, turned = app.window, []
    window.attention._turn_to = turned.append
    window.attention.begin()
    put(app, model())
    assert turned == ["graph"]
    assert app.desk.selected.model == SOURCE
    put(app, variant())
    assert turned[-1] == "results"
    put(app, board())
    put(app, deployment("running", "running"))
    qtbot.waitUntil(lambda: window.docks["timeline"].widget().isVisible())
    put(app, deployment("committed", *["done"] * 7), "changed")
    qtbot.waitUntil(lambda: turned[-1] == "dashboard")


def test_an_opened_file_is_remembered_and_opens_again_by_its_key(app: App, qtbot) -> None:
    sample = resource("sample", "digits.onnx")
    app.window.open_files([sample])
    button = "welcome-recent-1"
    qtbot.waitUntil(lambda: app.window.findChild(QPushButton, button) is not None, timeout=60_000)
    (row,) = app.stores.models.rows()
    app.desk.selected.select_model(None)
    app.desk.run("file.recent_1")
    qtbot.waitUntil(lambda: app.desk.selected.model == row.sha256, timeout=60_000)
    qtbot.waitUntil(lambda: all(job.is_over for job in app.stores.jobs.rows()), timeout=60_000)


def test_a_file_that_is_no_model_is_a_notice_and_not_remembered(app: App, qtbot, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("milk, eggs")
    app.window.open_files([notes])
    qtbot.waitUntil(lambda: len(app.stores.notices) == 1, timeout=60_000)
    assert app.studio.recent.paths() == []
    assert app.window.docks["notices"].widget().isVisible()


def test_failures_become_notices_bugs_too(app: App, qtbot) -> None:
    app.requests.report(RefusedError("The disk is full.", hint="Make room."))
    app.requests.report(ZeroDivisionError("division by zero"))
    qtbot.waitUntil(lambda: len(app.stores.notices) == 2)
    expected, bug = app.stores.notices.rows()
    assert (expected.message, expected.hint) == ("The disk is full.", "Make room.")
    assert bug.message.startswith("This is a bug")
    assert "ZeroDivisionError" in bug.details
    assert app.window.docks["notices"].windowTitle() == "Notices (2)"


def test_closing_asks_while_something_runs(app: App, qtbot) -> None:
    put(app, JobRow("j", "optimize", "INT8 static: digits", "running"))
    app.window.close()
    box = app.window.findChild(QMessageBox, "quit-question")
    assert "INT8 static: digits" in box.text()
    assert app.window.isVisible()
    with qtbot.waitSignal(box.finished):
        next(button for button in box.buttons() if button.text() == "Keep working").click()
    assert app.window.isVisible()


def test_nothing_is_cut_off_in_a_small_window(app: App, qtbot) -> None:
    put(app, model())
    put(app, board())
    app.window.resize(1280, 800)
    qtbot.wait(50)
    for button in app.window.findChildren(QPushButton):
        if button.isVisible():
            assert button.width() >= button.minimumSizeHint().width(), button.objectName()
    assert app.window.minimumSizeHint().width() <= 1280
    assert app.window.minimumSizeHint().height() <= 800


def test_a_long_name_leaves_the_window_on_its_screen(app: App, qtbot) -> None:
    name = "a-name-that-nobody-should-give-to-a-file-" * 5
    put(app, model(name=name))
    put(app, replace(model(name=name), sha256="c" * 64))
    put(app, board(name=name))
    app.desk.selected.select_model(SOURCE)
    for tab in ("graph", "dashboard", "compare", "reports", "results", "welcome"):
        app.window.turn_to(tab)
        qtbot.wait(20)
    for dock in ("properties", "recipe", "jobs"):
        app.window.docks.peek(dock)
        qtbot.wait(20)
    assert app.window.minimumSizeHint().width() <= 853
    assert app.window.width() == 1280


def test_menus_are_in_order_and_name_the_recent_files(app: App, tmp_path: Path) -> None:
    known = {command.id for command in app.desk.commands}
    for group, names in menu_order.ORDER.items():
        mine = {command.id for command in app.desk.commands if command.group == group}
        listed = {name for name in names if name not in ("", menu_order.RECENT)}
        assert {name for name in mine if not name.startswith("file.recent_")} <= listed, group
        assert listed <= known
    for name in ("one.onnx", "two & a half.onnx"):
        (tmp_path / name).touch()
        app.studio.recent.add(tmp_path / name)
    menu = app.window.findChild(QMenu, "menu-file")
    assert [each.text() for each in menu.actions()][-1] == "Quit"
    menu.aboutToShow.emit()
    recent = app.window.findChild(QMenu, "menu-recent")
    assert [each.text() for each in recent.actions()] == ["two && a half.onnx", "one.onnx"]
    assert recent.actions()[0].shortcut() == QKeySequence("Ctrl+1")


_FRESH = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6.QtCore import QTimer
from edgestudio.ui import app
made = []
begin = app.App.begin
def began(self, *arguments, **options):
    begin(self, *arguments, **options)
    QTimer.singleShot(400, self.window.close)
app.App.begin = began
status = app.run([])
heavy = {"onnx", "onnxruntime", "tensorflow", "torch", "coremltools"}
heavy |= {"ai_edge_litert", "openvino", "keras", "pyqtgraph", "aiohttp"}
print(status, sorted(heavy & set(sys.modules)))
"""


def test_a_fresh_window_imports_neither_machine_learning_nor_http_and_ends_cleanly(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("EDGESTUDIO_HOME", str(tmp_path))
    monkeypatch.setenv("EDGESTUDIO_DISCOVERY", "false")
    run = subprocess.run(
        [sys.executable, "-c", _FRESH], capture_output=True, text=True, timeout=90, check=False
    )
    assert run.stdout.strip() == "0 []", run.stderr
    assert "Traceback" not in run.stderr


def test_an_unusable_home_is_said_in_a_sentence(tmp_path: Path, monkeypatch, capsys) -> None:
    from edgestudio.ui.app import run

    blocked = tmp_path / "file"
    blocked.write_text("x")
    monkeypatch.setenv("EDGESTUDIO_HOME", str(blocked / "home"))
    assert run([]) == 2
    said = capsys.readouterr().err
    assert "EDGESTUDIO_HOME" in said
    assert "Traceback" not in said


def test_a_model_that_cannot_be_read_leaves_the_selection_as_it_was(app: App) -> None:
    app.window.attention.begin()
    put(app, model())
    put(app, model("d" * 64, "broken"))
    assert app.desk.selected.model == "d" * 64
    app.stores.apply(RowEvent("models", "removed", model("d" * 64, "broken")))
    assert app.desk.selected.model == SOURCE


def test_the_window_fits_a_small_screen_at_one_and_a_half(app: App, qtbot) -> None:
    put(app, model())
    put(app, board())
    for tab in ("graph", "dashboard", "compare", "reports", "results", "welcome"):
        app.window.turn_to(tab)
        qtbot.wait(20)
    assert app.window.minimumSizeHint().width() <= 853
    assert app.window.minimumSizeHint().height() <= 533
