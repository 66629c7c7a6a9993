from __future__ import annotations

import dataclasses
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QLabel, QMenu, QPushButton

from edgestudio.studio.bus import RowEvent
from edgestudio.studio.rows import ReportRow
from edgestudio.ui.panels.recipe_advice import RecipeAdvice, machine_of
from edgestudio.ui.panels.report_table import look
from edgestudio.ui.panels.reports import ReportsPanel
from tests.ui.parts import SOURCE, Bench, model

_ACROSS = Qt.Orientation.Horizontal


def _event(row: ReportRow, action: str = "added") -> RowEvent:
    return RowEvent("reports", action, row)  # type: ignore[arg-type]


COLUMNS = ("op", "count", "status", "reason", "remedy")
ROWS = (
    ("Conv", 9, "supported", "", ""),
    ("LSTM", 1, "unsupported", "There is no kernel for it.", "Unroll it."),
)


def report(target: str = "tflite-micro", verdict: str = "does not run") -> ReportRow:
    return ReportRow(
        f"check:{SOURCE}:{target}", "check", f"digits on {target}", SOURCE, verdict, COLUMNS, ROWS,
        ("Source: a page.",),
        {"failing": ["/tmp/lstm.onnx"], "operators": [{"nodes": [4, 5]}, {"nodes": [7]}]},
    )  # fmt: skip


def test_a_target_check_is_verdict_and_table(qtbot, bench: Bench) -> None:
    panel = ReportsPanel(bench.desk)
    qtbot.addWidget(panel)
    panel.resize(800, 500)
    panel.show()
    assert panel.findChild(object, "reports-check").isVisible()
    bench.stores.reports.apply(_event(report()))
    assert panel.findChild(QLabel, "reports-title").text() == "digits on tflite-micro"
    assert panel.findChild(QLabel, "reports-verdict").text() == "Does not run"
    parts = panel.findChild(QPushButton, "reports-parts")
    assert parts.text() == "Open the failing part"
    qtbot.mouseClick(parts, Qt.MouseButton.LeftButton)
    assert bench.runs == [("model.open", {"paths": [Path("/tmp/lstm.onnx")]})]
    table = panel.table.model()
    assert [table.headerData(at, _ACROSS) for at in range(5)] == [
        "Operator", "Count", "Status", "Reason", "Remedy",
    ]  # fmt: skip
    assert [table.index(1, at).data() for at in range(5)] == [str(cell) for cell in ROWS[1]]
    assert not table.item(1, 2).icon().isNull()
    bench.stores.reports.apply(_event(report("pi5", "runs")))
    assert panel.findChild(QLabel, "reports-verdict").text() == "Runs"
    assert panel.choice.count() == 2
    bench.stores.reports.apply(_event(report(), "changed"))
    assert panel.choice.count() == 2
    assert panel.findChild(QLabel, "reports-title").text() == "digits on tflite-micro"
    panel.findChild(object, "reports-copy").click()
    assert "LSTM,1,unsupported" in QGuiApplication.clipboard().text()


def test_a_row_leads_to_its_operator(qtbot, bench: Bench) -> None:
    panel = ReportsPanel(bench.desk)
    qtbot.addWidget(panel)
    panel.resize(800, 500)
    panel.show()
    bench.stores.reports.apply(_event(report()))
    panel.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    panel.table.selectRow(0)
    panel.table.setFocus()
    with qtbot.waitSignal(panel.node_wanted) as caught:
        qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    assert caught.args == [SOURCE, 7]


def test_one_of_several_failing_parts_is_chosen(qtbot, bench: Bench) -> None:
    panel = ReportsPanel(bench.desk)
    qtbot.addWidget(panel)
    panel.show()
    row = dataclasses.replace(
        report(), result={"failing": ["/tmp/failing_LSTM.onnx", "/tmp/failing_Scan.onnx"]}
    )
    bench.stores.reports.apply(_event(row))
    qtbot.mouseClick(panel.parts, Qt.MouseButton.LeftButton)
    menu = panel.findChild(QMenu, "reports-parts-menu")
    assert [action.text() for action in menu.actions()] == ["LSTM", "Scan"]
    menu.actions()[1].trigger()
    menu.close()
    assert bench.runs == [("model.open", {"paths": [Path("/tmp/failing_Scan.onnx")]})]


def test_words_of_status_have_icon_and_role() -> None:
    assert look("runs")[1] == "good"
    assert look("runs with limits")[1] == "warning"
    assert look("does not run")[1] == "bad"
    assert look("unsupported") == ("error", "bad")
    assert look("2 warnings") == ("info", "muted")


def test_advice_is_said_beforehand(qtbot) -> None:
    advice = RecipeAdvice()
    qtbot.addWidget(advice)
    document = {"steps": [{"pass": "int8-static", "options": {"target": "x86", "activations": "signed"}}]}
    assert machine_of(document) == "x86_64"
    advice.advise(model(summary={"operators": {"Conv": 3}, "size_bytes": 900_000}), document)
    assert advice.sentences() == [
        "Signed activations are two to five times slower than unsigned ones on x86."
    ]
    advice.clear()
    assert not advice.isVisible()
    findings = [
        {"name": "amount", "severity": "info", "text": "300 samples.", "remedy": ""},
        {"name": "copies", "severity": "warning", "text": "80 are copies.", "remedy": "Remove them."},
    ]
    row = ReportRow("d", "doctor", "Data", SOURCE, "1 warnings", (), (), (), {"findings": findings})
    advice.report(row)
    assert advice.sentences() == ["80 are copies. Remove them.", "300 samples."]


def test_a_failing_part_is_exported_where_it_is_wanted(qtbot, bench: Bench, tmp_path: Path) -> None:
    panel = ReportsPanel(bench.desk)
    qtbot.addWidget(panel)
    panel.resize(800, 500)
    panel.show()
    bench.stores.reports.apply(_event(report()))
    assert panel.export.text() == "Export the failing part …"
    qtbot.mouseClick(panel.export, Qt.MouseButton.LeftButton)
    dialog = panel.findChild(QFileDialog, "reports-export-dialog")
    assert dialog.acceptMode() == QFileDialog.AcceptMode.AcceptSave
    dialog.selectFile(str(tmp_path / "mine.onnx"))
    dialog.accept()
    path = tmp_path / "mine.onnx"
    assert bench.runs == [("model.export_failing", {"report": report().id, "path": path})]
    several = dataclasses.replace(report(), result={"failing": ["/tmp/a.onnx", "/tmp/b.onnx"]})
    bench.stores.reports.apply(_event(several, "changed"))
    assert panel.export.text() == "Export the failing parts …"
    panel.export_of(SOURCE)
    dialogs = panel.findChildren(QFileDialog, "reports-export-dialog")
    assert dialogs[-1].fileMode() == QFileDialog.FileMode.Directory
    dialogs[-1].reject()
    bench.stores.reports.apply(_event(dataclasses.replace(report("pi5", "runs"), result={})))
    assert not panel.export.isVisible(), "nothing fails"


def test_columns_that_tell_nothing_leave_their_room(qtbot, bench: Bench) -> None:
    panel = ReportsPanel(bench.desk)
    qtbot.addWidget(panel)
    rows = ((None, None, "unsupported", "It is of another format.", "Convert it."),)
    bench.stores.reports.apply(_event(dataclasses.replace(report(), rows=rows)))
    assert [panel.table.isColumnHidden(at) for at in range(5)] == [True, True, False, False, False]
    bench.stores.reports.apply(_event(report(), "changed"))
    assert not any(panel.table.isColumnHidden(at) for at in range(5))
