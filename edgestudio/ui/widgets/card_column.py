"""Cards one below the other, the newest first, that scroll; an empty column says what will stand there."""

from __future__ import annotations

from typing import Generic, TypeVar

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from edgestudio.ui.widgets.focus import follow

Card = TypeVar("Card", bound=QWidget)


class CardColumn(QStackedWidget, Generic[Card]):
    """Holds cards by key; a card is never wider than the column."""

    def __init__(self, empty: QWidget, spacing: int = 8) -> None:
        super().__init__()
        self.cards: dict[str, Card] = {}
        self._host = QWidget()
        self._host.setProperty("kind", "page")
        self._column = QVBoxLayout(self._host)
        self._column.setContentsMargins(8, 8, 8, 8)
        self._column.setSpacing(spacing)
        self._column.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(self._host)
        self._scroll.viewport().installEventFilter(self)
        self.addWidget(empty)
        self.addWidget(self._scroll)

    def add(self, key: str, card: Card) -> None:
        """Put a new card on top and show it."""
        self.cards[key] = card
        self._column.insertWidget(0, card)
        follow(self._scroll, card)
        self._scroll.verticalScrollBar().setValue(0)
        self.setCurrentIndex(1)

    def take(self, key: str) -> None:
        """Take a card away; a key that is not there changes nothing."""
        card = self.cards.pop(key, None)
        if card is not None:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        self.setCurrentIndex(1 if self.cards else 0)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hold the cards at the column's width: a scroll area lets a long word make them wider."""
        if event.type() == QEvent.Type.Resize:
            self._host.setMaximumWidth(self._scroll.viewport().width())
        return False
