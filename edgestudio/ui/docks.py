"""The docks around the centre: made, arranged, brought forward."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QTabWidget, QWidget

from edgestudio.ui.widgets.buttons import IconButton
from edgestudio.ui.widgets.focus import enter
from edgestudio.ui.widgets.text import label

AREAS = {
    "library": Qt.DockWidgetArea.LeftDockWidgetArea,
    "recipe": Qt.DockWidgetArea.RightDockWidgetArea,
    "properties": Qt.DockWidgetArea.RightDockWidgetArea,
    "devices": Qt.DockWidgetArea.LeftDockWidgetArea,
    "timeline": Qt.DockWidgetArea.BottomDockWidgetArea,
    "jobs": Qt.DockWidgetArea.BottomDockWidgetArea,
    "notices": Qt.DockWidgetArea.BottomDockWidgetArea,
}
TITLES = {"timeline": "Deployments", "properties": "Model"}
TRAY = ("timeline", "jobs", "notices")
"""Share one place at the foot, folded away until something happens there: the graph has the room meanwhile."""
SIDE = ("recipe", "properties")
_LEAST_SIDE_PX = 216
"""Narrower, their fields and buttons would be cut off, since they scroll up and down alone."""
_ROOM_FOR_ALL_PX = 1100
"""A narrower window begins without its right side; what leads there opens it."""


class DockTitle(QWidget):
    """A dock's name, and buttons big enough to hit that float and close it; dragged like Qt's own."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self.setProperty("kind", "dock-title")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        name = label(dock.windowTitle(), "heading")
        dock.windowTitleChanged.connect(name.setText)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 4, 2)
        row.setSpacing(2)
        row.addWidget(name, 1)
        title = dock.windowTitle().lower()
        row.addWidget(
            IconButton(
                "float",
                f"Float the {title}, or put it back",
                f"{dock.objectName()}-float",
                lambda: dock.setFloating(not dock.isFloating()),
            )
        )
        row.addWidget(IconButton("close", f"Close the {title}", f"{dock.objectName()}-close", dock.close))


class Docks(QObject):
    """Docks by name. One that shares its place with others shows its name on the tab alone.

    `changed` says that a dock came forward, went, or has another title.
    """

    changed = Signal()

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._docks: dict[str, QDockWidget] = {}
        self._in_front: set[str] = set()
        self._last_of_tray = TRAY[0]
        window.setDockOptions(
            QMainWindow.DockOption.AllowTabbedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.GroupedDragging
        )
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        self._trim_later = QTimer(self)
        self._trim_later.setSingleShot(True)
        self._trim_later.timeout.connect(self._trim)

    def __getitem__(self, name: str) -> QDockWidget:
        return self._docks[name]

    def add(self, name: str, panel: QWidget) -> None:
        """Put a panel into a dock of its own, in its usual area."""
        dock = QDockWidget(TITLES.get(name, name.capitalize()), self._window)
        dock.setObjectName(f"dock-{name}")
        dock.setWidget(panel)
        if name in SIDE:
            panel.setMinimumWidth(_LEAST_SIDE_PX)
        self._docks[name] = dock
        self._window.addDockWidget(AREAS[name], dock)
        dock.dockLocationChanged.connect(lambda _: self._trim_later.start(0))
        dock.topLevelChanged.connect(lambda _: self._trim_later.start(0))
        dock.visibilityChanged.connect(lambda is_seen: self._seen(name, is_seen=is_seen))
        dock.windowTitleChanged.connect(lambda _: self.changed.emit())
        dock.installEventFilter(self)

    def arrange(self, width: int, height: int) -> None:
        """The first arrangement, for a window of this size: the centre gets what the sides can spare."""
        window, docks = self._window, self._docks
        window.splitDockWidget(docks["library"], docks["devices"], Qt.Orientation.Vertical)
        window.tabifyDockWidget(docks["recipe"], docks["properties"])
        window.tabifyDockWidget(docks["timeline"], docks["jobs"])
        window.tabifyDockWidget(docks["jobs"], docks["notices"])
        docks["recipe"].raise_()
        docks["timeline"].raise_()
        left, right = min(340, max(280, width * 22 // 100)), min(360, max(240, width // 4))
        window.resizeDocks([docks["library"], docks["recipe"]], [left, right], Qt.Orientation.Horizontal)
        window.resizeDocks(
            [docks["library"], docks["devices"]],
            [height * 45 // 100, height * 55 // 100],
            Qt.Orientation.Vertical,
        )
        window.resizeDocks([docks["timeline"]], [min(280, height * 30 // 100)], Qt.Orientation.Vertical)
        self.fold()
        if width < _ROOM_FOR_ALL_PX:
            self._show_group("recipe", is_shown=False)

    def bring_forward(self, name: str) -> None:
        """Show a dock, in front of those that share its place, and give it the focus."""
        self.peek(name)
        enter(self._docks[name].widget())

    def peek(self, name: str) -> None:
        """Show a dock in front, without taking the focus from where the user is."""
        self._show_group(name, is_shown=True)
        self._docks[name].raise_()

    def is_in_front(self, name: str) -> bool:
        """True for a dock that is seen: not hidden, and no other one before it."""
        return name in self._in_front

    def hides(self, widget: QWidget | None) -> bool:
        """Whether something is in a dock that lies behind another one: Qt counts that as visible."""
        docks = (dock for name, dock in self._docks.items() if name not in self._in_front)
        return widget is not None and any(dock.isAncestorOf(widget) for dock in docks)

    def turn(self, name: str) -> None:
        """Bring a dock forward, or fold its place away when it is what is seen there."""
        if self.is_in_front(name):
            self._show_group(name, is_shown=False)
        else:
            self.bring_forward(name)

    def fold(self) -> None:
        """Fold the tray away."""
        for name in TRAY:
            if not self._docks[name].isFloating():
                self._docks[name].hide()

    def turn_tray(self) -> None:
        """Fold the tray away, or bring back what was seen in it."""
        if any(self.is_in_front(name) and not self._docks[name].isFloating() for name in TRAY):
            self.fold()
        else:
            self.bring_forward(self._last_of_tray)

    def set_count(self, name: str, number: int) -> None:
        """Show a number behind a dock's title; none for 0."""
        title = TITLES.get(name, name.capitalize())
        self._docks[name].setWindowTitle(f"{title} ({number})" if number else title)

    def title(self, name: str) -> str:
        """A dock's title, with its number."""
        return self._docks[name].windowTitle()

    def toggle(self, name: str) -> None:
        """Show or hide a dock."""
        self._docks[name].setVisible(self._docks[name].isHidden())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A dock that was dragged out of a group needs its title bar again."""
        if event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            self._trim_later.start(0)
        return super().eventFilter(watched, event)

    def _seen(self, name: str, *, is_seen: bool) -> None:
        self._trim_later.start(0)
        (self._in_front.add if is_seen else self._in_front.discard)(name)
        if is_seen and name in TRAY:
            self._last_of_tray = name
        self.changed.emit()

    def _show_group(self, name: str, *, is_shown: bool) -> None:
        """Show or hide a dock with those that share its place, so that their tabs come and go together."""
        dock = self._docks[name]
        group = next((each for each in (TRAY, SIDE) if name in each), ())
        mates = [self._docks[mate] for mate in group if mate != name]
        for mate in [] if dock.isFloating() else mates:
            if not mate.isFloating():
                mate.setVisible(is_shown)
        dock.setVisible(is_shown)

    def _trim(self) -> None:
        for dock in self._docks.values():
            has_tab = any(not other.isHidden() for other in self._window.tabifiedDockWidgets(dock))
            bare: QWidget | None = dock.titleBarWidget()  # None while it has Qt's own
            if has_tab and not dock.isFloating() and (bare is None or isinstance(bare, DockTitle)):
                empty = QWidget()
                empty.setFixedHeight(0)
                dock.setTitleBarWidget(empty)
                if bare is not None:
                    bare.deleteLater()
            elif not isinstance(bare, DockTitle) and (not has_tab or dock.isFloating()):
                dock.setTitleBarWidget(DockTitle(dock))
                if bare is not None:
                    bare.deleteLater()
