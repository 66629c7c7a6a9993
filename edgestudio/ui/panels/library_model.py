"""The rows of the library as a Qt item model: a tree of lineage, variants under what they were made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QMimeData, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QStandardItem, QStandardItemModel

from edgestudio.runtime.format_names import format_title
from edgestudio.studio.library.search import parse_search
from edgestudio.studio.rows import ModelRow
from edgestudio.studio.stores import Store
from edgestudio.ui import icons, theme, wording
from edgestudio.ui.dragging import MODEL_MIME, model_mime

COLUMNS = ("Model", "Format", "Size", "Top-1", "Latency")
SHA_ROLE = Qt.ItemDataRole.UserRole + 1
SORT_ROLE = Qt.ItemDataRole.UserRole + 2
CAPTION_ROLE = Qt.ItemDataRole.UserRole + 3
GAIN_ROLE = Qt.ItemDataRole.UserRole + 4
Index = QModelIndex | QPersistentModelIndex


def caption(row: ModelRow) -> str:
    """The second line of a row: how a variant was made, or what a source is."""
    version = [f"v{row.version}"] if row.version else []
    if row.recipe:
        return " · ".join([*version, row.recipe, *row.tags])
    parts = [*version, format_title(row.format) or "reading …"]
    if row.summary.get("parameters") is not None:
        parts.append(f"{wording.count(row.summary['parameters'])} parameters")
    return " · ".join([*parts, *row.tags])


def gain(row: ModelRow) -> str:
    """What a variant gained in size against the model it was made from."""
    before, after = row.before or {}, row.after or {}
    return wording.change(before.get("size_bytes"), after.get("size_bytes")) if row.parent else ""


def measured_of(row: ModelRow, store: Store[ModelRow]) -> Mapping[str, Any]:
    """What was measured on a model; a source was measured as the "before" of its variants."""
    if row.after:
        return row.after
    return next((each.before for each in store.rows() if each.parent == row.sha256 and each.before), {})


def figures(row: ModelRow, measured: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Format, size, accuracy and latency as texts."""
    return (
        format_title(row.format) if row.format else wording.DASH,
        wording.size(row.size_bytes),
        wording.accuracy(measured.get("accuracy")),
        wording.latency(measured.get("latency_ms")),
    )


class LibraryModel(QStandardItemModel):
    """Follows the store of models; a variant whose parent comes later is moved under it then."""

    def __init__(self, store: Store[ModelRow]) -> None:
        super().__init__(0, len(COLUMNS))
        self._store = store
        self._items: dict[str, QStandardItem] = {}
        self.setHorizontalHeaderLabels(list(COLUMNS))
        for row in store.rows():
            self._add(row)
        store.added.connect(self._add)
        store.changed.connect(self._change)
        store.removed.connect(self._remove)
        theme.changed.connect(self._recolour)

    def close(self) -> None:
        """Stop following the store."""
        self._store.added.disconnect(self._add, missing_ok=True)
        self._store.changed.disconnect(self._change, missing_ok=True)
        self._store.removed.disconnect(self._remove, missing_ok=True)

    def row_of(self, sha256: str) -> ModelRow | None:
        """What the store knows of a model."""
        return self._store.get(sha256)

    def item_of(self, sha256: str) -> QStandardItem | None:
        """The item in the first column of a model."""
        return self._items.get(sha256)

    def mimeTypes(self) -> list[str]:
        """Models only."""
        return [MODEL_MIME]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        """The payload of the first index' model."""
        first = indexes[0].siblingAtColumn(0)
        return model_mime(str(first.data(SHA_ROLE)), str(first.data()))

    def supportedDragActions(self) -> Qt.DropAction:
        """A model is copied to a board, never moved there."""
        return Qt.DropAction.CopyAction

    def _add(self, row: ModelRow) -> None:
        if row.sha256 in self._items:
            self._change(row)
            return
        items = [QStandardItem() for _ in COLUMNS]
        for item in items:
            item.setEditable(False)
            item.setData(row.sha256, SHA_ROLE)
            item.setDropEnabled(False)
        for item in items[2:]:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._items[row.sha256] = items[0]
        self._parent_of(row).appendRow(items)
        self._change(row)
        for orphan in self._store.rows():
            if orphan.parent == row.sha256 and orphan.sha256 in self._items:
                self._adopt(orphan)

    def _change(self, row: ModelRow) -> None:
        first = self._items.get(row.sha256)
        if first is None:
            return
        measured = measured_of(row, self._store)
        first.setText(row.name)
        first.setIcon(icons.icon("variant" if row.parent else "model", "accent" if row.parent else "muted"))
        first.setData(caption(row), CAPTION_ROLE)
        first.setData(gain(row), GAIN_ROLE)
        first.setToolTip(f"{row.name}\n{caption(row)}\n{row.path}\nSHA-256 {row.sha256[:16]}…")
        latency = measured.get("latency_ms")
        sort_keys: tuple[Any, ...] = (
            row.name.casefold(),
            row.format,
            row.size_bytes,
            (measured.get("accuracy") or {}).get("top1", -1.0),
            latency.get("p50", 1e12) if isinstance(latency, dict) else 1e12,
        )
        for column, text in enumerate(("", *figures(row, measured))):
            item = self._sibling(first, column)
            if column:
                item.setText(text)
            item.setData(sort_keys[column], SORT_ROLE)
        parent = self._store.get(row.parent)
        if parent is not None and row.before and not parent.after:
            self._change(parent)
        first.setAccessibleText(f"{row.name}, {caption(row)}, {', '.join(figures(row, measured))}")

    def _remove(self, row: ModelRow) -> None:
        item = self._items.pop(row.sha256, None)
        if item is None:
            return
        while item.rowCount():  # the variants of a removed model stay, one level up
            self.invisibleRootItem().appendRow(item.takeRow(0))
        (item.parent() or self.invisibleRootItem()).removeRow(item.row())

    def _adopt(self, row: ModelRow) -> None:
        item = self._items[row.sha256]
        old = item.parent() or self.invisibleRootItem()
        new = self._parent_of(row)
        if old.index() != new.index():
            new.appendRow(old.takeRow(item.row()))

    def _parent_of(self, row: ModelRow) -> QStandardItem:
        return self._items.get(row.parent or "") or self.invisibleRootItem()

    def _sibling(self, first: QStandardItem, column: int) -> QStandardItem:
        return self.itemFromIndex(first.index().siblingAtColumn(column))

    def _recolour(self) -> None:
        for row in self._store.rows():
            self._change(row)


class LibraryFilter(QSortFilterProxyModel):
    """Sorts by value and finds as `library search` does; the parents of a hit stay visible."""

    def __init__(self, source: LibraryModel) -> None:
        super().__init__()
        self._source = source
        self._tests: list[Callable[[ModelRow], bool]] = []
        self.setSortRole(SORT_ROLE)
        self.setRecursiveFilteringEnabled(True)
        self.setSourceModel(source)

    def search(self, text: str) -> None:
        """Show only what matches, see `studio.library.search`; raises InputError for what it does not understand."""
        self._tests = parse_search(text)
        self.invalidate()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        """True when every term holds."""
        index = self._source.index(source_row, 0, source_parent)
        row = self._source.row_of(str(index.data(SHA_ROLE)))
        return row is not None and all(test(row) for test in self._tests)
