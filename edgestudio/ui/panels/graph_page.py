"""The Graph tab: follows the selected model, reads its graph beside the UI thread, shows it in the graph panel."""

from __future__ import annotations

from typing import Protocol, cast

from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from edgestudio.model.graph import Model
from edgestudio.model.layout import Layout
from edgestudio.studio.rows import ModelRow
from edgestudio.ui.desk import Desk
from edgestudio.ui.late import build
from edgestudio.ui.requests import Requests
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import label
from edgestudio.wire.errors import EdgeStudioError


class GraphShow(Protocol):
    """What this page asks of the graph panel."""

    def set_model(self, model: Model, layout: Layout) -> object:
        """Show a model."""


class GraphPage(QWidget):
    """Built when first looked at."""

    def __init__(self, desk: Desk, requests: Requests) -> None:
        super().__init__()
        self._desk, self._requests = desk, requests
        self._shown: tuple[str, str] | None = None
        self.panel = build("edgestudio.ui.graph.panel:GraphPanel")
        self._wait = EmptyState("graph", "Reading the graph …", "A worker reads the file beside the window.")
        self._problem = label("", "muted", wraps=True)
        self._stack = QStackedWidget()
        self._nothing = EmptyState(
            "graph",
            "No model selected",
            "Select a model in the Library, or open one, to see its graph.",
            Button("Open …", "graph-open", run=lambda: desk.run("model.open")),
            Button("Sample", "graph-sample", run=lambda: desk.run("model.open_sample")),
        )
        for page in (self._nothing, self._wait, self._problem, self.panel):
            self._stack.addWidget(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._stack)
        desk.selected.model_changed.connect(self.refresh)
        desk.stores.models.changed.connect(self._changed)
        self.refresh()

    def refresh(self) -> None:
        """Show the graph of the selected model."""
        row = self._desk.stores.models.get(self._desk.selected.model)
        if row is None:
            self._shown = None
            self._stack.setCurrentWidget(self._nothing)
            return
        if row.graph_path is None or row.layout_path is None:
            self._shown = None
            self._stack.setCurrentWidget(self._wait)
            return
        wanted = (row.graph_path, row.layout_path)
        if wanted == self._shown:
            return
        self._shown = wanted
        self._requests.load_graph(
            *wanted,
            lambda model, layout: self._loaded(wanted, model, layout),
            lambda error: self._failed(wanted, error),
        )

    def _changed(self, row: ModelRow) -> None:
        if row.sha256 == self._desk.selected.model:
            self.refresh()

    def _loaded(self, wanted: tuple[str, str], model: Model, layout: Layout) -> None:
        if wanted == self._shown:
            cast("GraphShow", self.panel).set_model(model, layout)
            self._stack.setCurrentWidget(self.panel)

    def _failed(self, wanted: tuple[str, str], error: EdgeStudioError) -> None:
        if wanted == self._shown:
            self._problem.setText(f"{error.message}\n{error.hint}".strip())
            self._stack.setCurrentWidget(self._problem)
