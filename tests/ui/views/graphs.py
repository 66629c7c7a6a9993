"""The graph's own views: a node, its weights, layers, overlays, ways, bookmarks, menus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication, QMenu

if TYPE_CHECKING:
    from tests.ui.views.tour import Tour


def nodes(tour: Tour) -> None:
    """A selected node with its properties, the histogram of its weight, the search and the layers."""
    hand = tour.hand
    tour.tab("graph")
    panel = tour.panel()
    hand.look(lambda: panel.select_node(_first(panel, "Conv")))
    hand.look(panel.show_properties)
    tour.take("12-node-properties")
    hand.look(lambda: panel.properties._want())
    time.sleep(2.0)
    tour.take("13-weight-histogram")
    hand.look(lambda: panel.inquiry.keep_note(panel.document.graph.nodes[0].name, "Keep this one in float."))
    hand.look(panel.inquiry.add_bookmark)
    hand.look(lambda: panel.search("op:Conv k>1"))
    hand.look(lambda: panel.step(1))
    tour.take("14-search")
    hand.look(lambda: panel.search("op:Conv k>"))
    tour.take("15-search-misunderstood")
    hand.look(lambda: panel.search(""))
    hand.look(lambda: panel.sides.setCurrentWidget(panel.table))
    tour.take("16-layer-table")
    hand.look(lambda: panel.set_level(1))
    time.sleep(0.4)
    tour.take("17-collapsed")
    hand.look(lambda: panel.set_level(1_000_000))


def overlays(tour: Tour) -> None:
    """Coloured by figures of the file and by a measurement; the way between two nodes."""
    hand, panel = tour.hand, tour.panel()
    hand.look(lambda: panel.show_overlay(panel.overlays()[1]))
    tour.take("20-overlay-file")
    hand.look(lambda: panel.inquiry.measure("latencies"))
    time.sleep(0.2)
    tour.take("21-overlay-asking", settle_s=0.05)
    hand.wait("the measurement", lambda: not panel.inquiry.is_asking, timeout=60)
    time.sleep(0.3)
    tour.take("22-overlay-measured")
    hand.look(lambda: panel.show_overlay(None))

    def way() -> None:
        view = panel.view
        boxes = len(view.layout_shown)
        view.show_trace(view.tracer.between(1, boxes - 2))

    hand.look(way)
    tour.take("23-way")
    hand.look(lambda: panel.view.show_trace(None))


def menus(tour: Tour) -> None:
    """Menus of the graph's toolbar and of a box."""
    hand, panel = tour.hand, tour.panel()
    for name, button in (("24-bookmarks", panel.toolbar.bookmarks), ("25-export-menu", panel.toolbar.export)):
        hand.look(lambda button=button: _popup(button))
        tour.take(name)
        tour.close_all()

    def context() -> None:
        from edgestudio.ui.graph.menu import build_menu

        menu = build_menu(panel, 3)
        menu.popup(panel.view.viewport().mapToGlobal(QPoint(200, 120)))
        tour.menu = menu  # type: ignore[attr-defined]

    hand.look(context)
    tour.take("26-graph-menu")
    tour.close_all()
    for menu in ("file", "edit", "model", "board", "job", "view"):
        hand.look(lambda menu=menu: _open_menu(tour, menu))
        tour.take(f"27-menu-{menu}")
        tour.close_all()


def _open_menu(tour: Tour, name: str) -> None:
    bar = tour.app.window.menuBar()
    for action in bar.actions():
        menu = action.menu()
        if isinstance(menu, QMenu) and menu.objectName() == f"menu-{name}":
            menu.popup(bar.mapToGlobal(bar.actionGeometry(action).bottomLeft()))


def _popup(button: Any) -> None:
    button.menu().popup(button.mapToGlobal(button.rect().bottomLeft()))
    QApplication.processEvents()


def _first(panel: Any, operator: str) -> int:
    return next(at for at, node in enumerate(panel.document.graph.nodes) if node.op == operator)
