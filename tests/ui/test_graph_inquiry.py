"""What the graph asks the studio for, with real workers: weights, measurements, dimensions, bookmarks and notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QSpinBox
from pytestqt.qtbot import QtBot

from edgestudio.model.marks import Bookmark, Marks
from edgestudio.studio.app import Studio
from edgestudio.studio.paths import Paths
from edgestudio.ui.app import App
from edgestudio.ui.graph.panel import GraphPanel
from edgestudio.ui.graph.toolbar import MEASUREMENTS
from edgestudio.wire.errors import InputError

_LONG_MS = 60_000


class Bench:
    """The window with the sample model open in the Graph tab."""

    def __init__(self, qtbot: QtBot, home: Path) -> None:
        self.qtbot = qtbot
        self.app = App(Studio(Paths(home)))
        self.app.studio.settings.change(discovery=False)
        self.app.window.resize(1600, 900)  # wide enough that the side is open
        self.app.window.show()
        qtbot.waitExposed(self.app.window)
        self.app.window.turn_to("graph")
        self.panel = self.app.window.graph.page.panel  # type: ignore[attr-defined]
        assert isinstance(self.panel, GraphPanel)

    def open_sample(self) -> None:
        self.app.desk.run("model.open_sample")
        self.qtbot.waitUntil(lambda: len(self.app.stores.models.rows()) == 1, timeout=_LONG_MS)
        self.app.desk.selected.select_model(self.app.stores.models.rows()[0].sha256)
        self.qtbot.waitUntil(self.is_ready, timeout=_LONG_MS)

    def is_ready(self) -> bool:
        row = self.panel.row
        return self.panel.document is not None and row is not None and bool(row.summary.get("operators"))

    def click(self, name: str) -> None:
        button = self.app.window.findChild(QPushButton, name)
        assert button.isVisible()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def select(self, operator: str) -> int:
        nodes = self.panel.document.graph.nodes
        node = next(index for index, each in enumerate(nodes) if each.op == operator)
        self.panel.select_node(node)
        return node

    def measure(self, what: str) -> None:
        """Choose an entry of the toolbar's list, as the keyboard does."""
        box = self.panel.toolbar.overlays
        at = box.findText(dict(MEASUREMENTS)[what])
        box.setFocus()
        box.setCurrentIndex(at)
        box.activated.emit(at)

    def end(self) -> None:
        self.app.window.may_close = lambda: True
        self.app.window.close()
        stopped = self.app.loop.submit(self.app.studio.stop())
        self.qtbot.waitUntil(stopped.done, timeout=20_000)
        assert self.app.close()
        self.app.window.deleteLater()


@pytest.fixture
def bench(qtbot: QtBot, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(qtbot, tmp_path / "home")
    made.open_sample()
    yield made
    made.end()


def test_weights_are_described_on_demand(bench: Bench) -> None:
    bench.select("Conv")
    properties = bench.panel.properties
    assert "Zeros" not in properties.text()
    bench.click("graph-weights")
    bench.qtbot.waitUntil(lambda: "Mean ± deviation" in properties.text(), timeout=_LONG_MS)
    assert "Zeros" in properties.text()
    assert len(properties._page.pictures) >= 1
    assert not properties.weights_button.isVisible()


def test_looking_into_weights_can_be_cancelled(bench: Bench) -> None:
    bench.select("Conv")
    bench.click("graph-weights")
    bench.click("graph-weights-cancel")
    jobs = bench.app.stores.jobs
    bench.qtbot.waitUntil(
        lambda: [row.state for row in jobs.rows() if row.kind == "statistics"] == ["cancelled"],
        timeout=_LONG_MS,
    )
    assert bench.panel.properties.weights_button.isEnabled()


def test_sparsity_and_latency_become_overlays_with_a_legend(bench: Bench) -> None:
    panel = bench.panel
    for what, title in (("sparsity", "Weight sparsity"), ("latencies", "Latency")):
        bench.measure(what)
        assert panel.banner.isVisible()
        bench.qtbot.waitUntil(
            lambda title=title: title in [each.title for each in panel.overlays()], timeout=_LONG_MS
        )
        assert panel.legend.isVisible()
        assert not panel.banner.isVisible()
    latency = panel.overlays()[-1]
    assert 0 < np.nansum(latency.values) < 1000
    assert panel.toolbar.overlays.currentText() == "By latency"


def test_where_each_operator_runs_becomes_an_overlay(bench: Bench) -> None:
    panel = bench.panel
    bench.measure("placement")
    bench.qtbot.waitUntil(lambda: "Placement" in [each.title for each in panel.overlays()], timeout=_LONG_MS)
    assert panel.legend.isVisible()
    placed = panel.overlays()[-1]
    assert placed.words == ("CPU",)
    assert np.isfinite(placed.values).sum() > 10
    assert panel.toolbar.overlays.currentText() == "By placement"


def test_a_measurement_is_cancelled_from_its_banner(bench: Bench) -> None:
    bench.measure("latencies")
    bench.click("graph-trace-clear")
    jobs = bench.app.stores.jobs
    bench.qtbot.waitUntil(
        lambda: [row.state for row in jobs.rows() if row.kind == "bench"] == ["cancelled"], timeout=_LONG_MS
    )
    assert not bench.panel.banner.isVisible()


def test_the_batch_is_set_and_freed_again(bench: Bench) -> None:
    panel = bench.panel
    macs = panel.row.summary["macs"]
    document = panel.document
    bench.qtbot.mouseClick(panel.toolbar.dimensions, Qt.MouseButton.LeftButton)
    popup = panel.inquiry.popup
    bench.qtbot.waitUntil(popup.isVisible)
    field = popup.findChildren(QSpinBox)[0]
    field.selectAll()
    bench.qtbot.keyClicks(field, "8")
    bench.qtbot.mouseClick(popup.findChild(QPushButton, "graph-dimensions-apply"), Qt.MouseButton.LeftButton)
    bench.qtbot.waitUntil(lambda: panel.document is not document, timeout=_LONG_MS)
    shown = panel.document
    assert sum(node.macs or 0 for node in shown.graph.nodes) == 8 * macs
    first = shown.graph.tensors[shown.graph.inputs[0]]
    assert first.shape[0] == 8
    assert "= 8" in panel.header.title()
    assert panel.row.summary["macs"] == macs, "the library's own figures stay"
    bench.qtbot.mouseClick(panel.toolbar.dimensions, Qt.MouseButton.LeftButton)
    bench.qtbot.mouseClick(popup.findChild(QPushButton, "graph-dimensions-reset"), Qt.MouseButton.LeftButton)
    bench.qtbot.waitUntil(lambda: panel.document is not shown, timeout=_LONG_MS)
    assert sum(node.macs or 0 for node in panel.document.graph.nodes) == macs


def test_bookmarks_and_notes_survive_a_restart(qtbot: QtBot, tmp_path: Path) -> None:
    bench = Bench(qtbot, tmp_path / "home")
    bench.open_sample()
    node = bench.select("Gemm")
    name = bench.panel.document.graph.nodes[node].name
    bench.panel.inquiry.add_bookmark()
    field = bench.app.window.findChild(QPlainTextEdit, "graph-note")
    field.setFocus()
    qtbot.keyClicks(field, "wants more bits")
    marks = next((tmp_path / "home").rglob("entry.json")).with_name("marks.json")
    qtbot.waitUntil(lambda: "wants more bits" in Marks.load(marks).notes.values(), timeout=_LONG_MS)
    bench.end()

    again = Bench(qtbot, tmp_path / "home")
    again.open_sample()
    panel = again.panel
    qtbot.waitUntil(lambda: panel.inquiry.marks.notes == {name: "wants more bits"}, timeout=_LONG_MS)
    entries = {action.text(): action for action in panel.toolbar.bookmarks.menu().actions()}
    entries[name].trigger()
    assert panel.view.node_of(panel.view.selected_box) == node
    assert panel.properties.note.toPlainText() == "wants more bits"
    again.end()


def test_marks_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    path = tmp_path / "marks.json"
    assert Marks.load(path) == Marks()
    path.write_text('{"schema_version": 1, "bookmarks": [{}], "notes": {}}')
    assert Marks.load(path) == Marks()
    marks = Marks((Bookmark("here", "", (1.0, 2.0, 3.0)),), {"conv": "note"})
    marks.save(path)
    assert Marks.load(path) == marks
    with pytest.raises(InputError, match="could not be kept"):
        marks.save(tmp_path / "no" / "marks.json")
