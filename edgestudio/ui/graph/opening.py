"""Opening a model in the graph panel: its picture as soon as there is one, then everything that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QWidget

from edgestudio.model.graph import Graph, Model
from edgestudio.model.picture.layout import Layout
from edgestudio.model.picture.outline import outline
from edgestudio.studio.rows import ModelRow
from edgestudio.ui.graph.background import Background
from edgestudio.ui.graph.document import Document
from edgestudio.ui.graph.stage import GraphStage
from edgestudio.ui.memory import give_memory_back, undisturbed

_PAINT_FIRST_MS = 30
_SETTLED_MS = 1000


class Opening(GraphStage):
    """Reads beside the UI thread; what comes after, `_show_prepared` and `_forget`, is the panel's.

    `document_shown` tells that everything about a model is ready (the picture comes before), `failed` a sentence.
    """

    document_shown = Signal()
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.document: Document | None = None
        self.collapsed: frozenset[int] = frozenset()
        self.has_picture = False
        self.row: ModelRow | None = None
        self._outline: tuple[Layout, Graph] | None = None
        self._loading = Background(self)
        self._after_paint: Callable[[], object] = lambda: None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_PAINT_FIRST_MS)
        self._soon.timeout.connect(lambda: self._after_paint())
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(give_memory_back)
        self.document_shown.connect(self._settled.start)

    @property
    def known_graph(self) -> Graph:
        """The graph, or what the picture alone tells of it: the names and operators of its boxes."""
        if self.document is not None:
            return self.document.graph
        layout = self.view.layout_shown
        if self._outline is None or self._outline[0] is not layout:
            self._outline = (layout, outline(layout.boxes))
        return self._outline[1]

    # --- what is shown

    def show_row(self, row: ModelRow | None) -> None:
        """Show a model of the library; while it is still being read, say so."""
        if row is None:
            self.row = None
            self.clear()
            return
        seen, self.row = self.row, row
        graph, layout = _path(row.graph_path), _path(row.layout_path)
        is_same = seen is not None and seen.sha256 == row.sha256
        if seen is not None and _key(seen) == _key(row):
            self.header.show_summary(row.name, row.summary)
            return
        if graph is None and layout is None:
            self.header.show_summary(row.name, row.summary)
            self.show_message("Reading the graph …", "A worker reads the file beside the window.")
        elif graph is None and layout is not None:
            self._show_picture(layout, row.name, row.summary, self._picture_is_there)
        elif graph is not None and is_same and self.has_picture and not self.collapsed:
            self.header.show_summary(row.name, row.summary)
            self._load_document(graph, self.view.layout_shown)
        elif graph is not None:
            self.show_files(graph, layout, row.name, row.summary)

    def show_files(self, graph: Path, layout: Path | None, title: str, summary: Mapping[str, Any]) -> None:
        """Show what a worker wrote: the picture first, everything else as soon as it is read."""
        if layout is None:
            self._forget()
            self.header.show_summary(title, summary)
            self._load_document(graph, None)
            return

        def pictured(loaded: Layout) -> None:
            self._after_paint = lambda: self._load_document(graph, loaded)
            self._soon.start()

        self._show_picture(layout, title, summary, pictured)

    def show_model(self, model: Model, title: str = "", summary: Mapping[str, Any] | None = None) -> None:
        """Show a model that is already in memory."""
        self._forget()
        self.header.show_summary(title, summary or {"format": model.format, "size_bytes": model.size_bytes})
        self._loading.run(lambda: prepared(model, 0), lambda made: self._show_prepared(*made), self._fail)

    def set_model(self, model: Model, layout: Layout) -> None:
        """Show a model that was read, with the layout that its worker made."""
        self._forget()
        self._show_layout(layout)
        summary = {"format": model.format, "opsets": model.opsets, "producer": model.producer}
        self.header.show_summary(model.main.name, {**summary, "size_bytes": model.size_bytes})
        self._loading.run(
            lambda: Document.of(model), lambda made: self._show_prepared(made, layout), self._fail
        )

    def reload(self, graph: Path) -> None:
        """Show what a graph of the same structure says, such as other shapes, in the same place."""
        is_flat = self.has_picture and not self.collapsed
        if not is_flat:
            self.collapsed = frozenset()
        self._load_document(graph, self.view.layout_shown if is_flat else None)

    def show_message(self, title: str, sentence: str) -> None:
        """Show a sentence in place of a graph."""
        self._forget()
        self.show_sentence(title, sentence)

    def clear(self) -> None:
        """Show that no model is open."""
        self.show_message("No model is open", "Choose one in the library, or drop a file here.")

    def _show_picture(
        self, layout: Path, title: str, summary: Mapping[str, Any], then: Callable[[Layout], object]
    ) -> None:
        """Show a layout, which needs no graph."""
        self._forget()
        self.header.show_summary(title, summary)

        def pictured(loaded: Layout) -> None:
            self._show_layout(loaded)
            then(loaded)

        self._loading.run(lambda: Layout.load(layout), pictured, self._fail)

    def _picture_is_there(self, layout: Layout) -> None:
        """The graph comes with the next row."""

    def _load_document(self, graph: Path, layout: Layout | None) -> None:
        before = self.document

        def work() -> tuple[Document, Layout]:
            with undisturbed():
                document = Document.load(graph, before)
                return document, document.retold(layout, before) if layout else document.lay_out(frozenset())

        self._loading.run(work, lambda made: self._show_prepared(*made), self._fail)

    def _show_layout(self, layout: Layout) -> None:
        self.view.set_model(None, layout)
        self.has_picture = True
        self.show_stage()

    def _fail(self, sentence: str) -> None:
        self.show_message("This graph cannot be shown", sentence)
        self.failed.emit(sentence)

    def _show_prepared(self, document: Document, layout: Layout) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop what is shown and what is under way."""
        self._soon.stop()
        self._loading.forget()
        self.document, self.collapsed, self.has_picture = None, frozenset(), False
        self._outline = None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _key(row: ModelRow) -> tuple[str, str | None, str | None, bool]:
    """What decides if a row's graph must be read again: it is written once more with what the analysis found."""
    return row.sha256, row.graph_path, row.layout_path, bool(row.summary.get("operators"))


def prepared(model: Model, index: int) -> tuple[Document, Layout]:
    """What is shown of graph `index` of a model that is in memory."""
    document = Document.of(model, index)
    return document, document.lay_out(frozenset())
