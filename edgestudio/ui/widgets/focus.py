"""Where the keyboard goes: into a page that comes forward, and through parts that were built late."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QScrollArea, QTabBar, QWidget


def enter(page: QWidget) -> None:
    """Give the focus to the first field or view of a page, unless something in it has it already."""
    now = QApplication.focusWidget()
    if now is not None and now is not page and now.isVisible() and page.isAncestorOf(now):
        return
    stops = list(_stops(page))
    first = next((each for each in stops if not isinstance(each, QScrollArea)), next(iter(stops), page))
    first.setFocus(Qt.FocusReason.ShortcutFocusReason)


def follow(before: QWidget, page: QWidget) -> QWidget:
    """Let Tab go from a widget through a page that was built late, in the order of its making; gives its last stop."""
    last = before
    for widget in (page, *page.findChildren(QWidget)):
        if _takes_tab(widget) and widget.window() is last.window():
            QWidget.setTabOrder(last, widget)
            last = widget
    return last


def _stops(page: QWidget) -> Iterator[QWidget]:
    """What Tab stops at in a page, as it is read; bars of tabs, which lead elsewhere, are passed over."""
    inside = [each for each in page.findChildren(QWidget) if each.isVisible() and each.isEnabled()]
    places = {each: each.mapTo(page, QPoint(0, 0)) for each in inside}
    for widget in sorted(inside, key=lambda each: (places[each].y(), places[each].x())):
        if _takes_tab(widget) and not isinstance(widget, QTabBar):
            yield widget


def _takes_tab(widget: QWidget) -> bool:
    return bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.focusProxy() is None
