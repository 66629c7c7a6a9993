"""Where the keyboard goes: into a page that comes forward, and through parts that were built late."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import Qt
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
    """What Tab stops at in a page, in its order; bars of tabs, which lead elsewhere, are passed over."""
    widget = page.nextInFocusChain()
    while widget is not None and widget is not page:
        is_there = page.isAncestorOf(widget) and widget.isVisible() and widget.isEnabled()
        if is_there and _takes_tab(widget) and not isinstance(widget, QTabBar):
            yield widget
        widget = widget.nextInFocusChain()


def _takes_tab(widget: QWidget) -> bool:
    return bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.focusProxy() is None
