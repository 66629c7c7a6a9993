"""The Graph tab: shows the selected model in the graph panel, or how to get one."""

from __future__ import annotations

from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from edgestudio.studio.rows import ModelRow
from edgestudio.ui.desk import Desk
from edgestudio.ui.graph.panel import GraphPanel
from edgestudio.ui.graph_requests import GraphServices
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.empty import EmptyState


class GraphPage(QWidget):
    """Built when first looked at."""

    def __init__(self, desk: Desk, services: GraphServices | None = None) -> None:
        super().__init__()
        self._desk = desk
        self.panel = GraphPanel()
        if services is not None:
            self.panel.inquiry.connect_to(services)
        self.panel.files_dropped.connect(lambda files: desk.run("model.open", paths=files))
        self._stack = QStackedWidget()
        self._stack.addWidget(
            EmptyState(
                "graph",
                "No model selected",
                "Select a model in the Library, or open one, to see its graph.",
                Button("Open …", "graph-open", run=lambda: desk.run("model.open")),
                Button("Sample", "graph-sample", run=lambda: desk.run("model.open_sample")),
            )
        )
        self._stack.addWidget(self.panel)
        self.setFocusProxy(self.panel.view)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._stack)
        self._wanted: tuple[str, int | str] | None = None
        self.panel.document_shown.connect(self._go)
        desk.selected.model_changed.connect(self.refresh)
        desk.stores.models.changed.connect(self._changed)
        self.refresh()

    def refresh(self) -> None:
        """Show the graph of the selected model."""
        row = self._desk.stores.models.get(self._desk.selected.model)
        self.panel.show_row(row)
        self._stack.setCurrentIndex(0 if row is None else 1)

    def show_node(self, model: str, node: int | str) -> None:
        """Select a node, by its number or name, as soon as its model's graph is there."""
        self._wanted = model, node
        self._desk.selected.select_model(model)
        self._go()

    def _go(self) -> None:
        row, document = self.panel.row, self.panel.document
        if self._wanted is None or row is None or document is None or row.sha256 != self._wanted[0]:
            return
        node, self._wanted = self._wanted[1], None
        at = document.node_named(node) if isinstance(node, str) else node
        if 0 <= at < len(document.graph.nodes):
            self.panel.select_node(at)

    def _changed(self, row: ModelRow) -> None:
        if row.sha256 == self._desk.selected.model:
            self.refresh()
