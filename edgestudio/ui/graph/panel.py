"""The graph panel: toolbar, search, view, mini-map, properties and layer table, linked with each other."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget

from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.layout import Layout
from edgestudio.model.query import Query
from edgestudio.ui.dragging import dragged_files
from edgestudio.ui.graph import collapse, menu
from edgestudio.ui.graph.background import Background
from edgestudio.ui.graph.document import Document
from edgestudio.ui.graph.inquiry import Inquiry
from edgestudio.ui.graph.opening import Opening, prepared
from edgestudio.ui.graph.overlay import Overlay
from edgestudio.ui.graph.toolbar import EVERYTHING

_PAINT_FIRST_MS = 30


class GraphPanel(Opening):
    """Shows the graph of one model. Files dropped on it are announced by `files_dropped(list[Path])`."""

    files_dropped = Signal(list)
    node_selected = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-panel")
        self.setAcceptDrops(True)
        self.matches: list[int] = []
        self._overlay: Overlay | None = None
        self._extras: dict[int, list[Overlay]] = {}
        self._arranging = Background(self)
        self.inquiry = Inquiry(self)
        self.clear()
        self._connect()
        menu.attach(self)

    # --- what it is coloured by

    def add_overlay(self, overlay: Overlay, *, is_shown: bool = True) -> None:
        """Offer numbers per node, such as measured latencies, in the overlay menu; in place of one so titled."""
        kept = [each for each in self._extra if each.title != overlay.title]
        self._extras[self._number] = [*kept, overlay]
        self.toolbar.show_overlays(self.overlays())
        self.show_overlay(overlay if is_shown else self._overlay)

    def open_overlay(self) -> None:
        """Ask for a file of numbers per node."""
        menu.open_overlay(self)

    def overlays(self) -> list[Overlay]:
        """The overlays on offer: the model's own, then those that were added."""
        return [*(self.document.overlays if self.document else []), *self._extra]

    @property
    def _number(self) -> int:
        return self.document.number if self.document else 0

    @property
    def _extra(self) -> list[Overlay]:
        """What was added to the graph that is shown."""
        return self._extras.get(self._number, [])

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Colour the boxes by an overlay; None returns to the operators' colours."""
        self._overlay = overlay
        at = self.overlays().index(overlay) + 1 if overlay in self.overlays() else 0
        self.toolbar.show_overlay(at - 1)
        self.table.layer_model.show_overlay(overlay if at > 3 or overlay in self._extra else None)
        if overlay is None or self.document is None:
            self.view.show_overlay(None)
            self.legend.show_overlay(None)
            return
        layout = self.view.layout_shown
        values = self.document.box_values(overlay, self.boxes_of_nodes(), len(layout))
        self.view.show_overlay(values.positions(), [values.text(value) for value in values.values.tolist()])
        self.legend.show_overlay(values)

    # --- finding and selecting

    def focus_search(self) -> None:
        """Put the cursor into the search field."""
        self.toolbar.search.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.toolbar.search.field.selectAll()

    def search(self, text: str) -> None:
        """Search for `text`, as if it were typed."""
        self.toolbar.search.field.setText(text)
        self.toolbar.search.search_now()

    def select_node(self, node: int) -> None:
        """Select a node and bring it into sight, opening the groups around it."""
        if self.document is None:
            self.view.select(node)
            return
        opened = self.document.opened_around(self.collapsed, node)
        if opened != self.collapsed:
            self.set_collapsed(opened, then=node)
        else:
            self.view.select(node)

    def step(self, by: int) -> None:
        """Select the next or the previous match."""
        if not self.matches:
            return
        now = self.view.node_of(self.view.selected_box)
        at = self.matches.index(now) if now in self.matches else (-1 if by > 0 else 0)
        node = self.matches[(at + by) % len(self.matches)]
        self.select_node(node)
        self.toolbar.search.show_count(len(self.matches), self.matches.index(node) + 1)

    def boxes_of_nodes(self) -> np.ndarray:
        """Per node of the graph the box on screen that shows it, -1 for none."""
        layout = self.view.layout_shown
        if self.document is None:
            return layout.boxes_of_nodes(len(self.known_graph.nodes))
        return self.document.boxes_of_nodes(layout, self.collapsed)

    # --- hierarchy

    def set_level(self, level: int) -> None:
        """Open `level` levels of modules; EVERYTHING shows all nodes."""
        if self.document is not None:
            hierarchy = self.document.hierarchy
            self.set_collapsed(frozenset() if level == EVERYTHING else hierarchy.at_level(level))

    def activate(self, box: int) -> None:
        """Open a group; show the properties of anything else."""
        boxes = self.view.layout_shown.boxes
        if self.document is not None and boxes.kind[box] == BoxKind.GROUP:
            self.set_collapsed(self.document.opened(self.collapsed, int(boxes.ref[box])), hold=box)
        else:
            self.show_properties()

    def show_properties(self) -> None:
        """Bring the properties of what is selected forward."""
        self.toolbar.side.setChecked(True)
        self.sides.setCurrentWidget(self.properties)

    def collapse_around(self) -> None:
        """Close the innermost open group around the selection: one level up."""
        if self.document is not None:
            around = collapse.open_group_around(self.document, self.view)
            if around >= 0:
                self.set_collapsed(self.collapsed | {around}, hold=self.view.selected_box, then_group=around)

    def set_collapsed(
        self, collapsed: frozenset[int], *, hold: int = -1, then: int = -1, then_group: int = -1
    ) -> None:
        """Lay out anew with these groups collapsed, without losing the place: box `hold` stays where it is.

        Node `then` or group `then_group` is selected afterwards.
        """
        document = self.document
        if document is None:
            return
        held = hold if hold >= 0 else collapse.middle_box(self.view)
        boxes = self.boxes_of_nodes()
        nodes = np.flatnonzero(boxes == held) if held >= 0 else np.zeros(0, np.intp)
        chosen = np.flatnonzero(boxes == self.view.selected_box) if self.view.selected_box >= 0 else nodes[:0]

        def arranged(made: collapse.Arranged) -> None:
            self.collapsed = collapsed
            at = int(made.boxes_of_nodes[nodes[0]]) if len(nodes) else -1
            self.view.replace_layout(made.layout, hold=(held, at))
            self.view.show_frames(made.frames)
            self._show_level()
            self.show_overlay(self._overlay)
            self._show_matches()
            if then >= 0:
                self.view.select(then)
            elif then_group >= 0:
                self.view.select_box(collapse.box_of_group(made.layout, then_group))
            elif len(chosen):
                self.view.select_box(int(made.boxes_of_nodes[chosen[0]]), reveals=False)

        self._arranging.run(lambda: collapse.arrange(document, collapsed), arranged, self._fail)

    # --- inside

    def _connect(self) -> None:
        bar, view = self.toolbar, self.view
        bar.search.searched.connect(self._search)
        bar.search.misunderstood.connect(self._tell_misunderstood)
        bar.search.stepped.connect(self.step)
        bar.level_chosen.connect(self.set_level)
        bar.overlay_chosen.connect(
            lambda index: self.show_overlay(self.overlays()[index] if index >= 0 else None)
        )
        bar.graph_chosen.connect(self._show_graph)
        bar.fit.clicked.connect(lambda: view.fit())
        bar.zoom_in.clicked.connect(lambda: view.zoom_by(1.25))
        bar.zoom_out.clicked.connect(lambda: view.zoom_by(0.8))
        view.camera_changed.connect(lambda: bar.zoom.setText(_percent(view.camera.zoom)))
        view.box_selected.connect(self._describe)
        view.box_activated.connect(self.activate)
        view.left_upwards.connect(self.collapse_around)
        view.trace_changed.connect(self._tell_trace)
        view.menu_requested.connect(self._open_menu)
        self.banner.dismissed.connect(lambda: view.show_trace(None))
        self.table.node_chosen.connect(self.select_node)
        self.properties.node_chosen.connect(self.select_node)

    def _forget(self) -> None:
        super()._forget()
        self._arranging.forget()
        self.inquiry.begin()
        self.matches = []
        self._overlay, self._extras = None, {}
        self.toolbar.search.field.clear()
        self.banner.say("")
        self.legend.show_overlay(None)

    def _show_prepared(self, document: Document, layout: Layout) -> None:
        shown = self.view.layout_shown
        if shown is not layout and shown.x is layout.x:
            self.view.retell(layout)
        elif shown is not layout:
            self._show_layout(layout)
        was_outlined, self.document, self._outline = self.document is None, document, None
        model = document.model
        at = model.graphs.index(document.graph) if len(model.graphs) > 1 else 0
        self.toolbar.show_graphs([graph.name for graph in model.graphs], at)
        self.toolbar.show_hierarchy(document.hierarchy)
        self.toolbar.show_overlays(self.overlays())
        self._show_level()
        self.table.layer_model.show_layers(document.layers)
        if not document.graph.nodes and model.weights:
            sentence = f"It holds {len(model.weights):,} weights and no graph, so there is nothing to draw."
            self.show_message("Weights only", sentence)
        if was_outlined and self.toolbar.search.field.text():
            self.toolbar.search.search_now()
        self._describe(self.view.selected_box)
        self.inquiry.ready()
        if self._overlay is not None:
            titles = [each.title for each in self.overlays()]
            again = self._overlay.title
            self.show_overlay(self.overlays()[titles.index(again)] if again in titles else None)
        self.document_shown.emit()

    def _show_graph(self, index: int) -> None:
        if self.document is None:
            return
        model, extras = self.document.model, self._extras
        self._forget()
        self._extras = extras
        self._loading.run(lambda: prepared(model, index), lambda made: self._show_prepared(*made), self._fail)

    def _show_level(self) -> None:
        if self.document is None:
            return
        hierarchy = self.document.hierarchy
        levels: dict[frozenset[int], int] = {hierarchy.at_level(n): n for n in range(hierarchy.depth())}
        level = EVERYTHING if not self.collapsed else levels.get(self.collapsed)
        self.toolbar.show_level(level)

    def _tell_misunderstood(self, sentence: str) -> None:
        self.problem.setText(sentence)
        self.problem.show()

    def _search(self, query: Query | None) -> None:
        self.problem.hide()
        if query is not None and self.document is None and not (query.is_of_names and self.has_picture):
            self.matches = []
            self.toolbar.search.show_waiting()
            self.view.show_found(None)
            return
        self.matches = query.matches(self.known_graph) if query else []
        self.toolbar.search.show_count(len(self.matches) if query else None, 0)
        if self.document is not None:
            self.table.layer_model.keep(self.matches if query else None)
        if query is not None and self.document is not None:
            self.sides.setCurrentWidget(self.table)
        self._show_matches()

    def _show_matches(self) -> None:
        if not self.toolbar.search.field.text().strip():
            self.view.show_found(None)
            return
        found = np.zeros(len(self.view.layout_shown), bool)
        boxes = self.boxes_of_nodes()[self.matches] if self.matches else np.zeros(0, np.int32)
        found[boxes[boxes >= 0]] = True
        self.view.show_found(found)

    def _describe(self, box: int) -> None:
        node = self.view.node_of(box)
        self.table.follow(node)
        self.node_selected.emit(node)
        if box < 0:
            self.properties.show_nothing()
            return
        boxes = self.view.layout_shown.boxes
        if self.document is None:
            name = self.known_graph.nodes[node].name if node >= 0 else ""
            self.properties.show_outline(
                boxes.labels[boxes.label[box]], name, boxes.details[boxes.detail[box]]
            )
            return
        ref, kind = int(boxes.ref[box]), BoxKind(boxes.kind[box])
        if kind == BoxKind.OPERATOR:
            self.properties.show_node(self.document.model, self.document.graph, ref)
        elif kind == BoxKind.GROUP:
            group = self.document.hierarchy.groups[ref]
            self.properties.show_group(group.title, group.size, self.document.operators_in(ref))
        else:
            self.properties.show_tensor(self.document.graph, ref, is_input=kind == BoxKind.INPUT)
        self.offer_side()
        if self.view.hasFocus():
            self.sides.setCurrentWidget(self.properties)

    def _tell_trace(self) -> None:
        trace = self.view.trace
        if self.inquiry.is_asking:
            return
        if trace is None:
            self.banner.say("")
        elif trace.any():
            self.banner.say(f"{int(trace.sum()):,} of {len(trace):,} boxes")
        else:
            self.banner.say("No way leads from one to the other")

    def _open_menu(self, box: int, where: QPoint) -> None:
        menu.open_menu(self, box, where)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files."""
        if dragged_files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Announce the files; opening them is somebody else's work."""
        files = dragged_files(event.mimeData())
        if files:
            event.acceptProposedAction()
            self.files_dropped.emit(files)


def _percent(zoom: float) -> str:
    return "< 0.1 %" if zoom < 0.001 else f"{zoom * 100:.3g} %"
