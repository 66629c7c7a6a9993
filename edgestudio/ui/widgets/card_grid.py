"""Cards that share the room there is: as many columns as fit, scrolled only where they would get too small."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QScrollArea, QWidget

_MARGIN_PX = 12
_GAP_PX = 10


class CardGrid(QScrollArea):
    """No card is narrower than `width_px` or lower than `height_px`; at most `columns` stand side by side."""

    def __init__(self, cards: Sequence[QWidget], *, width_px: int, height_px: int, columns: int = 3) -> None:
        super().__init__()
        self._cards = tuple(cards)
        self._width_px, self._height_px, self._columns = width_px, height_px, columns
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._host = QWidget()
        self._host.setProperty("kind", "page")
        self._host.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        for card in self._cards:
            card.setParent(self._host)
        self.setWidget(self._host)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Arrange the cards anew."""
        super().resizeEvent(event)
        # By the whole width, not the viewport's: a scroll bar that comes must not change the columns again.
        fitting = (self.width() - 2 * _MARGIN_PX + _GAP_PX) // (self._width_px + _GAP_PX)
        columns = max(1, min(self._columns, fitting, len(self._cards)))
        rows = -(-len(self._cards) // columns)
        room = self.viewport().height() - 2 * _MARGIN_PX - (rows - 1) * _GAP_PX
        height = max(self._height_px, room // rows)
        across = self.viewport().width() - 2 * _MARGIN_PX - (columns - 1) * _GAP_PX
        self._host.resize(self.viewport().width(), rows * height + (rows - 1) * _GAP_PX + 2 * _MARGIN_PX)
        for at, card in enumerate(self._cards):
            row, column = divmod(at, columns)
            left, right = (across * edge // columns for edge in (column, column + 1))
            card.setGeometry(
                _MARGIN_PX + left + column * _GAP_PX,
                _MARGIN_PX + row * (height + _GAP_PX),
                right - left,
                height,
            )
            card.show()
