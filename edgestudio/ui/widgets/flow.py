"""Layouts that fill rows from the left and wrap: items of one width that share what is left, or of their own width."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QMargins, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

_BETWEEN_ROWS = 2
_LEAST_PX = 180


class _Wrapping(QLayout):
    """What both have in common: a list of items, and a height that follows from the width."""

    def __init__(self, spacing: int, margin: int) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
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

    def arrange(self, widgets: Sequence[QWidget]) -> None:
        """Put the items into the order of their widgets."""
        places: dict[QWidget | None, int] = {widget: at for at, widget in enumerate(widgets)}
        wanted = sorted(self._items, key=lambda item: places.get(item.widget(), len(places)))
        if wanted != self._items:
            self._items = wanted
            self.invalidate()

    def expandingDirections(self) -> Qt.Orientation:
        """None: it takes what it needs."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        """The height follows from the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """How tall the rows are at this width."""
        return self._arrange(QRect(0, 0, width, 0), moves=False)

    def setGeometry(self, rect: QRect) -> None:
        """Place the items."""
        super().setGeometry(rect)
        self._arrange(rect, moves=True)

    def _arrange(self, rect: QRect, *, moves: bool) -> int:
        raise NotImplementedError


class FlowLayout(_Wrapping):
    """Items are `column_width` px wide or more, `widest` at most, and less where there is no room for one.

    A row is as tall as its tallest item.
    """

    def __init__(self, column_width: int, spacing: int = 8, margin: int = 8, widest: int = 360) -> None:
        super().__init__(spacing, margin)
        self._column_width, self._widest = column_width, widest

    def sizeHint(self) -> QSize:
        """One column."""
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        """One item and the margins."""
        margins = self.contentsMargins()
        tallest = max((item.minimumSize().height() for item in self._items), default=0)
        return QSize(
            min(self._column_width, _LEAST_PX) + margins.left() + margins.right(),
            tallest + margins.top() + margins.bottom(),
        )

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


class WrapLayout(_Wrapping):
    """Items as wide as they want to be, one after the other like words; those that expand fill up their row."""

    def __init__(self, spacing: int = 8, margin: int = 0) -> None:
        super().__init__(spacing, margin)

    def sizeHint(self) -> QSize:
        """All in one row."""
        hints = [item.sizeHint() for item in self._items if not item.isEmpty()]
        across = sum(hint.width() + self.spacing() for hint in hints)
        return self._with_margins(
            max(0, across - self.spacing()), max((hint.height() for hint in hints), default=0)
        )

    def minimumSize(self) -> QSize:
        """The widest item."""
        hints = [item.sizeHint() for item in self._items if not item.isEmpty()]
        return self._with_margins(
            max((hint.width() for hint in hints), default=0),
            max((hint.height() for hint in hints), default=0),
        )

    def _with_margins(self, width: int, height: int) -> QSize:
        margins = self.contentsMargins()
        return QSize(width + margins.left() + margins.right(), height + margins.top() + margins.bottom())

    def _arrange(self, rect: QRect, *, moves: bool) -> int:
        area = rect.marginsRemoved(self.contentsMargins())
        top = area.top()
        for row in self._rows(area.width()):
            tallest = max(item.sizeHint().height() for item in row)
            if moves:
                self._place(row, QRect(area.left(), top, area.width(), tallest))
            top += tallest + _BETWEEN_ROWS
        bottom = top - _BETWEEN_ROWS if top > area.top() else top
        return bottom - rect.top() + self.contentsMargins().bottom()

    def _rows(self, width: int) -> list[list[QLayoutItem]]:
        rows: list[list[QLayoutItem]] = []
        taken = 0
        for item in (each for each in self._items if not each.isEmpty()):
            wanted = min(item.sizeHint().width(), width)
            if rows and taken + self.spacing() + wanted <= width:
                rows[-1].append(item)
                taken += self.spacing() + wanted
            else:
                rows.append([item])
                taken = wanted
        return rows

    def _place(self, row: list[QLayoutItem], area: QRect) -> None:
        """Put the items of one row beside each other, each in the middle of the row's height."""
        widths = [min(item.sizeHint().width(), area.width()) for item in row]
        greedy = [at for at, item in enumerate(row) if item.expandingDirections() & Qt.Orientation.Horizontal]
        if greedy:
            rest = area.width() - sum(widths) - self.spacing() * (len(row) - 1)
            widths[greedy[0]] += max(0, rest)
        left = area.left()
        for item, width in zip(row, widths, strict=True):
            height = item.sizeHint().height()
            item.setGeometry(QRect(left, area.top() + (area.height() - height) // 2, width, height))
            left += width + self.spacing()
