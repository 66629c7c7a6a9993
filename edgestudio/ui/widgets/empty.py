"""What an empty panel shows: a picture, a sentence, and the button that ends the emptiness."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from edgestudio.ui.widgets.text import IconLabel, breakable, label


class EmptyState(QWidget):
    """Centred in the space that it is given; a narrow place has its buttons one below the other (`is_narrow`)."""

    def __init__(
        self, icon: str, title: str, sentence: str, *buttons: QPushButton, is_narrow: bool = False
    ) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(6)
        column.addStretch(1)
        column.addWidget(IconLabel(icon, 28, "outline"), 0, Qt.AlignmentFlag.AlignHCenter)
        heading = label(breakable(title), "heading", wraps=True)
        heading.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(heading)
        text = label(sentence, "muted", wraps=True)
        text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(text)
        if buttons:
            column.addSpacing(4)
            column.addLayout(_one_below_the_other(buttons) if is_narrow else _side_by_side(buttons))
        column.addStretch(2)


def _side_by_side(buttons: Sequence[QPushButton]) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(8)
    row.addStretch(1)
    for button in buttons:
        row.addWidget(button)
    row.addStretch(1)
    return row


def _one_below_the_other(buttons: Sequence[QPushButton]) -> QVBoxLayout:
    column = QVBoxLayout()
    column.setSpacing(6)
    for button in buttons:
        column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
    return column
