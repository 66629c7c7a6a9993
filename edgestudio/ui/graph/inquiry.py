"""What the graph panel asks the studio for: weights in numbers, measurements, other dimensions, bookmarks, notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QPoint

from edgestudio.model.dimensions import symbols
from edgestudio.model.marks import Bookmark, Marks
from edgestudio.ui.graph.camera import Camera
from edgestudio.ui.graph.dimensions import DimensionsPopup
from edgestudio.ui.graph.overlay import Overlay, overlay_of, weight_sparsity
from edgestudio.wire.errors import EdgeStudioError

if TYPE_CHECKING:
    from edgestudio.ui.graph.panel import GraphPanel
    from edgestudio.ui.graph_requests import GraphServices

_WORDS = {
    "latencies": "Measuring the latency per operator …",
    "placement": "Asking the runtime where each operator runs …",
    "sensitivity": "Quantising one layer after the other …",
    "sparsity": "Reading all weights …",
    "dimensions": "Working out the shapes …",
}


class Inquiry(QObject):
    """One question at a time for each of weights and measurements; another model drops what is under way."""

    def __init__(self, panel: GraphPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._services: GraphServices | None = None
        self._weights: Future[Any] | None = None
        self._measuring: Future[Any] | None = None
        self._sizes: dict[str, int] = {}
        self.marks = Marks()
        self.popup = DimensionsPopup(panel)
        self.popup.chosen.connect(self.show_dimensions)
        panel.toolbar.measurement_chosen.connect(self.measure)
        panel.toolbar.dimensions.clicked.connect(self._ask_dimensions)
        panel.properties.statistics_wanted.connect(self.ask_statistics)
        panel.properties.statistics_unwanted.connect(self._drop_statistics)
        panel.properties.note_changed.connect(self.keep_note)
        panel.banner.dismissed.connect(self._drop_measurement)

    def connect_to(self, services: GraphServices) -> None:
        """Ask there from now on."""
        self._services = services

    @property
    def is_asking(self) -> bool:
        """True while a measurement is under way."""
        return self._measuring is not None

    def begin(self) -> None:
        """Another model is shown: what was asked about the one before is not wanted any more."""
        self._drop_statistics()
        self._drop_measurement()
        self._sizes, self.marks = {}, Marks()
        self._panel.toolbar.show_bookmarks([])
        self._panel.properties.forget()
        row = self._panel.row
        self._panel.properties.can_ask = self._services is not None and row is not None
        if self._services is not None and row is not None:
            self._services.marks(row.sha256, self._for(row.sha256, self._show_marks))

    def ready(self) -> None:
        """The graph is there: show what can be asked about it."""
        panel = self._panel
        names = symbols(panel.document.model.main) if panel.document is not None else []
        panel.toolbar.dimensions.setVisible(bool(names or self._sizes) and self._model is not None)

    # --- weights

    def ask_statistics(self, names: list[str]) -> None:
        """Look into these weights."""
        model, services = self._model, self._services
        if model is None or services is None:
            return
        self._drop_statistics()
        self._panel.properties.say("Reading the weights …", is_waiting=True)
        self._weights = services.statistics(
            model,
            names,
            self._for(model, lambda found: self._panel.properties.know_statistics(found["tensors"])),
            self._for(model, lambda error: self._panel.properties.say(_sentence(error))),
        )

    def _drop_statistics(self) -> None:
        if self._weights is not None:
            self._weights.cancel()
            self._weights = None

    # --- numbers per node

    def measure(self, what: str) -> None:
        """Get numbers per node and colour the boxes by them."""
        model, services, document = self._model, self._services, self._panel.document
        if what == "file":
            self._panel.open_overlay()
            return
        if model is None or services is None or document is None:
            return
        graph = document.graph

        def numbers(found: Any) -> Overlay:
            return overlay_of(graph, found)

        def zeros(found: Any) -> Overlay:
            return weight_sparsity(graph, found["tensors"])

        if what == "sparsity":
            self._start(
                what, lambda done, failed: services.statistics(model, None, done, failed), self._colour(zeros)
            )
        else:
            self._start(
                what, lambda done, failed: services.measure(what, model, done, failed), self._colour(numbers)
            )

    def _colour(self, made: Callable[[Any], Overlay]) -> Callable[[Any], None]:
        def colour(found: Any) -> None:
            try:
                self._panel.add_overlay(made(found))
            except EdgeStudioError as error:
                self._panel.banner.say(_sentence(error))

        return colour

    def _start(
        self,
        what: str,
        ask: Callable[[Callable[[Any], object], Callable[[EdgeStudioError], object]], Future[Any]],
        then: Callable[[Any], object],
    ) -> None:
        """Ask while a banner says so, with a button that takes the question back."""
        self._drop_measurement()
        model = self._model
        assert model is not None
        banner = self._panel.banner

        def done(found: Any) -> None:
            self._measuring = None
            banner.say("")
            then(found)

        def failed(error: EdgeStudioError) -> None:
            self._measuring = None
            banner.say(_sentence(error))

        banner.say(_WORDS[what], end="Cancel")
        self._measuring = ask(self._for(model, done), self._for(model, failed))

    def _drop_measurement(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            self._measuring = None
            self._panel.banner.say("")

    # --- dimensions

    def _ask_dimensions(self) -> None:
        panel, row = self._panel, self._panel.row
        if panel.document is None or row is None:
            return
        known = {str(key): int(value) for key, value in (row.summary.get("dimensions") or {}).items()}
        names = list(dict.fromkeys((*self._sizes, *symbols(panel.document.model.main))))
        self.popup.offer(names, {**known, **self._sizes})
        button = panel.toolbar.dimensions
        self.popup.open_at(button.mapToGlobal(QPoint(button.width(), button.height() + 4)))

    def show_dimensions(self, sizes: Mapping[str, int]) -> None:
        """Show shapes, MACs and memory with these sizes; the file's own with none."""
        model, services, row = self._model, self._services, self._panel.row
        if model is None or services is None or row is None:
            return
        if not sizes:
            self._sizes = {}
            self._panel.header.show_summary(row.name, row.summary)
            if row.graph_path:
                self._panel.reload(Path(row.graph_path))
            return

        def then(found: Any) -> None:
            self._sizes = dict(sizes)
            told = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            self._panel.header.show_summary(f"{row.name} ({told})", found["summary"])
            self._panel.reload(Path(found["graph"]))

        self._start(
            "dimensions", lambda done, failed: services.with_dimensions(model, sizes, done, failed), then
        )

    # --- bookmarks and notes

    def add_bookmark(self) -> None:
        """Remember the place, by the selected node where there is one."""
        panel = self._panel
        if panel.document is None:
            return
        view, camera = panel.view, panel.view.camera
        node = view.node_of(view.selected_box)
        name = panel.document.graph.nodes[node].name if node >= 0 else ""
        place = view.visible()
        title = name.partition(";")[0] or f"Around {round((place.top + place.bottom) / 2):,}"
        looked = (camera.zoom, camera.left, camera.top)
        mark = Bookmark(title, name, looked, panel.document.number)
        is_known = any(
            name and (each.node, each.graph) == (name, mark.graph) for each in self.marks.bookmarks
        )
        if not is_known and mark not in self.marks.bookmarks:
            self._keep(replace(self.marks, bookmarks=(*self.marks.bookmarks, mark)))

    def remove_bookmark(self, at: int) -> None:
        """Forget a bookmark."""
        kept = (*self.marks.bookmarks[:at], *self.marks.bookmarks[at + 1 :])
        self._keep(replace(self.marks, bookmarks=kept))

    def go_to(self, mark: Bookmark) -> None:
        """Look at what was marked."""
        panel, document = self._panel, self._panel.document
        if document is None or document.number != mark.graph:
            return
        node = document.node_named(mark.node) if mark.node else -1
        if node >= 0:
            panel.select_node(node)
        elif mark.camera is not None:
            panel.view.set_camera(Camera(*mark.camera))

    def keep_note(self, node: str, text: str) -> None:
        """Keep the note about a node; an empty one is none."""
        notes = {name: note for name, note in self.marks.notes.items() if name != node}
        if text:
            notes[node] = text
        self._keep(replace(self.marks, notes=notes))

    def _keep(self, marks: Marks) -> None:
        model = self._model
        self._show_marks(marks)
        if model is not None and self._services is not None:
            failed = self._for(model, lambda error: self._panel.failed.emit(_sentence(error)))
            self._services.keep_marks(model, marks, failed)

    def _show_marks(self, marks: Marks) -> None:
        self.marks = marks
        noted = [Bookmark(f"{name}: {text}", name) for name, text in marks.notes.items()]
        self._panel.toolbar.show_bookmarks(
            [(mark.title, partial(self.go_to, mark)) for mark in (*marks.bookmarks, *noted)],
            [(mark.title, partial(self.remove_bookmark, at)) for at, mark in enumerate(marks.bookmarks)],
        )
        self._panel.properties.know_notes(marks.notes)

    @property
    def _model(self) -> str | None:
        return None if self._panel.row is None else self._panel.row.sha256

    def _for(self, model: str, then: Callable[[Any], object]) -> Callable[[Any], None]:
        """`then`, unless another model is shown meanwhile."""

        def answer(found: Any) -> None:
            if self._model == model:
                then(found)

        return answer


def _sentence(error: EdgeStudioError) -> str:
    return error.in_full
