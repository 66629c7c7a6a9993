"""The boards as a table that sorts and filters, for when there are many."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPoint, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from edgestudio.studio.rows import BoardRow
from edgestudio.ui import icons, theme, wording
from edgestudio.ui.dragging import dragged_model
from edgestudio.ui.panels import board_words

_NAME_PX = 130
"""So much of a name is seen beside whether the board is there, also in a narrow dock."""
COLUMNS = ("Board", "Presence", "Paired", "Sensors", "Model", "Temperature", "Hardware", "Address")
ID_ROLE = Qt.ItemDataRole.UserRole + 1
SORT_ROLE = Qt.ItemDataRole.UserRole + 2


class BoardTable(QTableView):
    """One row per board; a row that can take a model is a drop target."""

    boards_chosen = Signal(list)
    menu_wanted = Signal(str, QPoint)
    model_dropped = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("boards-table")
        self.setAccessibleName("Boards")
        self._rows: dict[str, BoardRow] = {}
        self._model = QStandardItemModel(0, len(COLUMNS), self)
        self._model.setHorizontalHeaderLabels(list(COLUMNS))
        self._filter = QSortFilterProxyModel(self)
        self._filter.setSourceModel(self._model)
        self._filter.setSortRole(SORT_ROLE)
        self._filter.setFilterKeyColumn(-1)
        self._filter.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setModel(self._filter)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(30)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        self.setColumnWidth(0, _NAME_PX)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.horizontalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.setAcceptDrops(True)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._menu)
        self.selectionModel().selectionChanged.connect(self._choose)
        theme.changed.connect(self._redraw)

    def search(self, text: str) -> None:
        """Show only the rows that contain `text`."""
        self._filter.setFilterFixedString(text)

    def put(self, row: BoardRow) -> None:
        """Add or update a board."""
        at = self._row_number(row.id)
        if at is None:
            at = self._model.rowCount()
            self._model.appendRow([QStandardItem() for _ in COLUMNS])
        self._rows[row.id] = row
        icon, role, word = board_words.presence(row)
        temperature = board_words.temperature_c(row)
        cells: list[tuple[str, object]] = [
            (row.name, row.name.casefold()),
            (word, word),
            ("Paired" if row.is_paired else "Not paired", row.is_paired),
            ("SIMULATED" if row.is_simulated else "Real", row.is_simulated),
            (", ".join(board_words.running(slot) for slot in row.active) or wording.DASH, ""),
            (board_words.temperature(row), -300.0 if temperature is None else temperature),
            (board_words.hardware(row), row.hardware),
            (f"{row.address}:{row.port}{' (this computer)' if row.is_here else ''}", row.address),
        ]
        for column, (text, key) in enumerate(cells):
            item = self._model.item(at, column)
            item.setText(text)
            item.setData(key or text, SORT_ROLE)
            item.setData(row.id, ID_ROLE)
            item.setToolTip(text)
        self._model.item(at, 1).setIcon(icons.icon(icon, role))
        self._model.item(at, 3).setIcon(
            icons.icon("simulated", "warning") if row.is_simulated else icons.icon("board")
        )

    def _redraw(self) -> None:
        for row in self._rows.values():
            self.put(row)

    def take(self, board_id: str) -> None:
        """Remove a board."""
        at = self._row_number(board_id)
        self._rows.pop(board_id, None)
        if at is not None:
            self._model.removeRow(at)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Models only."""
        self._judge(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Only over a board that can take it."""
        self._judge(event)

    def dropEvent(self, event: QDropEvent) -> None:
        """Install on the board under the pointer."""
        sha256, row = dragged_model(event.mimeData()), self._under(event.position().toPoint())
        if sha256 and row is not None and board_words.accepts_models(row):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.model_dropped.emit(sha256, row.id)
        else:
            event.ignore()

    def _judge(self, event: QDropEvent) -> None:
        row = self._under(event.position().toPoint())
        is_entering = isinstance(event, QDragEnterEvent) and not isinstance(event, QDragMoveEvent)
        if dragged_model(event.mimeData()) is None:
            event.ignore()
        elif is_entering or (row is not None and board_words.accepts_models(row)):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
        else:
            event.ignore()

    def board_at(self, where: QPoint) -> BoardRow | None:
        """The board whose row is at a point of the screen."""
        inside = self.viewport().mapFromGlobal(where)
        return self._under(inside) if self.viewport().rect().contains(inside) else None

    def _under(self, where: QPoint) -> BoardRow | None:
        return self._rows.get(str(self.indexAt(where).data(ID_ROLE)))

    def _row_number(self, board_id: str) -> int | None:
        for at in range(self._model.rowCount()):
            if self._model.item(at, 0).data(ID_ROLE) == board_id:
                return at
        return None

    def _choose(self) -> None:
        indexes: list[QModelIndex] = self.selectionModel().selectedRows()
        self.boards_chosen.emit([str(index.data(ID_ROLE)) for index in indexes])

    def _menu(self, where: QPoint) -> None:
        row = self._under(where)
        if row is not None:
            self.menu_wanted.emit(row.id, self.viewport().mapToGlobal(where))
