"""The tabs of the centre: they take the room that the docks leave, and never ask for more."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QTabWidget, QWidget

_LEAST = QSize(376, 300)


class Pages(QTabWidget):
    """A page that would like to be wider than it is scrolls; the docks keep the widths that people gave them."""

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setDocumentMode(True)

    def sizeHint(self) -> QSize:
        """No more than the pages need at least."""
        return self.minimumSizeHint()

    def minimumSizeHint(self) -> QSize:
        """What the pages need, up to a bound: a name of any length leaves the window on its screen."""
        return super().minimumSizeHint().boundedTo(_LEAST)
