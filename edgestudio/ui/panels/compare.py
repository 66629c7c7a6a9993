"""Models side by side: figures, two graphs with synced selection, and a table of the operators of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QSizePolicy,
    QStackedWidget,
    QTabWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from edgestudio.runtime.format_names import format_title
from edgestudio.studio.rows import ModelRow
from edgestudio.ui import wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.graph.difference import WORDS, Difference, counts, differences, value_text
from edgestudio.ui.late import LatePage, build
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.choice_box import ChoiceBox
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.flow import WrapLayout
from edgestudio.ui.widgets.text import label
from edgestudio.wire.errors import EdgeStudioError

if TYPE_CHECKING:
    from edgestudio.ui.graph.pair import GraphPair
    from edgestudio.ui.panels.compare_many import ManyTable


def _pair() -> QWidget:
    return build("edgestudio.ui.graph.pair:GraphPair")


def _many() -> QWidget:
    return build("edgestudio.ui.panels.compare_many:ManyTable")


def _paired(result: Mapping[str, Any], first: ModelRow) -> Mapping[str, Any]:
    """A result with the pairs that identical models leave out."""
    if not result.get("identical") or result.get("pairs"):
        return result
    count = int(first.summary.get("nodes") or 0)
    return {**result, "pairs": [[index, index] for index in range(count)]}


Diff = Callable[[str, str, Callable[[Any], object], Callable[[EdgeStudioError], object]], None]
_MOST_LINES = 500


def figures(a: ModelRow, b: ModelRow) -> list[tuple[str, str, str, str]]:
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
        self._state = label("", "muted", wraps=True, name="compare-state")
        self.left, self.right = ChoiceBox(), ChoiceBox()
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
        sides = QWidget()
        sides.setMinimumWidth(300)
        sides.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        side_by_side = QHBoxLayout(sides)
        side_by_side.setContentsMargins(0, 0, 0, 0)
        side_by_side.setSpacing(8)
        side_by_side.addWidget(self.left, 1)
        side_by_side.addWidget(label("with", "muted"))
        side_by_side.addWidget(self.right, 1)
        row = WrapLayout(spacing=8)
        row.addWidget(sides)
        self.button = Button(
            "Compare graphs", "compare-run", icon="compare", kind="primary", run=self._compare
        )
        self.all_button = Button("Compare selected", "compare-selected", run=self._compare_selected)
        self.all_button.setToolTip("All models that are selected in the Library, beside the first of them")
        row.addWidget(self.button)
        row.addWidget(self.all_button)
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
        column.addWidget(self._state)
        self.views = QTabWidget()
        self.views.setObjectName("compare-views")
        self.views.addTab(self.table, "Figures")
        self._graphs = LatePage("compare-graphs", _pair)
        self._many = LatePage("compare-several", _many)
        self.views.addTab(self._graphs, "Graphs")
        self.views.addTab(self._many, "Several models")
        self.views.setTabVisible(1, False)
        self.views.setTabVisible(2, False)
        column.addWidget(self.views, 1)
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
        names = [each.name for each in rows]
        for box in (self.left, self.right):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            for each in rows:
                kind = (each.recipe or format_title(each.format)) if names.count(each.name) > 1 else ""
                box.addItem(f"{each.name}{f' ({kind})' if kind else ''}", each.sha256)
            box.setCurrentIndex(max(0, box.findData(chosen)))
            box.blockSignals(False)
        if len(rows) > 1 and self.left.currentIndex() == self.right.currentIndex():
            self.right.setCurrentIndex(1)
        self._stack.setCurrentIndex(1 if len(rows) > 1 else 0)
        self._show()

    def _follow(self) -> None:
        chosen = self._desk.selected.models
        self.all_button.setVisible(len(chosen) > 2)
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
            self.views.setTabVisible(1, False)
            self._state.setText("Figures of both. “Compare graphs” lists every node that differs.")
        self.table.clear()
        for texts in figures(a, b):
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
        found = differences(result)
        number = counts(found)
        self._list_values(result.get("values") or ())
        for kind, title in (("added", "Only in B"), ("removed", "Only in A"), ("changed", "Changed")):
            self._list(title, [each for each in found if each.kind == kind])
        said = [f"{number[kind]:,} {WORDS[kind]}" for kind in ("changed", "removed", "added") if number[kind]]
        lineage = result.get("lineage")
        made = f" Matched by lineage, through {', '.join(lineage)}." if lineage else ""
        unread = len(result.get("unread") or ())
        unknown = f" {unread:,} weights have no values that can be read." if unread else ""
        self._state.setText(f"Operators: {', '.join(said) or 'no difference in structure'}.{made}{unknown}")
        a, b = self._rows()
        if a is not None and b is not None and a.layout_path and b.layout_path:
            beside = self.graphs
            beside.load((a.name, Path(a.layout_path)), (b.name, Path(b.layout_path)), result)
            self.views.setTabVisible(1, True)
            self.views.setCurrentIndex(1)

    @property
    def graphs(self) -> GraphPair:
        """Two graphs beside each other."""
        page = self._graphs.page
        assert page.objectName() == "graph-pair"
        return cast("GraphPair", page)

    def _compare_selected(self) -> None:
        """Hold every selected model against the first of them, one after the other."""
        found = [self._desk.stores.models.get(key) for key in self._desk.selected.models]
        rows = [row for row in found if row is not None and row.graph_path]
        if len(rows) < 2:
            return
        results: list[Mapping[str, Any]] = []
        many = cast("ManyTable", self._many.page)
        self.all_button.setEnabled(False)

        def ended(sentence: str) -> None:
            self.all_button.setEnabled(True)
            self._state.setText(sentence)

        def more(result: Mapping[str, Any]) -> None:
            results.append(_paired(result, rows[0]))
            following()

        def following() -> None:
            at = len(results) + 1
            if at == len(rows):
                paths = [Path(str(row.graph_path)) for row in rows]
                many.load([row.name for row in rows], paths, results, show, ended)
                return
            self._state.setText(f"Comparing {rows[0].name} with {rows[at].name} …")
            failed = lambda error: ended(error.in_full)  # noqa: E731
            self._diff(rows[0].path, rows[at].path, more, failed)

        def show(sentence: str) -> None:
            self.views.setTabVisible(2, True)
            self.views.setCurrentIndex(2)
            ended(sentence)

        following()

    def _list(self, title: str, entries: Sequence[Difference]) -> None:
        if not entries:
            return
        group = QTreeWidgetItem([f"{title} ({len(entries):,})"])
        self.table.addTopLevelItem(group)  # rows can be spanned only once they are in it
        for entry in entries[:_MOST_LINES]:
            what = entry.details.splitlines()[1:]
            item = QTreeWidgetItem(
                [": ".join([entry.title.partition("  (")[0], *(["; ".join(what)] if what else [])])]
            )
            item.setToolTip(0, entry.details)
            group.addChild(item)
            item.setFirstColumnSpanned(True)

    def _list_values(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inputs and outputs that differ, each side in its column."""
        if rows:
            group = QTreeWidgetItem([f"Inputs and outputs ({len(rows)})"])
            for row in rows:
                where = f"{str(row['side']).capitalize()} {row['position']}"
                group.addChild(QTreeWidgetItem([where, value_text(row, "a"), value_text(row, "b")]))
            self.table.addTopLevelItem(group)
            group.setExpanded(True)

    def _failed(self, error: EdgeStudioError) -> None:
        self.button.setEnabled(True)
        self._state.setText(error.in_full)
