"""Several models as one table: a row for each operator of the first, and what stands in its place in the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHeaderView, QTableView

from edgestudio.model import graph as graphs
from edgestudio.model.graph import Graph
from edgestudio.model.picture.boxes import shape_text
from edgestudio.ui import theme
from edgestudio.ui.graph.background import Background

Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()
_NAME_CHARACTERS = 48


@dataclass(frozen=True, slots=True)
class Cell:
    """One operator of one model; `differs` from the one in the first column."""

    text: str
    tip: str
    differs: bool


Rows = list[tuple[Cell | None, ...]]


def matched_rows(paths: Sequence[Path], results: Sequence[Mapping[str, Any]]) -> Rows:
    """The operators of the first saved graph beside their partners in the others, then what only those have.

    `results[k]` is the `diff` of the first with graph k + 1. Raises ValueError or OSError for no saved graph.
    """
    first, *others = [graphs.load(path).main for path in paths]
    partners = [{int(i): int(j) for i, j in result.get("pairs") or ()} for result in results]
    changed = [{int(row["a"]) for row in result.get("changed") or ()} for result in results]
    rows: Rows = []
    for index in range(len(first.nodes)):
        cells: list[Cell | None] = [_cell(first, index, differs=False)]
        for graph, partner, differing in zip(others, partners, changed, strict=True):
            other = partner.get(index)
            cells.append(None if other is None else _cell(graph, other, differs=index in differing))
        rows.append(tuple(cells))
    for column, (graph, partner) in enumerate(zip(others, partners, strict=True), 1):
        known = set(partner.values())
        for index in range(len(graph.nodes)):
            if index not in known:
                alone: list[Cell | None] = [None] * len(paths)
                alone[column] = _cell(graph, index, differs=True)
                rows.append(tuple(alone))
    return rows


def _cell(graph: Graph, index: int, *, differs: bool) -> Cell:
    node = graph.nodes[index]
    tensor = graph.tensors[node.outputs[0]] if node.outputs and node.outputs[0] >= 0 else None
    shape = shape_text(tensor.shape) if tensor else ""
    mark = "≠ " if differs else ""
    dtype = tensor.dtype if tensor else ""
    name = node.name if len(node.name) <= _NAME_CHARACTERS else node.name[: _NAME_CHARACTERS - 1] + "…"
    return Cell(f"{mark}{node.op}  {shape}", f"{name}\n{node.op} {dtype} {shape}", differs)


class ManyModel(QAbstractTableModel):
    """The rows as Qt asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self._titles: tuple[str, ...] = ()
        self._rows: Rows = []

    def show_rows(self, titles: Sequence[str], rows: Rows) -> None:
        """Show other models."""
        self.beginResetModel()
        self._titles, self._rows = tuple(titles), rows
        self.endResetModel()

    def rowCount(self, parent: Index = _ROOT) -> int:
        """One for each operator."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _ROOT) -> int:
        """One for each model."""
        return 0 if parent.isValid() else len(self._titles)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The models' names; numbers down the side."""
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        return self._titles[section] if orientation == Qt.Orientation.Horizontal else section

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Operator and shape; what differs is marked by a sign and a colour."""
        cell = self._rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return "–" if cell is None else cell.text
        if cell is None:
            return QColor(theme.palette().muted) if role == Qt.ItemDataRole.ForegroundRole else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return cell.tip
        if role == Qt.ItemDataRole.ForegroundRole and cell.differs:
            return QColor(theme.palette().accent)
        return None


class ManyTable(QTableView):
    """Three models or more beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("compare-many")
        self.setAccessibleName("Operators of all models")
        self.rows = ManyModel()
        self._loading = Background(self)
        self.setModel(self.rows)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.verticalHeader().setDefaultSectionSize(26)
        self.setShowGrid(False)

    def load(
        self,
        titles: Sequence[str],
        paths: Sequence[Path],
        results: Sequence[Mapping[str, Any]],
        done: Callable[[str], object],
        failed: Callable[[str], object],
    ) -> None:
        """Read the saved graphs beside the UI thread and show them; `done` gets a sentence on what came of it."""

        def show(made: Rows) -> None:
            self.rows.show_rows(titles, made)
            differing = sum(any(cell is None or cell.differs for cell in row) for row in made)
            done(f"{len(made):,} operators of {len(titles)} models, {differing:,} of them differ.")

        self._loading.run(lambda: matched_rows(paths, results), show, failed)
