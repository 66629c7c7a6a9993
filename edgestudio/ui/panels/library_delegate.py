"""Paints a row of the library: the name, how it came to be, and what it gained."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QIcon, QPainter
from PySide6.QtWidgets import QApplication, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from edgestudio.ui import theme
from edgestudio.ui.panels.library_model import CAPTION_ROLE, GAIN_ROLE

_ROW_PX = 44
_ICON_PX = 18
_PAD_PX = 6


class LibraryDelegate(QStyledItemDelegate):
    """Two lines in the first column, one in the others, digits of equal width."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        """Rows of one height."""
        hint = super().sizeHint(option, index)
        return QSize(hint.width(), max(_ROW_PX, 2 * option.fontMetrics.lineSpacing() + 8))

    def initStyleOption(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Figures in equal-width digits; only the first column is painted by hand."""
        super().initStyleOption(option, index)
        if index.column():
            option.font = theme.figures(option.font)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Paint one cell."""
        if index.column():
            super().paint(painter, option, index)
            return
        full = QStyleOptionViewItem(option)
        self.initStyleOption(full, index)
        area: QRect = full.rect
        style = full.widget.style() if full.widget else QApplication.style()
        style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, full, painter, full.widget)
        colors = theme.palette()
        painter.save()
        icon: QIcon = full.icon
        icon.paint(
            painter,
            QRect(area.left() + _PAD_PX, area.center().y() - _ICON_PX // 2 + 1, _ICON_PX, _ICON_PX),
        )
        text = area.adjusted(_PAD_PX + _ICON_PX + 8, 5, -_PAD_PX, -5)
        upper = QRect(text.left(), text.top(), text.width(), text.height() // 2)
        lower = QRect(text.left(), text.top() + text.height() // 2, text.width(), text.height() // 2)
        font: QFont = full.font
        self._line(painter, upper, str(index.data()), font, QColor(colors.text))
        small = QFont(font)
        small.setPointSizeF(font.pointSizeF() - 1)
        gain = str(index.data(GAIN_ROLE) or "")
        if gain:
            painter.setFont(theme.figures(small))
            width = painter.fontMetrics().horizontalAdvance(gain)
            painter.setPen(QColor(colors.good if gain.startswith("−") else colors.muted))
            painter.drawText(lower, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), gain)
            lower.setLeft(lower.left() + width + 8)
        self._line(painter, lower, str(index.data(CAPTION_ROLE) or ""), small, QColor(colors.muted))
        painter.restore()

    @staticmethod
    def _line(painter: QPainter, area: QRect, text: str, font: QFont, color: QColor) -> None:
        painter.setFont(font)
        painter.setPen(color)
        fitting = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
        painter.drawText(area, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), fitting)
