"""A box of choices whose long texts are shortened in their middle, whole on hovering and in its list."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QHelpEvent, QPaintEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter, QToolTip

_EDGE_PX = 12
_WIDEST_LIST_PX = 640


class ChoiceBox(QComboBox):
    """Takes the room that it is given: `least` characters stay readable."""

    def __init__(self, least: int = 8) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(least)
        self.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def paintEvent(self, event: QPaintEvent) -> None:
        """As the style draws it, with the text shortened to the field's width."""
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_text()
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shown_text(self) -> str:
        """The text as it stands in the field."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        room = field.width() - _EDGE_PX - (self.iconSize().width() if not option.currentIcon.isNull() else 0)
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideMiddle, room)

    def showPopup(self) -> None:
        """The list is as wide as its longest text, as far as that makes sense."""
        view = self.view()
        wanted = view.sizeHintForColumn(0) + 2 * _EDGE_PX + view.verticalScrollBar().sizeHint().width()
        view.setMinimumWidth(min(max(wanted, self.width()), _WIDEST_LIST_PX))
        super().showPopup()

    def event(self, event: QEvent) -> bool:
        """Hovering over a shortened text says all of it."""
        if isinstance(event, QHelpEvent) and self.shown_text() != self.currentText():
            QToolTip.showText(event.globalPos(), self.currentText(), self)
            return True
        return super().event(event)
