"""The dialogs about boards: what is asked reaches the services, and their answers and refusals stay in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLabel, QLineEdit, QPushButton

from edgestudio.runtime.uplink import Uplink
from edgestudio.studio.app import Studio
from edgestudio.studio.bus import RowEvent
from edgestudio.studio.paths import Paths
from edgestudio.ui.app import App
from edgestudio.wire.errors import DeviceError
from tests.patience import PATIENCE
from tests.ui.parts import SOURCE, active, board, model


@pytest.fixture
def app(qtbot, tmp_path: Path) -> Iterator[App]:
    made = App(Studio(Paths(tmp_path / "home")))
    made.studio.settings.change(discovery=False)
    made.window.resize(1280, 800)
    made.window.show()
    for store, row in (("models", model()), ("boards", board("b1", active=(active(),)))):
        made.stores.apply(RowEvent(store, "added", row))
    made.desk.selected.select_model(SOURCE)
    made.desk.selected.select_boards("b1")
    yield made
    made.window.may_close = lambda: True
    made.window.close()
    made.loop.submit(made.studio.monitor.stop()).result(20 * PATIENCE)  # the dashboard opened the history
    assert made.close()
    made.window.deleteLater()


def find(app: App, kind: type, name: str) -> Any:
    found = app.window.findChild(kind, name)
    assert found is not None, name
    return found


def choose(app: App, name: str, value: str) -> None:
    box = find(app, QComboBox, name)
    box.setCurrentIndex(box.findData(value))
    assert box.currentData() == value


def test_a_push_can_say_where_it_runs(app: App, qtbot, monkeypatch) -> None:
    said: list[tuple[Any, ...]] = []

    async def push(*arguments: Any, **options: Any) -> list[Any]:
        said.append((arguments, options))
        return []

    monkeypatch.setattr(app.studio.deployer, "push", push)
    app.desk.run("board.push_options")
    assert find(app, QPushButton, "push-dialog-accept").isEnabled(), "nothing has to be said"
    choose(app, "push-dialog-on", "tensorrt cpu")
    find(app, QLineEdit, "push-dialog-gpu").setText("Orin, 8.7")
    find(app, QLineEdit, "push-dialog-name").setText("digits-b")
    find(app, QPushButton, "push-dialog-accept").click()
    qtbot.waitUntil(lambda: bool(said))
    (arguments, options) = said[0]
    assert arguments == (SOURCE, ["b1"])
    assert options == {
        "slot": "digits-b", "pipeline": None, "golden": None,
        "accelerators": ("tensorrt", "cpu"), "gpu": ("Orin", "8.7"),
    }  # fmt: skip


def test_what_a_board_measures_or_refuses_is_said_in_the_dialog(app: App, qtbot, monkeypatch) -> None:
    async def bench(board_id: str, *, model: str | None = None, soak_minutes: float = 0.0) -> dict[str, Any]:
        if soak_minutes:
            raise DeviceError("b1 is busy.", hint="Try again later.")
        return {"latency_ms": {"p50": 0.75, "p90": 0.8, "p99": 1.25, "n": 1000}}

    monkeypatch.setattr(app.studio.boards, "bench", bench)
    app.desk.run("board.bench")
    answer = find(app, QLabel, "bench-dialog-answer")
    soak, accept = (
        find(app, QLineEdit, "bench-dialog-soak"),
        find(app, QPushButton, "bench-dialog-accept"),
    )
    soak.setText("long")
    accept.click()
    qtbot.waitUntil(lambda: "The minutes must be a number" in answer.text())
    soak.setText("3")
    accept.click()
    qtbot.waitUntil(lambda: "b1 is busy" in answer.text() and "Try again" in answer.text())
    soak.setText("")
    accept.click()
    qtbot.waitUntil(lambda: "p50 0.75 ms" in answer.text() and "n 1,000" in answer.text())


def test_inputs_are_kept_fetched_and_removed(app: App, qtbot, monkeypatch, tmp_path: Path) -> None:
    said: dict[str, Any] = {}

    async def switch(board_id: str, name: str, **options: Any) -> dict[str, Any]:
        said.update(options, board=board_id, name=name)
        return {"models": {name: {"every": 5}}, "size_bytes": 0, "max_bytes": 8 * 2**20, "captures": []}

    async def fetch(board_id: str, folder: Path) -> list[Path]:
        said["folder"] = folder
        return [folder / "a.capture"]

    async def clear(board_id: str) -> int:
        return 7

    for name, stand_in in (("switch", switch), ("fetch", fetch), ("clear", clear)):
        monkeypatch.setattr(app.studio.captures, name, stand_in)
    app.desk.run("board.capture")
    find(app, QLineEdit, "capture-dialog-every").setText("5")
    find(app, QLineEdit, "capture-dialog-below").setText("0,5")
    find(app, QLineEdit, "capture-dialog-limit").setText("8")
    find(app, QPushButton, "capture-dialog-accept").click()
    answer = find(app, QLabel, "capture-dialog-answer")
    qtbot.waitUntil(lambda: "digits (1 in 5)" in answer.text())
    assert said["every"] == 5
    assert said["confidence_below"] == 0.5
    assert said["max_bytes"] == 8 * 2**20
    find(app, QPushButton, "capture-dialog-cancel").click()
    app.desk.run("board.capture_fetch")
    find(app, QFileDialog, "capture-folder-dialog").fileSelected.emit(str(tmp_path))
    qtbot.waitUntil(lambda: any("1 captures" in row.message for row in app.stores.notices.rows()))
    assert said["folder"] == tmp_path
    find(app, QFileDialog, "capture-folder-dialog").close()
    app.desk.run("board.capture_clear")
    find(app, QPushButton, "capture-clear-dialog-accept").click()
    removed = find(app, QLabel, "capture-clear-dialog-answer")
    qtbot.waitUntil(lambda: "7 captures were removed" in removed.text())


def test_a_board_is_prepared_by_a_file(app: App, qtbot, tmp_path: Path) -> None:
    app.desk.run("board.provision")
    find(app, QLineEdit, "provision-dialog-name").setText("roof-pi")
    find(app, QLineEdit, "provision-dialog-file").setText(str(tmp_path / "roof-pi.json"))
    find(app, QPushButton, "provision-dialog-accept").click()
    answer = find(app, QLabel, "provision-dialog-answer")
    qtbot.waitUntil(lambda: "like a key" in answer.text(), timeout=20_000)
    assert (tmp_path / "roof-pi.json").stat().st_mode & 0o077 == 0
    qtbot.waitUntil(lambda: any(row.name == "roof-pi" for row in app.stores.boards.rows()))


def test_what_needs_a_board_waits_for_one(app: App) -> None:
    names = ("board.bench", "board.evaluate", "board.capture", "board.push_options")
    assert all(app.desk.commands.is_enabled(name) for name in names)
    app.stores.apply(RowEvent("boards", "changed", board("b1", presence="offline", active=(active(),))))
    assert not any(app.desk.commands.is_enabled(name) for name in names)


def test_a_fleet_is_watched_through_a_broker(app: App, qtbot, monkeypatch) -> None:
    asked: list[dict[str, Any]] = []

    async def watch(fields: dict[str, Any]) -> Any:
        asked.append(dict(fields))
        if fields["port"] == 1:
            raise DeviceError("The broker at 127.0.0.1:1 is not there.", hint="Check its address.")
        return Uplink.model_validate(fields)

    known = {
        "host": "10.0.0.9",
        "password": {"file": "/run/secret"},
        "key_file": "k",
        "certificate_file": "c",
    }
    monkeypatch.setattr(app.studio.collecting, "watch", watch)
    monkeypatch.setattr(app.studio.collecting, "described", lambda: known)
    assert not app.desk.commands.is_enabled("board.leave_broker")
    app.desk.run("board.watch_broker")
    qtbot.waitUntil(lambda: app.window.findChild(QLineEdit, "broker-dialog-host") is not None)
    assert find(app, QLineEdit, "broker-dialog-host").text() == "10.0.0.9"
    find(app, QLineEdit, "broker-dialog-port").setText("1")
    find(app, QPushButton, "broker-dialog-accept").click()
    answer = find(app, QLabel, "broker-dialog-answer")
    qtbot.waitUntil(lambda: "not there" in answer.text())
    assert asked[0] == {**known, "port": 1, "is_tls": True, "fleet": "home"}, "what was not asked for stays"
    find(app, QLineEdit, "broker-dialog-host").setText("127.0.0.1")
    find(app, QLineEdit, "broker-dialog-port").setText("1883")
    find(app, QCheckBox, "broker-dialog-is_tls").setChecked(False)
    find(app, QPushButton, "broker-dialog-accept").click()
    qtbot.waitUntil(lambda: "Connected to 127.0.0.1:1883" in answer.text())
    assert asked[1] == {"host": "127.0.0.1", "port": 1883, "is_tls": False, "fleet": "home"}
