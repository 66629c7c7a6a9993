"""Buttons with the theme's icons, redrawn when the colours change; Enter presses the one that has the focus."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPushButton, QToolButton

from edgestudio.ui import icons, theme


class Button(QPushButton):
    """A push button; `kind` is "", "primary" or "quiet"."""

    def __init__(
        self, text: str, name: str, *, icon: str = "", kind: str = "", run: Callable[[], object] | None = None
    ) -> None:
        super().__init__(text)
        self._icon, self._kind = icon, kind
        self.setObjectName(name)
        self.setAccessibleName(text)
        self.setProperty("kind", kind)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        if run is not None:
            self.clicked.connect(lambda: run())
        if icon:
            self._draw()
            theme.changed.connect(self._draw)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter presses it, in a dialog too: what has the focus goes before the dialog's default."""
        if _is_enter(event):
            self.click()
        else:
            super().keyPressEvent(event)

    def _draw(self) -> None:
        role = {"primary": "on_fill", "quiet": "accent"}.get(self._kind, "text")
        self.setIcon(icons.icon(self._icon, role))


class ToolButton(QToolButton):
    """A button of a toolbar."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter presses it, or opens its menu."""
        if not _is_enter(event):
            super().keyPressEvent(event)
        elif self.menu() is not None and self.popupMode() == QToolButton.ToolButtonPopupMode.InstantPopup:
            self.showMenu()
        else:
            self.click()


class IconButton(ToolButton):
    """A small button with a picture only; `tip` says what it does, to the eye and to a screen reader."""

    def __init__(
        self, icon: str, tip: str, name: str, run: Callable[[], object] | None = None, *, role: str = "muted"
    ) -> None:
        super().__init__()
        self._icon, self._role = icon, role
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setAutoRaise(True)
        self.setProperty("kind", "small")
        self.setIconSize(QSize(16, 16))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        if run is not None:
            self.clicked.connect(lambda: run())
        self._draw()
        theme.changed.connect(self._draw)

    def show_icon(self, icon: str, tip: str) -> None:
        """Show another picture with another meaning."""
        self._icon = icon
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self._draw()

    def _draw(self) -> None:
        self.setIcon(icons.icon(self._icon, self._role))


def _is_enter(event: QKeyEvent) -> bool:
    return event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.isAutoRepeat()
