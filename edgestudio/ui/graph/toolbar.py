"""The row of controls above the graph: search, level of detail, overlay, zoom, bookmarks, export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QEvent, Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from edgestudio.model.picture.groups import Hierarchy
from edgestudio.ui.graph.overlay import Overlay
from edgestudio.ui.graph.search_bar import SearchBar
from edgestudio.ui.widgets.buttons import IconButton
from edgestudio.ui.widgets.choice_box import ChoiceBox
from edgestudio.ui.widgets.flow import WrapLayout
from edgestudio.ui.widgets.text import label

EVERYTHING = -1
_FIXED_ENTRIES = 2
"""Of the bookmarks' menu: adding one, and a line."""
_LONGEST_ENTRY = 60
MEASUREMENTS = (
    ("latencies", "Measure latency per operator …"),
    ("placement", "Ask where each operator runs …"),
    ("sparsity", "Measure weight sparsity …"),
    ("sensitivity", "Measure quantisation error …"),
    ("file", "Numbers from a file …"),
)
"""What can be asked for beside the overlays that are there."""


class GraphToolbar(QWidget):
    """Only asks; the panel does. `level_chosen` carries a level, or EVERYTHING for all nodes."""

    level_chosen = Signal(int)
    overlay_chosen = Signal(int)
    measurement_chosen = Signal(str)
    graph_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-toolbar")
        self.search = SearchBar()
        self.graphs = _choice(
            "graph-choice", "Which graph of the model: the main one, or a body of a loop or branch"
        )
        self.levels = _choice("graph-level", "How many levels of modules are open")
        self.overlays = _choice("graph-overlay", "What the boxes are coloured by")
        self.zoom = label("", "caption", name="graph-zoom")
        self.zoom.setFixedWidth(44)
        self.fit = IconButton("fit", "Fit the whole graph (0)", "graph-fit")
        self.zoom_in = IconButton("zoom-in", "Zoom in (+)", "graph-zoom-in")
        self.zoom_out = IconButton("zoom-out", "Zoom out (−)", "graph-zoom-out")
        self.bookmarks = _menu_button("bookmark", "Bookmarks (Ctrl+D adds one)", "graph-bookmarks")
        self.export = _menu_button("export", "Export the graph", "graph-export")
        self.dimensions = IconButton(
            "dimensions", "Set open dimensions, such as the batch", "graph-dimensions-button"
        )
        self.dimensions.hide()
        self.side = IconButton("side", "Node and layers (Ctrl+Enter)", "graph-side-toggle")
        self.side.setCheckable(True)
        self.side.setChecked(True)
        self.overlays.setMinimumContentsLength(9)
        self._zooming = (self.zoom_out, self.zoom, self.zoom_in)
        self._row = self._arrange()
        self.levels.activated.connect(lambda index: self.level_chosen.emit(index - 1))
        self.overlays.activated.connect(self._choose_overlay)
        self._overlay_shown = 0
        self.graphs.activated.connect(self.graph_chosen.emit)

    def _arrange(self) -> WrapLayout:
        """One row where there is room, else the buttons below."""
        row = WrapLayout(spacing=8)
        row.setContentsMargins(12, 6, 8, 6)
        row.addWidget(self.search)
        for choice in (self.graphs, self.levels, self.overlays):
            row.addWidget(choice)
        buttons = QWidget()
        inside = QHBoxLayout(buttons)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        for widget in (*self._zooming, self.fit, self.dimensions, self.bookmarks, self.export, self.side):
            inside.addWidget(widget)
        inside.addStretch(1)
        row.addWidget(buttons)
        self.setLayout(row)
        return row

    def event(self, event: QEvent) -> bool:
        """Leave out what keys and wheel do as well where one row does not hold all."""
        done = super().event(event)
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            missing = sum(each.minimumSizeHint().width() + 4 for each in self._zooming if each.isHidden())
            has_room = self._row.sizeHint().width() + missing <= self.width()
            for each in self._zooming:
                each.setVisible(has_room)
        return done

    def show_graphs(self, names: list[str], current: int) -> None:
        """Offer the graphs of a model; hidden when there is but one."""
        self.graphs.clear()
        self.graphs.addItems([name or f"graph {index}" for index, name in enumerate(names)])
        self.graphs.setCurrentIndex(current)
        self.graphs.setVisible(len(names) > 1)

    def show_hierarchy(self, hierarchy: Hierarchy | None) -> None:
        """Offer the levels of a hierarchy; hidden when there is none."""
        self.levels.clear()
        self.levels.addItem("All nodes")
        depth = hierarchy.depth() if hierarchy else 0
        for level in range(depth):
            self.levels.addItem("Modules" if level == 0 else f"Modules, {level + 1} levels")
        self.levels.addItem("Mixed")
        self._hide_item(self.levels.count() - 1)
        self.levels.setVisible(depth > 0)

    def show_level(self, level: int | None) -> None:
        """Say which level is shown; None stands for a mixture."""
        self.levels.setCurrentIndex(self.levels.count() - 1 if level is None else level + 1)

    def show_overlays(self, overlays: list[Overlay]) -> None:
        """Offer overlays, and what can be measured."""
        self.overlays.clear()
        self.overlays.addItem("By operator")
        self.overlays.addItems([f"By {_inside(overlay.title)}" for overlay in overlays])
        self.overlays.insertSeparator(self.overlays.count())
        for what, title in MEASUREMENTS:
            self.overlays.addItem(title, what)
        self.overlays.view().setMinimumWidth(self.overlays.view().sizeHintForColumn(0) + 24)
        self.overlays.show()

    def show_overlay(self, index: int) -> None:
        """Say which overlay is shown; -1 stands for the operators' own colours."""
        self._overlay_shown = index + 1
        self.overlays.setCurrentIndex(index + 1)

    def show_bookmarks(
        self,
        marks: list[tuple[str, Callable[[], object]]],
        removals: Sequence[tuple[str, Callable[[], object]]] = (),
    ) -> None:
        """List bookmarks and notes, each with what leads there, and bookmarks with what removes them."""
        listed = self.bookmarks.menu()
        for action in listed.actions()[_FIXED_ENTRIES:]:
            listed.removeAction(action)
            action.deleteLater()
        for title, go in marks:
            listed.addAction(_short(title), partial(_run, go))
        if removals:
            listed.addSeparator()
            inner = listed.addMenu("Remove a bookmark")
            for title, remove in removals:
                inner.addAction(_short(title), partial(_run, remove))

    def _choose_overlay(self, index: int) -> None:
        what = self.overlays.itemData(index)
        if what is None:
            self._overlay_shown = index
            self.overlay_chosen.emit(index - 1)
        else:
            self.overlays.setCurrentIndex(self._overlay_shown)
            self.measurement_chosen.emit(str(what))

    def _hide_item(self, index: int) -> None:
        view = self.levels.view()
        if hasattr(view, "setRowHidden"):
            view.setRowHidden(index, True)


def _run(go: Callable[[], object]) -> None:
    go()


def _short(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= _LONGEST_ENTRY else line[: _LONGEST_ENTRY - 1] + "…"


def _inside(title: str) -> str:
    """A title as it is written inside a sentence; abbreviations keep their capitals."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _choice(name: str, tip: str) -> ChoiceBox:
    made = ChoiceBox(6)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setAccessibleName(tip)
    made.hide()
    return made


def _menu_button(icon: str, tip: str, name: str) -> IconButton:
    made = IconButton(icon, tip, name)
    made.setMenu(QMenu(made))
    made.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    return made
