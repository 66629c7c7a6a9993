"""Models of the library through the whole window: edits, words, registries, projects, checks, exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QComboBox, QFileDialog, QLabel, QLineEdit, QPushButton, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from edgestudio.assets import resource
from edgestudio.studio.rows import ModelRow
from edgestudio.ui.graph import menu
from tests.model.made import convolution
from tests.ui.test_graph_inquiry import Bench

_LONG_MS = 60_000


class Desk(Bench):
    """The window with the sample model open, driven by what a hand would do."""

    @property
    def rows(self) -> list[ModelRow]:
        return self.app.stores.models.rows()

    def run(self, command: str) -> None:
        self.app.desk.run(command)

    def press(self, key: Qt.Key, *modifiers: Qt.KeyboardModifier) -> None:
        held = Qt.KeyboardModifier.NoModifier
        for modifier in modifiers:
            held |= modifier
        self.app.window.activateWindow()
        self.app.window.setFocus()
        self.qtbot.waitUntil(self.app.window.isActiveWindow)
        self.qtbot.keyClick(self.app.window, key, held)

    def find(self, kind: type[Any], name: str) -> Any:
        """What is seen by that name; a dialog that was closed may not be gone yet."""
        found = self.app.window.findChildren(kind, name)
        assert found, name
        return next((each for each in found if each.isVisible()), found[0])

    def click(self, name: str) -> None:
        button = self.find(QPushButton, name)
        assert button.isVisible()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def has(self, name: str) -> bool:
        return any(each.isVisible() for each in self.app.window.findChildren(QWidget, name))

    def write(self, name: str, text: str) -> None:
        field = self.find(QLineEdit, name)
        field.clear()
        self.qtbot.keyClicks(field, text)

    def edit(self, which: str, **options: str) -> None:
        """Fill the form of one edit in and make it."""
        if not self.has("edit-dialog"):
            self.run("model.edit")
        choice = self.find(QComboBox, "edit-choice")
        choice.setCurrentIndex(choice.findData(which))
        for name, text in options.items():
            self.write(f"edit-{which}-{name}", text)
        self.click("edit-accept")

    def answer(self, dialog: str) -> str:
        self.qtbot.waitUntil(
            lambda: self.find(QLabel, f"{dialog}-answer").text() not in ("", "Working …"), timeout=_LONG_MS
        )
        return str(self.find(QLabel, f"{dialog}-answer").text())

    def made(self, count: int) -> ModelRow:
        """The newest model, once there are so many and the dialog is gone."""
        self.qtbot.waitUntil(
            lambda: len(self.rows) == count and not self.has("edit-dialog"), timeout=_LONG_MS
        )
        newest = max(self.rows, key=lambda row: row.created)
        self.qtbot.waitUntil(lambda: bool(self.row(newest.sha256).summary.get("operators")), timeout=_LONG_MS)
        return self.row(newest.sha256)

    def row(self, sha256: str) -> ModelRow:
        row = self.app.stores.models.get(sha256)
        assert row is not None
        return row


@pytest.fixture
def desk(qtbot: QtBot, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(qtbot, tmp_path / "home")
    made.open_sample()
    yield made
    made.end()


def test_edits_are_made_refused_and_taken_back(desk: Desk) -> None:
    source = desk.rows[0]
    desk.edit("rename", names="imagge: picture")
    assert "Near names: image" in desk.answer("edit")
    desk.edit("rename", names="image: picture")
    renamed = desk.made(2)
    assert (renamed.parent, renamed.summary["inputs"][0]["name"]) == (source.sha256, "picture")
    assert renamed.after is not None
    assert renamed.after["accuracy"]["top1"] > 0.9, "it runs, on its own data"
    desk.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    desk.qtbot.waitUntil(lambda: len(desk.rows) == 1, timeout=_LONG_MS)
    desk.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier)
    desk.qtbot.waitUntil(lambda: len(desk.rows) == 2, timeout=_LONG_MS)


def test_dimensions_parts_outputs_and_opset(desk: Desk) -> None:
    source = desk.rows[0].sha256
    middle = desk.panel.document.graph
    tensor = middle.tensors[next(n for n in middle.nodes if n.op == "Relu").outputs[0]].name
    desk.edit("set-dimensions", dimensions="width: 3")
    assert "no symbolic dimension `width`" in desk.answer("edit")
    desk.edit("set-dimensions", dimensions="batch: 4")
    assert desk.made(2).summary["inputs"][0]["shape"][0] == 4
    desk.app.desk.selected.select_model(source)
    desk.edit("extract", outputs=tensor)
    part = desk.made(3)
    assert part.summary["outputs"][0]["name"] == tensor
    assert part.summary["nodes"] < desk.row(source).summary["nodes"]
    desk.app.desk.selected.select_model(source)
    desk.edit("drop-outputs", outputs=str(desk.row(source).summary["outputs"][0]["name"]))
    assert "at least one output" in desk.answer("edit")
    choice = desk.find(QComboBox, "edit-choice")
    choice.setCurrentIndex(choice.findData("convert-opset"))
    desk.find(QSpinBox, "edit-convert-opset-opset").setValue(19)
    desk.click("edit-accept")
    assert 19 in desk.made(4).summary["opsets"].values()


def test_words_are_kept_found_and_refused(desk: Desk) -> None:
    source = desk.rows[0].sha256
    desk.run("model.set_version")
    desk.write("version-dialog-version", "1.2")
    desk.click("version-dialog-accept")
    assert "semantic" in desk.answer("version-dialog").lower()
    desk.write("version-dialog-version", "1.2.0")
    desk.click("version-dialog-accept")
    desk.qtbot.waitUntil(lambda: desk.row(source).version == "1.2.0", timeout=_LONG_MS)
    desk.run("model.set_tags")
    desk.write("tags-dialog-tags", "camera, gate")
    desk.click("tags-dialog-accept")
    desk.run("model.set_facts")
    desk.write("facts-dialog-training_date", "2026-03-31")
    desk.write("facts-dialog-metrics", "top1: 0.98")
    desk.click("facts-dialog-accept")
    desk.qtbot.waitUntil(lambda: bool(desk.row(source).facts), timeout=_LONG_MS)
    facts = desk.row(source).facts
    assert (facts["training_date"], facts["metrics"]) == ("2026-03-31", {"top1": 0.98})
    shown = desk.app.window.library.tree.model()
    found = (
        ("gate", 1),
        ("tag:gate version:1.2* top1>0.9", 1),
        ("size<1k", 0),
        ("-tag:gate", 0),
        ("nowhere", 0),
    )
    for text, count in found:
        desk.write("library-search", text)
        desk.qtbot.waitUntil(lambda count=count: shown.rowCount() == count)
    desk.write("library-search", "colour:red")
    assert "cannot be searched by “colour”" in desk.find(QLabel, "library-search-problem").text()
    assert desk.has("library-search-problem")
    desk.write("library-search", "gate")
    assert not desk.has("library-search-problem")


def test_a_model_goes_to_a_registry_and_comes_back(desk: Desk, tmp_path: Path) -> None:
    source = desk.rows[0].sha256
    desk.run("model.publish")
    desk.write("publish-dialog-registry", "ftp://nowhere")
    desk.click("publish-dialog-accept")
    assert "no kind of registry" in desk.answer("publish-dialog")
    desk.write("publish-dialog-registry", str(tmp_path / "shelf"))
    desk.write("publish-dialog-version", "2.0.0")
    desk.click("publish-dialog-accept")
    desk.qtbot.waitUntil(
        lambda: "Published as digits 2.0.0" in desk.answer("publish-dialog"), timeout=_LONG_MS
    )
    desk.click("publish-dialog-cancel")
    desk.run("model.remove")
    desk.qtbot.waitUntil(lambda: not desk.rows, timeout=_LONG_MS)
    (tmp_path / "empty").mkdir()
    desk.run("model.import_registry")
    desk.write("registry-dialog-registry", str(tmp_path / "empty"))
    desk.click("registry-dialog-accept")
    assert "There is no model in" in desk.answer("registry-dialog")
    desk.write("registry-dialog-registry", str(tmp_path / "shelf"))
    desk.click("registry-dialog-accept")
    desk.qtbot.waitUntil(lambda: desk.has("import-dialog"), timeout=_LONG_MS)
    assert desk.find(QComboBox, "import-dialog-model").currentText() == "digits  2.0.0"
    desk.click("import-dialog-accept")
    desk.qtbot.waitUntil(lambda: [row.sha256 for row in desk.rows] == [source], timeout=_LONG_MS)
    desk.qtbot.waitUntil(lambda: desk.row(source).version == "2.0.0", timeout=_LONG_MS)


def test_a_project_puts_its_state_back(desk: Desk, tmp_path: Path) -> None:
    source = desk.rows[0].sha256
    desk.run("model.note")
    desk.find(QWidget, "note-dialog-note").setPlainText("as of Monday")
    desk.click("note-dialog-accept")
    desk.qtbot.waitUntil(lambda: desk.row(source).note == "as of Monday", timeout=_LONG_MS)
    file = tmp_path / "monday.edgestudio.json"
    desk.run("project.save")
    dialog = desk.find(QFileDialog, "project-dialog")
    dialog.fileSelected.emit(str(file))
    dialog.reject()
    desk.qtbot.waitUntil(file.exists, timeout=_LONG_MS)
    desk.run("model.rename")
    desk.write("rename-dialog-name", "other")
    desk.click("rename-dialog-accept")
    desk.qtbot.waitUntil(lambda: desk.row(source).name == "other", timeout=_LONG_MS)
    desk.run("project.restore")
    desk.qtbot.waitUntil(lambda: desk.row(source).name == "digits", timeout=_LONG_MS)
    assert json.loads(file.read_text())["models"]


def test_a_check_leads_to_the_operator_in_the_graph(desk: Desk, tmp_path: Path) -> None:
    desk.press(Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    target = desk.find(QComboBox, "check-dialog-target")
    target.setCurrentIndex(target.findData("hailo"))
    desk.click("check-dialog-accept")
    desk.qtbot.waitUntil(lambda: len(desk.app.stores.reports.rows()) == 1, timeout=_LONG_MS)
    reports = desk.app.window.reports
    desk.app.window.turn_to("reports")
    table = reports.table.model()
    row = next(at for at in range(table.rowCount()) if table.index(at, 0).data() == "Conv")
    reports.table.setCurrentIndex(table.index(row, 0))
    reports.table.setFocus()
    desk.qtbot.keyClick(reports.table, Qt.Key.Key_Return)
    view = desk.panel.view
    desk.qtbot.waitUntil(view.isVisible)
    assert desk.panel.document.graph.nodes[view.node_of(view.selected_box)].op == "Conv"


def test_a_failing_part_opens_as_a_model_that_fails_alike(desk: Desk, tmp_path: Path) -> None:
    path = shutil.copy(resource("sample", "digits.onnx"), tmp_path / "open.onnx")
    assert path
    desk.app.studio.settings.change(discovery=False)
    desk.press(Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    target = desk.find(QComboBox, "check-dialog-target")
    target.setCurrentIndex(target.findData("tflite-micro"))
    desk.click("check-dialog-accept")
    desk.qtbot.waitUntil(lambda: len(desk.app.stores.reports.rows()) == 1, timeout=_LONG_MS)
    reports = desk.app.window.reports
    assert not reports.parts.isVisible(), "another format is no matter of a part"
    assert "Convert it to TFLite" in reports.table.model().index(0, 4).data()


def test_everything_is_exported_from_the_menu(desk: Desk, tmp_path: Path, monkeypatch: Any) -> None:
    for action in desk.panel.toolbar.export.menu().actions():
        monkeypatch.setattr(
            menu.QFileDialog, "getSaveFileName", lambda parent, title, name: (str(tmp_path / name), "")
        )
        action.trigger()
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "graph.html", "graph.png", "graph.svg", "layers.csv", "view.png",
    ]  # fmt: skip
    assert not QImage(str(tmp_path / "graph.png")).isNull()
    told = []
    desk.panel.failed.connect(told.append)
    monkeypatch.setattr(
        menu.QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "no" / "such" / "place.csv"), "")
    )
    desk.panel.toolbar.export.menu().actions()[3].trigger()
    assert "could not be written" in told[0]


def test_models_that_are_chosen_in_the_library_are_compared(desk: Desk, tmp_path: Path) -> None:
    for batch in (1, 2):
        path = convolution(tmp_path / f"net{batch}.onnx", batch=batch)
        desk.app.desk.run("model.open", paths=[path])
    ready = lambda: len(desk.rows) == 3 and all(row.summary.get("operators") for row in desk.rows)  # noqa: E731
    desk.qtbot.waitUntil(ready, timeout=_LONG_MS)
    tree = desk.app.window.library.tree
    for at in range(3):
        held = Qt.KeyboardModifier.ControlModifier if at else Qt.KeyboardModifier.NoModifier
        where = tree.visualRect(tree.model().index(at, 0)).center()
        desk.qtbot.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, held, where)
    compare = desk.app.window.compare
    desk.app.window.turn_to("compare")
    desk.qtbot.mouseClick(desk.find(QPushButton, "compare-selected"), Qt.MouseButton.LeftButton)
    desk.qtbot.waitUntil(lambda: "operators of 3 models" in compare._state.text(), timeout=_LONG_MS)
    rows = desk.find(QWidget, "compare-many").rows
    assert rows.columnCount() == 3
    assert sorted(rows.headerData(at, Qt.Orientation.Horizontal) for at in range(3)) == [
        "digits",
        "net1",
        "net2",
    ]
