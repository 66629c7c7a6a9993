"""A layout that fills rows from the left and wraps, with items of one width that share what is left."""

from __future__ import annotations

from PySide6.QtCore import QMargins, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem


class FlowLayout(QLayout):
    """Items are at least `column_width` px wide and at most `widest`; a row is as tall as its tallest item."""

    def __init__(self, column_width: int, spacing: int = 8, margin: int = 8, widest: int = 360) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self._column_width, self._widest = column_width, widest
        self.setSpacing(spacing)
        self.setContentsMargins(QMargins(margin, margin, margin, margin))

    def addItem(self, item: QLayoutItem) -> None:
        """Append an item."""
        self._items.append(item)

    def count(self) -> int:
        """How many items there are."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """The item at `index`, or None."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Take the item at `index` out."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """None: it takes what it needs."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        """The height follows from the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """How tall the rows are at this width."""
        return self._arrange(QRect(0, 0, width, 0), moves=False)

    def sizeHint(self) -> QSize:
        """One column."""
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        """One item and the margins."""
        margins = self.contentsMargins()
        tallest = max((item.minimumSize().height() for item in self._items), default=0)
        return QSize(
            self._column_width + margins.left() + margins.right(), tallest + margins.top() + margins.bottom()
        )

    def setGeometry(self, rect: QRect) -> None:
        """Place the items."""
        super().setGeometry(rect)
        self._arrange(rect, moves=True)

    def _arrange(self, rect: QRect, *, moves: bool) -> int:
        area = rect.marginsRemoved(self.contentsMargins())
        gap = self.spacing()
        shown = [item for item in self._items if not item.isEmpty()]
        columns = max(1, (area.width() + gap) // (self._column_width + gap))
        width = min(self._widest, (area.width() - gap * (columns - 1)) // columns)
        top = area.top()
        for start in range(0, len(shown), columns):
            row = shown[start : start + columns]
            height = max(self._height(item, width) for item in row)
            if moves:
                for at, item in enumerate(row):
                    item.setGeometry(QRect(area.left() + at * (width + gap), top, width, height))
            top += height + gap
        bottom = top - gap if shown else top
        return bottom - rect.top() + self.contentsMargins().bottom()

    @staticmethod
    def _height(item: QLayoutItem, width: int) -> int:
        return item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
