"""The graph panel's menus: what can be done with a box, bookmarks, and export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QMenu

from edgestudio.model.picture.boxes import BoxKind
from edgestudio.ui.graph import export
from edgestudio.ui.graph.overlay import read_overlays
from edgestudio.wire.errors import EdgeStudioError

if TYPE_CHECKING:
    from edgestudio.ui.graph.panel import GraphPanel

_EXPORTS: tuple[tuple[str, str, str], ...] = (
    ("Picture of what is in view (PNG)…", "view.png", "view"),
    ("Picture of the whole graph (PNG)…", "graph.png", "picture"),
    ("Drawing of the whole graph (SVG)…", "graph.svg", "drawing"),
    ("Layer table (CSV)…", "layers.csv", "table"),
    ("Self-contained page (HTML)…", "graph.html", "page"),
)


def attach(panel: GraphPanel) -> None:
    """Fill the toolbar's menus and bind Ctrl+D."""
    for title, name, kind in _EXPORTS:
        panel.toolbar.export.menu().addAction(title, partial(_export, panel, name, kind))
    bookmarks = panel.toolbar.bookmarks.menu()
    bookmarks.addAction("Add a bookmark here", lambda: panel.inquiry.add_bookmark())
    bookmarks.addSeparator()
    shortcut = QShortcut(QKeySequence("Ctrl+D"), panel)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(lambda: panel.inquiry.add_bookmark())


def open_menu(panel: GraphPanel, box: int, where: QPoint) -> None:
    """Show what can be done with a box, or with the whole graph."""
    opened = build_menu(panel, box)
    opened.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    opened.popup(where)


def build_menu(panel: GraphPanel, box: int) -> QMenu:
    """The menu of a box (-1: of the graph)."""
    view, made = panel.view, QMenu(panel)
    made.setObjectName("graph-menu")
    if box >= 0:
        boxes, selected = view.layout_shown.boxes, view.selected_box
        if selected >= 0 and selected != box:
            _add(
                made,
                "Show the way from the selection",
                lambda: view.show_trace(view.tracer.between(selected, box)),
            )
        _add(made, "Show everything downstream", lambda: view.show_trace(view.tracer.downstream(box)))
        _add(made, "Show everything upstream", lambda: view.show_trace(view.tracer.upstream(box)))
        _add(made, "Show producers and consumers", lambda: view.show_trace(_next_to(panel, box)))
        made.addSeparator()
        if boxes.kind[box] == BoxKind.GROUP:
            _add(made, "Open this group", lambda: panel.activate(box))
        _add(
            made,
            "Close the group around it",
            partial(_close_around, panel, box),
        )
        made.addSeparator()
        node = view.node_of(box)
        if node >= 0 and panel.document is not None:
            found = panel.document.graph.nodes[node]
            _add(made, "Copy its name", lambda: QGuiApplication.clipboard().setText(found.name))
            _add(made, f"Find all {found.op}", lambda: panel.search(f"op:{found.op}"))
        made.addSeparator()
    _add(made, "Fit the whole graph", view.fit)
    _add(made, "Clear the emphasis", lambda: view.show_trace(None)).setEnabled(view.trace is not None)
    return made


def _add(made: QMenu, title: str, run: Callable[[], object]) -> QAction:
    return made.addAction(title, lambda: run())


def _close_around(panel: GraphPanel, box: int) -> None:
    panel.view.select_box(box, reveals=False)
    panel.collapse_around()


def _next_to(panel: GraphPanel, box: int) -> np.ndarray:
    tracer = panel.view.tracer
    near = np.zeros(tracer.count, bool)
    near[box] = True
    near[tracer.source[tracer.edges_into(box)]] = True
    near[tracer.target[tracer.edges_from(box)]] = True
    return near


def _export(panel: GraphPanel, name: str, kind: str) -> None:
    path, _ = QFileDialog.getSaveFileName(panel, "Export", name)
    if path:
        try:
            export.write(panel, Path(path), kind)
        except (OSError, EdgeStudioError) as error:
            panel.failed.emit(f"{Path(path).name} could not be written: {error}")


def open_overlay(panel: GraphPanel) -> None:
    """Ask for a file of numbers per node and colour the boxes by them."""
    path, _ = QFileDialog.getOpenFileName(panel, "Numbers per node", "", "Numbers (*.csv *.tsv *.json)")
    if path and panel.document is not None:
        try:
            for position, overlay in enumerate(read_overlays(Path(path), panel.document.graph)):
                panel.add_overlay(overlay, is_shown=position == 0)
        except EdgeStudioError as error:
            panel.failed.emit(error.in_full)
