"""What examinations found: verdict first, then a table of what was looked at, with reasons and remedies."""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPoint, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.rows import ReportRow
from edgestudio.ui import theme
from edgestudio.ui.desk import Desk
from edgestudio.ui.panels.report_table import NODE_ROLE, fill, look
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.choice_box import ChoiceBox
from edgestudio.ui.widgets.code import copy_to_clipboard
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.flow import WrapLayout
from edgestudio.ui.widgets.text import IconLabel, label, set_role

# What stands before a title that does not say its kind.
KINDS = {"check": "Target check: ", "diff": "Differences: "}


class ReportsPanel(QWidget):
    """Shows the newest report, or the one that is chosen.

    `node_wanted` carries a model and a node of its graph, by number or name, that a row of a report is about.
    """

    node_wanted = Signal(str, object)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("reports-panel")
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._desk = desk
        self._shown: ReportRow | None = None
        self._build()
        store = desk.stores.reports
        store.added.connect(self._arrived)
        store.changed.connect(self._arrived)
        store.removed.connect(self._left)
        theme.changed.connect(self._repaint)
        for row in store.rows():
            self._arrived(row)

    def show_report(self, row: ReportRow) -> None:
        """Show one report."""
        self._shown = row
        self._title.setText(row.title)
        icon, role = look(row.verdict)
        self._verdict_icon.show_icon(icon, role)
        self._verdict.setText(row.verdict.replace("_", " ").capitalize())
        set_role(self._verdict, role)
        self._notes.setText("\n".join(row.notes))
        self._notes.setVisible(bool(row.notes))
        parts = self._parts_of(row)
        for button in (self.parts, self.export):
            button.setVisible(bool(parts))
        is_one = len(parts) == 1
        self.parts.setText("Open the failing part" if is_one else f"Open a failing part ({len(parts)}) …")
        self.export.setText("Export the failing part …" if is_one else "Export the failing parts …")
        fill(self.table, row)
        self._pages.setCurrentIndex(1)

    def export_of(self, model: str | None) -> None:
        """Show the newest check of a model that found parts that fail, and ask where to keep them."""
        found = [
            row for row in self._desk.stores.reports.rows() if row.subject == model and self._parts_of(row)
        ]
        if found:
            row = max(found, key=lambda each: each.time)
            self.choice.setCurrentIndex(self.choice.findData(row.id))
            self.show_report(row)
            self._export_parts()

    def _build(self) -> None:
        self._title = label("", "title", wraps=True, name="reports-title")
        self._verdict_icon = IconLabel("info", 18)
        self._verdict = label("", "heading", name="reports-verdict")
        self._notes = label("", "muted", wraps=True, name="reports-notes")
        self._notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.parts = Button("", "reports-parts", icon="graph", run=self._open_parts)
        self.parts.setToolTip("The smallest part that fails the same check, as a model of its own")
        self.export = Button("", "reports-export", icon="export", run=self._export_parts)
        self.export.setToolTip("Keep it as a file, for instance to send it to those who make the runtime")
        self.choice = ChoiceBox(24)
        self.choice.setObjectName("reports-choice")
        self.choice.setAccessibleName("Which report is shown")
        self.choice.activated.connect(self._chosen)
        self.table = QTableView()
        self.table.setObjectName("reports-table")
        self.table.setAccessibleName("Findings")
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSortingEnabled(True)
        self.table.setWordWrap(True)
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.activated.connect(self._activated)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self._verdict_icon)
        head.addWidget(self._verdict, 1)
        head.addWidget(self.choice)
        head.addWidget(IconButton("copy", "Copy the table as CSV", "reports-copy", self._copy))
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(8)
        column.addWidget(self._title)
        column.addLayout(head)
        column.addWidget(self._notes)
        buttons = WrapLayout(spacing=8)
        buttons.addWidget(self.parts)
        buttons.addWidget(self.export)
        column.addLayout(buttons)
        column.addWidget(self.table, 1)
        self._pages = QStackedWidget()
        self._pages.addWidget(
            EmptyState(
                "results",
                "No report yet",
                "Check a model against a board or a runtime: every operator is listed with its reason and remedy.",
                Button("Check …", "reports-check", run=lambda: self._desk.run("model.check")),
            )
        )
        self._pages.addWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._pages)

    def _arrived(self, row: ReportRow) -> None:
        at = self.choice.findData(row.id)
        if at >= 0:
            self.choice.removeItem(at)
        self.choice.insertItem(0, f"{KINDS.get(row.kind, '')}{row.title}", row.id)
        self.choice.setCurrentIndex(0)
        self.show_report(row)

    def _left(self, row: ReportRow) -> None:
        at = self.choice.findData(row.id)
        if at >= 0:
            self.choice.removeItem(at)
        if not self.choice.count():
            self._pages.setCurrentIndex(0)

    def _chosen(self) -> None:
        row = self._desk.stores.reports.get(self.choice.currentData())
        if row is not None:
            self.show_report(row)

    def _parts_of(self, row: ReportRow) -> list[Path]:
        return [Path(str(path)) for path in row.result.get("failing") or ()]

    def _open_parts(self) -> None:
        """Open the part that fails, or ask which one of several."""
        parts = self._parts_of(self._shown) if self._shown else []
        if len(parts) == 1:
            self._desk.run("model.open", paths=parts)
            return
        menu = QMenu(self)
        menu.setObjectName("reports-parts-menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for part in parts:
            menu.addAction(
                part.stem.removeprefix("failing_"), partial(self._desk.run, "model.open", paths=[part])
            )
        menu.popup(self.parts.mapToGlobal(QPoint(0, self.parts.height() + 2)))

    def _export_parts(self) -> None:
        """Ask where the parts that fail are to be kept: one as a file, several in a folder."""
        row = self._shown
        parts = self._parts_of(row) if row else []
        if row is None or not parts:
            return
        dialog = QFileDialog(self, self.export.text().rstrip(" …"))
        dialog.setObjectName("reports-export-dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if len(parts) == 1:
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            dialog.setDefaultSuffix(parts[0].suffix.removeprefix("."))
            dialog.selectFile(parts[0].name)
        else:
            dialog.setFileMode(QFileDialog.FileMode.Directory)
            dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        export = partial(self._desk.run, "model.export_failing", report=row.id)
        dialog.fileSelected.connect(lambda name: export(path=Path(name)))
        dialog.open()

    def _activated(self, index: QModelIndex) -> None:
        node = index.data(NODE_ROLE)
        if self._shown is not None and node is not None:
            self.node_wanted.emit(self._shown.subject, node)

    def _repaint(self) -> None:
        if self._shown is not None:
            self.show_report(self._shown)

    def _copy(self) -> None:
        if self._shown is None:
            return
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self._shown.columns)
        writer.writerows(self._shown.rows)
        copy_to_clipboard(text.getvalue())
