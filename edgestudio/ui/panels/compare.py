"""Two models side by side: figures, and what differs in their graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QStackedWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.rows import ModelRow
from edgestudio.ui import wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import label
from edgestudio.wire.errors import EdgeStudioError

Diff = Callable[[str, str, Callable[[Any], object], Callable[[EdgeStudioError], object]], None]
_MOST_LINES = 500


def differences(a: ModelRow, b: ModelRow) -> list[tuple[str, str, str, str]]:
    """Name, text of A, text of B, relative change, for every figure that one of them has."""
    left, right = dict(_facts(a)), dict(_facts(b))
    changed = {
        "Size": wording.change(a.size_bytes, b.size_bytes),
        "Parameters": wording.change(a.summary.get("parameters"), b.summary.get("parameters")),
        "MACs": wording.change(a.summary.get("macs"), b.summary.get("macs")),
    }
    return [
        (name, left.get(name, wording.DASH), right.get(name, wording.DASH), changed.get(name, ""))
        for name in dict.fromkeys((*left, *right))
    ]


def _facts(row: ModelRow) -> list[tuple[str, str]]:
    measured = row.after or {}
    facts = wording.facts({"format": row.format, **row.summary, "size_bytes": row.size_bytes})
    return [
        *facts,
        ("Top-1", wording.accuracy(measured.get("accuracy"))),
        ("Latency, median", wording.latency(measured.get("latency_ms"))),
    ]


class ComparePanel(QWidget):
    """Chooses A and B from the library; a selected variant is compared with its parent."""

    def __init__(self, desk: Desk, diff: Diff) -> None:
        super().__init__()
        self.setObjectName("compare-panel")
        self._desk, self._diff = desk, diff
        self._pair: tuple[str, str] = ("", "")
        self.left, self.right = QComboBox(), QComboBox()
        for box, name, title in ((self.left, "compare-a", "Model A"), (self.right, "compare-b", "Model B")):
            box.setObjectName(name)
            box.setAccessibleName(title)
            box.currentIndexChanged.connect(lambda _: self._show())
        self._build()
        store = desk.stores.models
        for signal in (store.added, store.changed, store.removed):
            signal.connect(self._refill)
        desk.selected.model_changed.connect(self._follow)
        self._refill()
        self._follow()

    def _build(self) -> None:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.left, 1)
        row.addWidget(label("with", "muted"))
        row.addWidget(self.right, 1)
        self.button = Button(
            "Compare graphs", "compare-run", icon="compare", kind="primary", run=self._compare
        )
        row.addWidget(self.button)
        column.addLayout(row)
        self.table = QTreeWidget()
        self.table.setObjectName("compare-table")
        self.table.setAccessibleName("Figures and differences")
        self.table.setHeaderLabels(["", "A", "B", "Change"])
        self.table.setUniformRowHeights(True)
        self.table.setAlternatingRowColors(False)
        head = self.table.header()
        head.setStretchLastSection(False)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        head.setSectionResizeMode(3, QHeaderView.ResizeMode.ResizeToContents)
        self._state = label("", "muted", wraps=True, name="compare-state")
        column.addWidget(self._state)
        column.addWidget(self.table, 1)
        self._stack = QStackedWidget()
        self._stack.addWidget(
            EmptyState(
                "compare",
                "Two models make a comparison",
                "Open another model, or make a variant with a recipe; it is then compared with its parent.",
                Button("Open …", "compare-open", run=lambda: self._desk.run("model.open")),
            )
        )
        self._stack.addWidget(page)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._stack)

    def _refill(self, row: ModelRow | None = None) -> None:
        rows = self._desk.stores.models.rows()
        for box in (self.left, self.right):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            for each in rows:
                box.addItem(f"{each.name}{f' ({each.recipe})' if each.recipe else ''}", each.sha256)
            box.setCurrentIndex(max(0, box.findData(chosen)))
            box.blockSignals(False)
        if len(rows) > 1 and self.left.currentIndex() == self.right.currentIndex():
            self.right.setCurrentIndex(1)
        self._stack.setCurrentIndex(1 if len(rows) > 1 else 0)
        self._show()

    def _follow(self) -> None:
        chosen = self._desk.selected.models
        row = self._desk.stores.models.get(self._desk.selected.model)
        if len(chosen) > 1:
            self._choose(chosen[1], chosen[0])
        elif row is not None and row.parent:
            self._choose(row.parent, row.sha256)

    def _choose(self, a: str, b: str) -> None:
        for box, key in ((self.left, a), (self.right, b)):
            at = box.findData(key)
            if at >= 0:
                box.setCurrentIndex(at)

    def _rows(self) -> tuple[ModelRow | None, ModelRow | None]:
        get = self._desk.stores.models.get
        return get(self.left.currentData()), get(self.right.currentData())

    def _show(self) -> None:
        a, b = self._rows()
        if a is None or b is None:
            return
        self.button.setEnabled(a.sha256 != b.sha256)
        if self._pair != (a.sha256, b.sha256):
            self._pair = (a.sha256, b.sha256)
            self._state.setText("Figures of both. “Compare graphs” lists every node that differs.")
        self.table.clear()
        for texts in differences(a, b):
            item = QTreeWidgetItem(list(texts))
            item.setTextAlignment(3, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.addTopLevelItem(item)

    def _compare(self) -> None:
        a, b = self._rows()
        if a is not None and b is not None:
            self._state.setText("Comparing the graphs …")
            self.button.setEnabled(False)
            pair = (a.sha256, b.sha256)
            self._diff(a.path, b.path, lambda result: self._done(pair, result), self._failed)

    def _done(self, pair: tuple[str, str], result: Mapping[str, Any]) -> None:
        self.button.setEnabled(True)
        if pair != self._pair:
            return
        self._show()
        if result.get("identical"):
            self._state.setText("The graphs are identical.")
            return
        counts = []
        for title, key in (("Added", "added"), ("Removed", "removed"), ("Changed", "changed")):
            entries = result.get(key) or ()
            counts.append(f"{len(entries)} {title.casefold()}")
            self._list(title, entries)
        self._state.setText(f"{', '.join(counts)}.")

    def _list(self, title: str, entries: Sequence[Any]) -> None:
        group = QTreeWidgetItem([f"{title} ({len(entries)})"])
        for entry in entries[:_MOST_LINES]:
            if isinstance(entry, Mapping):
                rest = "  ".join(f"{key}: {value}" for key, value in entry.items() if key != "name")
                group.addChild(QTreeWidgetItem([str(entry.get("name", "")), rest]))
            else:
                group.addChild(QTreeWidgetItem([str(entry)]))
        self.table.addTopLevelItem(group)
        group.setExpanded(True)

    def _failed(self, error: EdgeStudioError) -> None:
        self.button.setEnabled(True)
        self._state.setText(f"{error.message} {error.hint}".strip())
