"""The Library: every model with its variants under it, found by typing, dragged onto boards."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QDrag, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QStackedWidget,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.rows import ModelRow
from edgestudio.ui import wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.dragging import model_picture
from edgestudio.ui.menus import context_menu
from edgestudio.ui.panels.library_delegate import LibraryDelegate
from edgestudio.ui.panels.library_model import SHA_ROLE, LibraryFilter, LibraryModel
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import label, set_property
from edgestudio.wire.errors import InputError

MENU = (
    "optimize.run", "board.push", "", "model.check", "model.diff", "model.bench", "model.evaluate",
    "optimize.sensitivity", "", "model.edit", "model.rename", "model.set_tags", "model.set_version", "model.note",
    "model.set_facts", "", "model.open_in_netron", "model.reveal", "model.export", "model.publish", "",
    "model.remove",
)  # fmt: skip
# The narrower the panel, the fewer columns: they go in this order until the name has its room.
_FIRST_TO_GO = (1, 4, 3)
_NAME_PX = 200


class LibraryTree(QTreeView):
    """The tree itself: a drag source whose drags carry one model."""

    def __init__(self, desk: Desk, filtered: LibraryFilter) -> None:
        super().__init__()
        self._desk = desk
        self.setModel(filtered)
        self.setObjectName("library-tree")
        self.setAccessibleName("Models")
        self.setItemDelegate(LibraryDelegate(self))
        self.setUniformRowHeights(True)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setIndentation(18)
        self.setExpandsOnDoubleClick(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        self.setDragEnabled(True)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        head = self.header()
        head.setStretchLastSection(False)
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        head.setMinimumSectionSize(40)

    def startDrag(self, actions: Qt.DropAction) -> None:
        """Start dragging the current model; the boards that accept it are told."""
        index = self.currentIndex()
        if not index.isValid():
            return
        drag = QDrag(self)
        drag.setMimeData(self.model().mimeData([index]))
        drag.setPixmap(model_picture(str(index.siblingAtColumn(0).data())))
        drag.setHotSpot(QPoint(16, 16))
        self._desk.drag.began.emit()
        try:
            drag.exec(Qt.DropAction.CopyAction)
        finally:
            self._desk.drag.ended.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Hide the columns for which there is no room."""
        super().resizeEvent(event)
        self.make_room()

    def make_room(self) -> None:
        """Hide columns that say nothing, then others until the name has its room; show them when there is more."""
        widths = {
            column: max(self.sizeHintForColumn(column), self.header().sectionSizeHint(column))
            for column in range(1, self.model().columnCount())
        }
        blank = {column for column in _FIRST_TO_GO if not self._says_anything(column)}
        spare = self.viewport().width() - _NAME_PX - sum(widths[each] for each in widths if each not in blank)
        for column in _FIRST_TO_GO:
            is_hidden = column in blank or spare < 0
            self.setColumnHidden(column, is_hidden)
            spare += widths[column] if is_hidden and column not in blank else 0

    def _says_anything(self, column: int) -> bool:
        """True when some row has more than a dash there."""
        model, above = self.model(), [QModelIndex()]
        while above:
            parent = above.pop()
            for row in range(model.rowCount(parent)):
                if model.index(row, column, parent).data() not in (None, wording.DASH):
                    return True
                above.append(model.index(row, 0, parent))
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return opens, Delete removes."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.activated.emit(self.currentIndex())
        else:
            super().keyPressEvent(event)


_SEARCH_HELP = (
    "Words in names, tags, notes, recipes and versions, or:\n"
    "tag:release version:1.2* format:onnx op:Conv parent:any\n"
    "size<1M accuracy>0.97 macs<=300M, or any metric\n"
    "-tag:old excludes"
)


class LibraryPanel(QWidget):
    """Search above, tree below; an empty library says how to fill it."""

    model_opened = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("library-panel")
        self._desk = desk
        self._model = LibraryModel(desk.stores.models)
        self._model.setParent(self)
        self._filter = LibraryFilter(self._model)
        self._filter.setParent(self)
        self.tree = LibraryTree(desk, self._filter)
        self.search = QLineEdit()
        self.search.setObjectName("library-search")
        self.search.setAccessibleName("Search the library")
        self.search.setPlaceholderText("Search models")
        self.search.setToolTip(_SEARCH_HELP)
        self.search.setClearButtonEnabled(True)
        self._problem = label("", "bad", wraps=True, name="library-search-problem")
        self._problem.setContentsMargins(12, 0, 12, 6)
        self._problem.hide()
        self._stack = QStackedWidget()
        self._stack.addWidget(
            EmptyState(
                "model",
                "No models yet",
                "Open a model file, drop one anywhere on this window, or start with the sample.",
                Button("Open …", "library-open", run=lambda: desk.run("model.open")),
                Button("Sample", "library-sample", run=lambda: desk.run("model.open_sample")),
            )
        )
        self._stack.addWidget(self.tree)
        self._lay_out()
        self._connect()
        self._show_emptiness()

    def closeEvent(self, event: object) -> None:
        """Stop following the store."""
        self._model.close()

    def reveal(self, sha256: str) -> None:
        """Select a model and scroll to it."""
        item = self._model.item_of(sha256)
        if item is None:
            return
        index = self._filter.mapFromSource(item.index())
        self.tree.scrollTo(index)
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.tree.selectionModel().setCurrentIndex(index, flags)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(8, 8, 8, 8)
        head.setSpacing(4)
        head.addWidget(self.search, 1)
        head.addWidget(
            IconButton("add", "Open a model …", "library-add", lambda: self._desk.run("model.open"))
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self._problem)
        column.addWidget(self._stack, 1)

    def _connect(self) -> None:
        self.search.textChanged.connect(self._search)
        self.tree.selectionModel().selectionChanged.connect(self._select)
        self.tree.activated.connect(self._open)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._menu)
        self._model.rowsInserted.connect(self._grown)
        self._room = QTimer(self)
        self._room.setSingleShot(True)
        self._room.timeout.connect(self.tree.make_room)
        self._model.dataChanged.connect(self._filled)
        self._model.rowsRemoved.connect(self._show_emptiness)
        self._desk.stores.models.added.connect(self._greet)
        self._desk.selected.model_changed.connect(self._follow)

    def _search(self, text: str) -> None:
        """Filter, or say what cannot be understood; what was found before stays."""
        problem = ""
        try:
            self._filter.search(text)
        except InputError as error:
            problem = error.sentence
        set_property(self.search, "invalid", "true" if problem else "false")
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self.tree.expandAll()

    def _select(self) -> None:
        keys = [str(index.data(SHA_ROLE)) for index in self.tree.selectionModel().selectedRows()]
        current = str(self.tree.currentIndex().data(SHA_ROLE))
        if current in keys:
            keys.remove(current)
            keys.insert(0, current)
        self._desk.selected.select_model(*keys)

    def _follow(self) -> None:
        wanted = self._desk.selected.model
        if wanted and wanted not in {
            str(i.data(SHA_ROLE)) for i in self.tree.selectionModel().selectedRows()
        }:
            self.reveal(wanted)

    def _open(self) -> None:
        sha256 = self.tree.currentIndex().data(SHA_ROLE)
        if sha256:
            self.model_opened.emit(str(sha256))

    def _menu(self, where: QPoint) -> None:
        if self.tree.indexAt(where).isValid():
            context_menu(self, self._desk, MENU).popup(self.tree.viewport().mapToGlobal(where))

    def _filled(self) -> None:
        self._room.start(0)

    def _grown(self) -> None:
        self._show_emptiness()
        self.tree.expandAll()

    def _greet(self, row: ModelRow) -> None:
        """The first model is selected by itself, so that the next step is one click away."""
        if len(self._desk.stores.models) == 1:
            self.reveal(row.sha256)

    def _show_emptiness(self) -> None:
        self._stack.setCurrentIndex(1 if self._model.rowCount() else 0)
