"""What examinations found: verdict first, then a table of what was looked at, with reasons and remedies."""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.rows import ReportRow
from edgestudio.ui import icons, theme, wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.code import copy_to_clipboard
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import IconLabel, label, set_role

# What stands before a title that does not say its kind.
KINDS = {"check": "Target check: ", "diff": "Differences: "}
TITLES = {
    "op": "Operator", "count": "Count", "status": "Status", "reason": "Reason", "remedy": "Remedy", "change": "Change",
    "name": "Name", "severity": "Weight", "text": "What was found", "node": "Layer", "operator": "Operator",
    "sqnr_db": "SQNR, dB", "max_abs": "Largest error", "is_suspect": "Keep in float",
}  # fmt: skip
# Words that say how something is: icon and colour role beside the word, never the colour alone.
_GOOD, _NOTED, _WARNED, _BAD = (
    ("success", "good"),
    ("info", "muted"),
    ("warning", "warning"),
    ("error", "bad"),
)
LOOKS = {
    "supported": _GOOD, "partial": _WARNED, "unsupported": _BAD, "unknown": ("unknown", "muted"),
    "runs": _GOOD, "runs with limits": _WARNED, "does not run": _BAD,
    "ok": _GOOD, "good": _GOOD, "info": _NOTED, "warning": _WARNED, "error": _BAD,
    "identical": _GOOD, "added": ("add", "good"), "removed": ("minus", "bad"), "changed": ("compare", "warning"),
}  # fmt: skip
_WIDE = ("reason", "remedy", "text", "name", "node")


def look(word: str) -> tuple[str, str]:
    """Icon and role of a word of status; neutral for one that is not known."""
    first = word.lower().split()[0] if word.strip() else ""
    return LOOKS.get(word.lower(), LOOKS.get(first, _NOTED))


_OPERATOR_PX = 170
_NODE_ROLE = Qt.ItemDataRole.UserRole + 1


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
        self.parts.setVisible(bool(parts))
        self.parts.setText(
            "Open the failing part" if len(parts) == 1 else f"Open a failing part ({len(parts)}) …"
        )
        self._fill(row)
        self._pages.setCurrentIndex(1)

    def _build(self) -> None:
        self._title = label("", "title", wraps=True, name="reports-title")
        self._verdict_icon = IconLabel("info", 18)
        self._verdict = label("", "heading", name="reports-verdict")
        self._notes = label("", "muted", wraps=True, name="reports-notes")
        self._notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.parts = Button("", "reports-parts", icon="graph", run=self._open_parts)
        self.parts.setToolTip("The smallest part that fails the same check, as a model of its own")
        self.choice = QComboBox()
        self.choice.setObjectName("reports-choice")
        self.choice.setAccessibleName("Which report is shown")
        self.choice.setMinimumContentsLength(24)
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
        head.addWidget(self.parts)
        head.addWidget(self.choice)
        head.addWidget(IconButton("copy", "Copy the table as CSV", "reports-copy", self._copy))
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(8)
        column.addWidget(self._title)
        column.addLayout(head)
        column.addWidget(self._notes)
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

    def _fill(self, row: ReportRow) -> None:
        model = QStandardItemModel(len(row.rows), len(row.columns), self.table)
        model.setHorizontalHeaderLabels([TITLES.get(each, each.capitalize()) for each in row.columns])
        nodes = _nodes(row)
        for at, cells in enumerate(row.rows):
            for column, (name, value) in enumerate(zip(row.columns, cells, strict=True)):
                item = _item(name, value)
                item.setData(nodes[at] if at < len(nodes) else None, _NODE_ROLE)
                model.setItem(at, column, item)
        old = self.table.model()
        self.table.setModel(model)
        if old is not None:
            old.deleteLater()
        head = self.table.horizontalHeader()
        for column, name in enumerate(row.columns):
            mode = (
                QHeaderView.ResizeMode.Stretch if name in _WIDE else QHeaderView.ResizeMode.ResizeToContents
            )
            head.setSectionResizeMode(column, mode)
            if name in ("op", "operator"):  # long names leave room for what is said about them
                head.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
                wanted = max(self.table.sizeHintForColumn(column) + 12, head.sectionSizeHint(column))
                self.table.setColumnWidth(column, min(_OPERATOR_PX, wanted))
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)

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

    def _activated(self, index: QModelIndex) -> None:
        node = index.data(_NODE_ROLE)
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


def _nodes(row: ReportRow) -> list[int | str | None]:
    """What each row of a report is about in the model's graph: the first node's number, a node's name, or nothing."""
    if row.kind == "sensitivity" and "node" in row.columns:
        at = row.columns.index("node")
        return [str(cells[at]) for cells in row.rows]
    if row.kind == "diff":
        places = (
            ("added", "index"),
            ("removed", ""),
            ("changed", "b"),
        )  # what was removed is not in this model
        rows = [(each, key) for kind, key in places for each in row.result.get(kind) or ()]
        return [each.get(key) if isinstance(each, dict) else None for each, key in rows]
    found = [*(row.result.get("findings") or ()), *(row.result.get("operators") or ())]
    return [next(iter(each.get("nodes") or ()), None) if row.kind == "check" else None for each in found]


def _item(name: str, value: Any) -> QStandardItem:
    item = QStandardItem()
    if isinstance(value, bool):
        item.setText("yes" if value else "")
    elif isinstance(value, float):
        item.setText(f"{value:.4g}")
        item.setData(value, Qt.ItemDataRole.UserRole)
    else:
        item.setText(wording.DASH if value is None else str(value))
    if name in ("status", "severity", "change"):
        icon, role = look(str(value))
        item.setIcon(icons.icon(icon, role))
    item.setToolTip(item.text())
    return item
