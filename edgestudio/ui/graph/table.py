"""The layer table beside the graph: one row per node, sorted by any column, linked with the view."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from edgestudio.model.graph import Graph
from edgestudio.model.picture.boxes import shape_text
from edgestudio.model.query import parameters
from edgestudio.ui import wording
from edgestudio.ui.graph.overlay import Overlay

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("#", "Name", "Operator", "Output", "Type", "Parameters", "MACs")
_WIDTHS = (44, 120, 120, 120, 70, 84, 74)
_BESIDE_NUMBER_PX = 20
_NUMBERS = {0, 5, 6, 7}
ROOT = QModelIndex()


@dataclass(frozen=True, slots=True)
class Layers:
    """The columns of the table; numbers are NaN where unknown."""

    names: list[str]
    operators: list[str]
    outputs: list[str]
    types: list[str]
    parameters: NDArray[np.float64]
    macs: NDArray[np.float64]

    @classmethod
    def of(cls, graph: Graph) -> Layers:
        """Read the columns off a graph; takes a while for a large one."""
        first = [
            graph.tensors[n.outputs[0]] if n.outputs and n.outputs[0] >= 0 else None for n in graph.nodes
        ]
        shapes = {t.shape: shape_text(t.shape) for t in first if t}
        return cls(
            [node.name for node in graph.nodes],
            [node.op for node in graph.nodes],
            [shapes[t.shape] if t else "" for t in first],
            [t.dtype if t else "" for t in first],
            np.array([parameters(graph, node) for node in graph.nodes], np.float64),
            np.array([math.nan if node.macs is None else node.macs for node in graph.nodes], np.float64),
        )

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self.names)


class LayerModel(QAbstractTableModel):
    """Rows in display order over the columns of a graph; filtering and sorting only change that order."""

    def __init__(self) -> None:
        super().__init__()
        self._layers = Layers([], [], [], [], np.zeros(0), np.zeros(0))
        self._overlay: Overlay | None = None
        self._kept = np.zeros(0, np.intp)
        self._order = np.zeros(0, np.intp)
        self._sorted_by = (0, Qt.SortOrder.AscendingOrder)

    def show_layers(self, layers: Layers) -> None:
        """Show other rows, all of them."""
        self.beginResetModel()
        self._layers, self._overlay = layers, None
        self._kept = np.arange(len(layers))
        self._order = self._sorted()
        self.endResetModel()

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Add or remove the column of an overlay."""
        self.beginResetModel()
        self._overlay = overlay
        self._order = self._sorted()
        self.endResetModel()

    def keep(self, nodes: Sequence[int] | None) -> None:
        """Show only these nodes; all with None."""
        self.beginResetModel()
        self._kept = np.arange(len(self._layers)) if nodes is None else np.array(nodes, np.intp)
        self._order = self._sorted()
        self.endResetModel()

    @property
    def total(self) -> int:
        """How many nodes there are, shown or not."""
        return len(self._layers)

    def node_at(self, row: int) -> int:
        """The node in a row."""
        return int(self._order[row])

    def row_of(self, node: int) -> int:
        """The row that shows a node, -1 when it is filtered out."""
        found = np.flatnonzero(self._order == node)
        return int(found[0]) if len(found) else -1

    def as_csv(self) -> str:
        """The rows as they are shown, numbers unrounded."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        columns = range(self.columnCount())
        writer.writerow([self._title(column) for column in columns])
        for node in self._order.tolist():
            writer.writerow([_harmless(self._raw(node, column)) for column in columns])
        return out.getvalue()

    def rowCount(self, parent: Index = ROOT) -> int:
        """How many nodes are shown."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = ROOT) -> int:
        """The fixed columns, and one more with an overlay."""
        return 0 if parent.isValid() else len(COLUMNS) + (self._overlay is not None)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """Titles above the columns."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._title(section)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section in _NUMBERS else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Texts as people read them; the whole name as tool tip."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if index.column() in _NUMBERS else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        value = self._raw(int(self._order[index.row()]), index.column())
        if not isinstance(value, float):
            return str(value) or (wording.DASH if index.column() == len(COLUMNS) else "")
        if math.isnan(value):
            return wording.DASH
        if index.column() == len(COLUMNS) and self._overlay is not None:
            return self._overlay.text(value)
        return wording.count(value)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is unknown comes last either way."""
        self._sorted_by = (column, order)
        self.beginResetModel()
        self._order = self._sorted()
        self.endResetModel()

    def _title(self, column: int) -> str:
        if column < len(COLUMNS):
            return COLUMNS[column]
        return self._overlay.title if self._overlay else ""

    def _raw(self, node: int, column: int) -> str | int | float:
        layers = self._layers
        if column == 0:
            return node
        if column <= 4:
            return (layers.names, layers.operators, layers.outputs, layers.types)[column - 1][node]
        value = float(self._numbers(column)[node])
        is_word = column == len(COLUMNS) and self._overlay is not None and bool(self._overlay.words)
        return self._overlay.text(value) if is_word and self._overlay else value

    def _numbers(self, column: int) -> NDArray[np.float64]:
        if column == 5:
            return self._layers.parameters
        if column == 6 or self._overlay is None:
            return self._layers.macs
        return self._overlay.values

    def _sorted(self) -> NDArray[np.intp]:
        column, order = self._sorted_by
        is_falling = order == Qt.SortOrder.DescendingOrder
        kept = self._kept
        if column == 0:
            return kept[::-1] if is_falling else kept
        if column <= 4:
            rows = sorted(
                kept.tolist(), key=lambda node: str(self._raw(node, column)).casefold(), reverse=is_falling
            )
            return np.array(rows, np.intp)
        values = self._numbers(column)[kept]
        return kept[np.argsort(-values if is_falling else values, kind="stable")]


class LayerTable(QTableView):
    """The table widget; `node_chosen` when the user picks a row."""

    node_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("layer-table")
        self.setAccessibleName("Layers")
        self.layer_model = LayerModel()
        self.layer_model.setParent(self)
        self.setModel(self.layer_model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(28)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self._is_following = False
        self.selectionModel().currentRowChanged.connect(self._choose)
        self.layer_model.modelReset.connect(self._make_room_for_numbers)

    def follow(self, node: int) -> None:
        """Select the row of a node without announcing it."""
        row = self.layer_model.row_of(node) if node >= 0 else -1
        self._is_following = True
        if row < 0:
            self.clearSelection()
            self.selectionModel().clearCurrentIndex()
        else:
            index = self.layer_model.index(row, 0)
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(index, flags)
            self.scrollTo(index, QAbstractItemView.ScrollHint.EnsureVisible)
        self._is_following = False

    def _make_room_for_numbers(self) -> None:
        """The number of a node is never cut off, however many there are."""
        widest = self.fontMetrics().horizontalAdvance("8" * len(str(self.layer_model.total)))
        self.setColumnWidth(0, max(self.columnWidth(0), widest + _BESIDE_NUMBER_PX))

    def _choose(self, current: QModelIndex, previous: QModelIndex) -> None:
        if current.isValid() and not self._is_following:
            self.node_chosen.emit(self.layer_model.node_at(current.row()))


def _harmless(value: str | float) -> str | int | float:
    """A text that a spreadsheet would take for a formula, as one that it shows; numbers stay."""
    is_formula = isinstance(value, str) and len(value) > 1 and value[0] in "=+-@\t\r"
    return f"'{value}" if is_formula else value
