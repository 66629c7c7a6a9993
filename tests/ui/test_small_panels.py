from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QMainWindow, QPlainTextEdit, QPushButton, QTreeWidget

from edgestudio.studio.rows import JobRow, NoticeRow
from edgestudio.ui.panels.compare import ComparePanel
from edgestudio.ui.panels.jobs import JobsPanel
from edgestudio.ui.panels.jobs_model import remaining_s, times
from edgestudio.ui.panels.model_properties import ModelProperties
from edgestudio.ui.panels.notices import NoticesPanel
from edgestudio.ui.panels.pairing import PairingDialog
from edgestudio.ui.panels.timeline import TimelinePanel
from edgestudio.ui.panels.welcome import WelcomePanel
from edgestudio.ui.widgets.command_palette import CommandPalette
from edgestudio.ui.widgets.drop_veil import Aim, DropVeil
from edgestudio.wire.errors import TrustError
from tests.ui.parts import (
    SOURCE,
    VARIANT,
    Bench,
    board,
    deployment,
    drag_out,
    drag_over,
    drop_on,
    model,
    variant,
)


def words(widget) -> list[str]:
    return [label.text() for label in widget.findChildren(QLabel) if label.isVisible() and label.text()]


def shown(qtbot, widget):
    qtbot.addWidget(widget)
    widget.resize(700, 400)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def test_timeline_shows_each_step_and_the_reason(qtbot, bench: Bench) -> None:
    panel = shown(qtbot, TimelinePanel(bench.desk))
    bench.put(deployment("running", "done", "done", "running", "waiting", "waiting", "waiting", "waiting"))
    qtbot.waitUntil(lambda: "Transfer" in words(panel))
    panel.findChild(QPushButton, "deployment-cancel").click()
    assert bench.runs == [("deployment.cancel", {"deployment": "d1"})]
    bench.put(
        deployment(
            "rolled-back", *["done"] * 5, "failed", "skipped", reason="4 of 9 answers failed.", hint="See."
        )
    )
    assert "4 of 9 answers failed. See." in words(panel)
    assert any(text.startswith("Rolled back") for text in words(panel))
    assert not panel.findChild(QPushButton, "deployment-cancel").isVisible()
    qtbot.waitUntil(lambda: not panel._clock.isActive())


def test_notices_unfold_copy_and_go(qtbot, bench: Bench) -> None:
    gone: list[str] = []
    panel = shown(qtbot, NoticesPanel(bench.desk, gone.append))
    assert "All quiet" in words(panel)
    row = NoticeRow("n", "error", "It is no model.", "Open another.", "Traceback: …", 1.0)
    bench.put(row)
    qtbot.waitUntil(lambda: "It is no model." in words(panel))
    details = panel.findChild(QPlainTextEdit, "notice-details-text")
    assert not details.isVisible()
    panel.findChild(QPushButton, "notice-details").click()
    assert details.isVisible()
    panel.findChild(object, "notice-copy").click()
    assert QGuiApplication.clipboard().text() == "It is no model.\n\nOpen another.\n\nTraceback: …"
    panel.findChild(object, "notice-dismiss").click()
    assert gone == ["n"]
    bench.take(row)
    assert "All quiet" in words(panel)


def test_jobs_show_state_log_and_time_left(qtbot, bench: Bench) -> None:
    panel = shown(qtbot, JobsPanel(bench.desk))
    running = JobRow("j", "optimize", "INT8", "running", "calibrate", 0.25, started=100.0, log=("one", "two"))
    assert remaining_s(running, 110.0) == pytest.approx(30)
    assert times(running, 110.0) == "10 s · 30 s left"
    bench.put(running)
    assert bench.desk.selected.job == "j"
    assert panel.log.toPlainText() == "one\ntwo"
    assert [panel.table.model().index(0, column).data() for column in (0, 1)] == [
        "INT8",
        "Running: calibrate",
    ]
    QTest.mouseClick(panel.cancel, Qt.MouseButton.LeftButton)
    assert bench.runs == [("job.cancel", {})]
    bench.put(
        JobRow(
            "j",
            "optimize",
            "INT8",
            "crashed",
            message="The worker crashed (SIGSEGV).",
            started=1.0,
            ended=2.0,
        )
    )
    assert "SIGSEGV" in panel.log.toPlainText()
    assert not panel.cancel.isEnabled()
    qtbot.waitUntil(lambda: not panel._clock.isActive())


def test_pairing_says_what_is_wrong_and_stays(qtbot, bench: Bench) -> None:
    asked = []
    bench.put(board(is_paired=False, screen=("pairing code: 42-COPPER-LANTERN-TIGER",)))
    dialog = PairingDialog("b1", bench.stores.boards, lambda *arguments: asked.append(arguments))
    dialog.show()
    assert not dialog.pair_button.isEnabled()
    QTest.keyClicks(dialog.code, "42-copper-lantern-lion")
    QTest.keyClick(dialog.code, Qt.Key.Key_Return)
    QTest.keyClick(dialog.code, Qt.Key.Key_Return)  # impatience asks once
    ((b, code, _, failed),) = asked
    assert (b, code) == ("b1", "42-COPPER-LANTERN-LION")
    failed(TrustError("The code does not match.", hint="4 tries are left."))
    assert dialog.findChild(QLabel, "pairing-answer").text() == "The code does not match. 4 tries are left."
    assert dialog.isVisible()
    assert dialog.pair_button.isEnabled()
    with qtbot.waitSignal(dialog.destroyed, timeout=5000):
        bench.put(board())
        assert "Paired" in dialog.findChild(QLabel, "pairing-answer").text()


def test_welcome_leads_to_the_first_steps(qtbot, bench: Bench, tmp_path: Path) -> None:
    recent = tmp_path / "net.onnx"
    panel = shown(qtbot, WelcomePanel(bench.desk, lambda: [recent]))
    for name in ("welcome-sample", "welcome-local", "welcome-simulated", "welcome-open", "welcome-recent-1"):
        panel.findChild(QPushButton, name).click()
    assert bench.runs == [
        ("model.open_sample", {}),
        ("board.add_this_computer", {}),
        ("board.add_simulated", {}),
        ("model.open", {}),
        ("model.open", {"paths": [recent]}),
    ]


def test_properties_follow_the_selection(qtbot, bench: Bench) -> None:
    panel = shown(qtbot, ModelProperties(bench.desk))
    assert "Nothing selected" in words(panel)
    summary = {
        "format": "onnx",
        "macs": 1_240_000,
        "inputs": [{"name": "image", "dtype": "float32", "shape": [None, 1, 8, 8]}],
        "operators": {"Conv": 3, "Relu": 2},
        "warnings": ["opset 8 is old"],
    }
    bench.put(model(summary=summary))
    bench.desk.selected.select_model(SOURCE)
    said = words(panel)
    for text in ("1.24 M", "float32  ? × 1 × 8 × 8", "Conv", "opset 8 is old"):
        assert text in said, text


def test_compare_shows_figures_and_differences(qtbot, bench: Bench) -> None:
    asked = []
    panel = shown(qtbot, ComparePanel(bench.desk, lambda *arguments: asked.append(arguments)))
    bench.put(model(), variant())
    bench.desk.selected.select_model(VARIANT)
    table = panel.findChild(QTreeWidget, "compare-table")
    rows = [
        [table.topLevelItem(at).text(column) for column in range(4)]
        for at in range(table.topLevelItemCount())
    ]
    assert ["Size", "155 kB", "42.0 kB", "−73 %"] in rows
    panel.button.click()
    ((_, _, done, _),) = asked
    done(
        {
            "identical": False,
            "added": [{"name": "q1", "op": "QuantizeLinear", "index": 0}],
            "removed": [],
            "changed": [{"name": "c", "op": "Conv", "a": 0, "b": 1, "dtype": ["float32", "int8"]}],
            "values": [
                {
                    "side": "input",
                    "position": 0,
                    "a": None,
                    "b": {"name": "x", "dtype": "int8", "shape": [1, 3]},
                }
            ],
            "lineage": ["INT8 static"],
        }
    )
    said = panel.findChild(QLabel, "compare-state").text()
    assert said == "Operators: 1 changed, 1 only in B. Matched by lineage, through INT8 static."
    groups = {
        table.topLevelItem(at).text(0): table.topLevelItem(at) for at in range(table.topLevelItemCount())
    }
    assert groups["Only in B (1)"].child(0).text(0) == "QuantizeLinear  q1"
    assert groups["Changed (1)"].child(0).text(0) == "Conv  c: Type: float32 → int8"
    value = groups["Inputs and outputs (1)"].child(0)
    assert [value.text(column) for column in range(3)] == ["Input 0", "none", "x  int8 1×3"]


def test_palette_finds_and_runs_by_keyboard(qtbot, bench: Bench) -> None:
    window = shown(qtbot, QMainWindow())
    palette = CommandPalette(bench.desk, window)
    palette.open()
    QTest.keyClicks(palette.line, "simul board")
    assert palette.list.count() == 1
    QTest.keyClick(palette.line, Qt.Key.Key_Return)
    assert bench.runs == [("board.add_simulated", {})]
    assert not palette.isVisible()
    palette.open()
    QTest.keyClick(palette.line, Qt.Key.Key_Down)
    assert palette.list.currentRow() == 1
    QTest.keyClick(palette.line, Qt.Key.Key_Escape)
    assert not palette.isVisible()


def test_files_dropped_on_the_window_open_after_the_drag(qtbot, tmp_path: Path) -> None:
    opened: list[list[Path]] = []
    window = shown(qtbot, QMainWindow())
    veil = DropVeil(window, lambda files, where: Aim(f"Drop {len(files)}", lambda: opened.append(files)))
    files = [tmp_path / "a.onnx", tmp_path / "saved_model"]
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in files])
    assert drag_over(window, mime)
    assert veil.isVisible()
    assert words(veil) == ["Drop 2"]
    drag_out(window)
    assert not veil.isVisible()
    assert drop_on(window, mime)
    assert opened == []
    qtbot.waitUntil(lambda: bool(opened))
    assert opened == [files]
    assert not veil.isVisible()
    plain = QMimeData()
    plain.setText("x")
    assert not drag_over(window, plain)


def test_a_notice_is_never_wider_than_its_panel(qtbot, bench: Bench) -> None:
    panel = shown(qtbot, NoticesPanel(bench.desk, lambda _: None))
    panel.resize(300, 300)
    name = "a_graph_with_a_very_long_name_that_nobody_should_have_given_it" * 3
    bench.put(NoticeRow("n", "error", f"{name}.onnx is no model.", "", "", 1.0))
    close = panel.findChild(object, "notice-dismiss")
    qtbot.waitUntil(lambda: close.isVisible())
    qtbot.waitUntil(lambda: close.mapTo(panel, close.rect().bottomRight()).x() <= panel.width())
