"""The widgets of the graph panel and how they are arranged; what they do together is the panel's."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from edgestudio.ui.graph.header import GraphHeader
from edgestudio.ui.graph.legend import Legend, TraceBanner
from edgestudio.ui.graph.minimap import MiniMap
from edgestudio.ui.graph.properties import PropertiesPanel
from edgestudio.ui.graph.table import LayerTable
from edgestudio.ui.graph.toolbar import GraphToolbar
from edgestudio.ui.graph.view import GraphView
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import label

_SIDE_PX, _NARROW_SIDE_PX, _SIDE_SHARE = 340, 220, 0.42
_ROOM_FOR_SIDE_PX = 760
"""A panel that is narrower begins with the graph alone."""
_ROOM_FOR_BOTH_PX = 480
_NARROW_PX = 460
"""A view narrower than this has no room for a strip beside it."""


class GraphStage(QWidget):
    """Header and toolbar above the view with its mini-map, and a side with properties and layers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header, self.toolbar, self.view = GraphHeader(), GraphToolbar(), GraphView()
        self.minimap, self.properties, self.table = MiniMap(self.view), PropertiesPanel(), LayerTable()
        self.legend, self.banner = Legend(self.view.viewport()), TraceBanner(self.view.viewport())
        self.problem = label("", "bad", wraps=True, name="graph-search-problem")
        self.problem.setContentsMargins(16, 0, 16, 6)
        self.problem.hide()
        self._is_moved = False
        self.sides = QTabWidget()
        self._pages = QStackedWidget()
        self._message: QWidget = QWidget()
        self._is_side_due = False
        self._has_size = False
        self._arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The first size decides whether the side begins open; every size how wide it is, until it is dragged."""
        super().resizeEvent(event)
        if not self._is_moved:
            side = round(min(_SIDE_PX, max(_NARROW_SIDE_PX, self.width() * _SIDE_SHARE)))
            self._split.setSizes([self.width() - side, side])
        if not self._has_size:
            self._has_size = True
            self._is_side_due = self.width() < _ROOM_FOR_SIDE_PX
            self.toolbar.side.setChecked(not self._is_side_due)
        self._make_room()

    def offer_side(self) -> None:
        """Open the side when something is selected for the first time, where only want of room kept it shut."""
        if self._is_side_due and self.width() >= _ROOM_FOR_BOTH_PX:
            self._is_side_due = False
            self.toolbar.side.setChecked(True)

    def show_stage(self) -> None:
        """Show the graph."""
        self._pages.setCurrentIndex(0)

    def show_sentence(self, title: str, sentence: str) -> None:
        """Show a sentence in place of the graph."""
        old = self._message
        self._message = EmptyState("graph", title, sentence)
        self._pages.addWidget(self._message)
        self._pages.setCurrentWidget(self._message)
        self._pages.removeWidget(old)
        old.deleteLater()

    def _arrange(self) -> None:
        stage = QWidget()
        across = QHBoxLayout(stage)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(0)
        across.addWidget(self.view, 1)
        across.addWidget(self.minimap)
        self.sides.setObjectName("graph-side")
        self.sides.addTab(self.properties, "Node")
        self.sides.addTab(self.table, "Layers")
        split = self._split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(stage)
        split.addWidget(self.sides)
        split.setSizes([900, _SIDE_PX])
        split.splitterMoved.connect(self._moved)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 0)
        split.setCollapsible(0, False)
        self.toolbar.side.toggled.connect(self._side_toggled)
        self.toolbar.search.field.left.connect(self.view.setFocus)
        whole = QWidget()
        down = QVBoxLayout(whole)
        down.setContentsMargins(0, 0, 0, 0)
        down.setSpacing(0)
        for widget, stretch in ((self.header, 0), (self.toolbar, 0), (self.problem, 0), (split, 1)):
            down.addWidget(widget, stretch)
        whole.setProperty("kind", "page")
        whole.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._pages.addWidget(whole)
        self._pages.addWidget(self._message)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._pages)

    def _side_toggled(self, is_open: bool) -> None:  # noqa: FBT001 - Qt's signature
        self._is_side_due = self._is_side_due and not is_open
        self.sides.setVisible(is_open)
        self._make_room()

    def _moved(self, *_: int) -> None:
        self._is_moved = True
        self._make_room()

    def _make_room(self) -> None:
        """Leave the mini-map out where the view beside the open side would be too narrow for both."""
        side = self._split.sizes()[1] if self.toolbar.side.isChecked() else 0
        self.minimap.setVisible(self.width() - side > _NARROW_PX)
