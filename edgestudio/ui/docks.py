"""The docks around the centre: made, arranged, brought forward."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QTabWidget, QWidget

from edgestudio.ui.widgets.buttons import IconButton
from edgestudio.ui.widgets.text import label

AREAS = {
    "library": Qt.DockWidgetArea.LeftDockWidgetArea,
    "recipe": Qt.DockWidgetArea.RightDockWidgetArea,
    "properties": Qt.DockWidgetArea.RightDockWidgetArea,
    "devices": Qt.DockWidgetArea.BottomDockWidgetArea,
    "timeline": Qt.DockWidgetArea.BottomDockWidgetArea,
    "jobs": Qt.DockWidgetArea.BottomDockWidgetArea,
    "notices": Qt.DockWidgetArea.BottomDockWidgetArea,
}
TITLES = {"timeline": "Deployments"}


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
    """Docks by name. One that shares its place with others shows its name on the tab alone."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._docks: dict[str, QDockWidget] = {}
        window.setDockOptions(
            QMainWindow.DockOption.AllowTabbedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.GroupedDragging
        )
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.BottomDockWidgetArea)
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
        self._docks[name] = dock
        self._window.addDockWidget(AREAS[name], dock)
        dock.dockLocationChanged.connect(lambda _: self._trim_later.start(0))
        dock.topLevelChanged.connect(lambda _: self._trim_later.start(0))
        dock.visibilityChanged.connect(lambda _: self._trim_later.start(0))
        dock.installEventFilter(self)

    def arrange(self, width: int, height: int) -> None:
        """The first arrangement, for a window of this size."""
        window, docks = self._window, self._docks
        window.tabifyDockWidget(docks["recipe"], docks["properties"])
        window.splitDockWidget(docks["devices"], docks["timeline"], Qt.Orientation.Horizontal)
        window.tabifyDockWidget(docks["timeline"], docks["jobs"])
        window.tabifyDockWidget(docks["jobs"], docks["notices"])
        docks["recipe"].raise_()
        docks["timeline"].raise_()
        right = min(380, max(240, width // 4))
        left = min(400, max(200, width // 4))
        window.resizeDocks([docks["library"], docks["recipe"]], [left, right], Qt.Orientation.Horizontal)
        beside = width - right
        window.resizeDocks(
            [docks["devices"], docks["timeline"]],
            [beside * 54 // 100, beside * 46 // 100],
            Qt.Orientation.Horizontal,
        )
        window.resizeDocks([docks["devices"]], [min(360, height * 34 // 100)], Qt.Orientation.Vertical)

    def bring_forward(self, name: str) -> None:
        """Show a dock, in front of those that share its place, and give it the focus."""
        dock = self._docks[name]
        dock.show()
        dock.raise_()
        dock.widget().setFocus(Qt.FocusReason.ShortcutFocusReason)

    def peek(self, name: str) -> None:
        """Show a dock in front, without taking the focus from where the user is."""
        self._docks[name].show()
        self._docks[name].raise_()

    def set_count(self, name: str, number: int) -> None:
        """Show a number behind a dock's title; none for 0."""
        title = TITLES.get(name, name.capitalize())
        self._docks[name].setWindowTitle(f"{title} ({number})" if number else title)

    def toggle(self, name: str) -> None:
        """Show or hide a dock."""
        self._docks[name].setVisible(self._docks[name].isHidden())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A dock that was dragged out of a group needs its title bar again."""
        if event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            self._trim_later.start(0)
        return super().eventFilter(watched, event)

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
