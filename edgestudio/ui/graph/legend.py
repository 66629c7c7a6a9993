"""What lies over a corner of the graph: an overlay's legend, and what is being traced."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QObject, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QWidget

from edgestudio.ui import theme
from edgestudio.ui.graph.overlay import RAMP, RAMP_ON_DARK, Overlay, ramp_rgb
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.text import label

_MARGIN_PX = 12
_LINE_PX = 20
_MOST_WORDS = 8


def _ramp() -> tuple[str, ...]:
    return RAMP_ON_DARK if theme.palette().is_dark else RAMP


class Legend(QWidget):
    """An overlay's title with its ramp and its ends, or with its words; in the lower left corner of `host`."""

    def __init__(self, host: QWidget) -> None:
        super().__init__(host)
        self._host = host
        self.setObjectName("graph-legend")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._overlay: Overlay | None = None
        host.installEventFilter(self)
        theme.changed.connect(self.update)
        self.hide()

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Show the legend of an overlay; None hides it."""
        self._overlay = overlay
        self.setVisible(overlay is not None and overlay.range() is not None)
        if overlay is not None:
            self.setAccessibleName(f"Legend: {overlay.title}")
        self._place()

    def sizeHint(self) -> QSize:
        """Room for a title, and a ramp with two numbers or a line for each word."""
        words = self._overlay.words[:_MOST_WORDS] if self._overlay else ()
        return QSize(232, 40 + _LINE_PX * len(words) if words else 68)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep to the corner."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the card."""
        limits = self._overlay.range() if self._overlay else None
        if self._overlay is None or limits is None:
            return
        colors = theme.palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colors.border)))
        painter.setBrush(QColor(colors.raised))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        inner = self.rect().adjusted(12, 8, -12, -8)
        painter.setPen(QColor(colors.text))
        title = self._overlay.title + (" (log scale)" if self._overlay.is_log else "")
        painter.drawText(inner, int(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft), title)
        if self._overlay.words:
            self._paint_words(painter, inner, self._overlay)
            return
        ramp = np.ascontiguousarray(ramp_rgb(np.linspace(0, 1, inner.width()), _ramp())[None])
        strip = QImage(ramp.data, inner.width(), 1, inner.width() * 3, QImage.Format.Format_RGB888)
        painter.drawImage(QRectF(inner.left(), inner.top() + 20, inner.width(), 10), strip)
        painter.setPen(QColor(colors.muted))
        low, high = (self._overlay.text(value) for value in limits)
        painter.drawText(inner, int(Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft), low)
        painter.drawText(inner, int(Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignRight), high)
        painter.end()

    def _paint_words(self, painter: QPainter, inner: QRect, overlay: Overlay) -> None:
        """A line for each word: its colour, itself, and how many boxes have it."""
        colors = theme.palette()
        right = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        for row, (word, place, count) in enumerate(overlay.counts()[:_MOST_WORDS]):
            line = QRect(inner.left(), inner.top() + 24 + row * _LINE_PX, inner.width(), _LINE_PX)
            red, green, blue = ramp_rgb(np.array([place]), _ramp())[0].tolist()
            painter.setPen(QPen(QColor(colors.border)))
            painter.setBrush(QColor(red, green, blue))
            painter.drawRoundedRect(QRectF(line.left() + 0.5, line.center().y() - 5.5, 14, 12), 3, 3)
            painter.setPen(QColor(colors.text))
            room = line.adjusted(24, 0, -48, 0)
            text = painter.fontMetrics().elidedText(word, Qt.TextElideMode.ElideRight, room.width())
            painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), text)
            painter.setPen(QColor(colors.muted))
            painter.drawText(line, right, f"{count:,}")
        painter.end()

    def _place(self) -> None:
        self.resize(self.sizeHint())
        self.move(_MARGIN_PX, self._host.height() - self.height() - _MARGIN_PX)


class Key(QWidget):
    """Colours beside the words that they stand for, in one line."""

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__()
        self._words = words
        self._colors: tuple[str, ...] = ()
        self.setAccessibleName(f"Colours: {', '.join(words)}")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_colors(self, *colors: str) -> None:
        """A colour for each word."""
        self._colors = colors
        self.update()

    def sizeHint(self) -> QSize:
        """Room for all words."""
        metrics = self.fontMetrics()
        across = sum(metrics.horizontalAdvance(word) + 30 for word in self._words)
        return QSize(across, max(18, metrics.height()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint a square and a word each."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left = 0
        for word, color in zip(self._words, self._colors, strict=False):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(color))
            painter.drawRoundedRect(QRectF(left, self.height() / 2 - 5, 10, 10), 3, 3)
            painter.setPen(QColor(theme.palette().muted))
            width = painter.fontMetrics().horizontalAdvance(word)
            line = QRect(left + 16, 0, width + 2, self.height())
            painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), word)
            left += width + 30
        painter.end()


class TraceBanner(QFrame):
    """Says what is emphasised and ends it; sits at the top in the middle of `host`."""

    dismissed = Signal()

    def __init__(self, host: QWidget) -> None:
        super().__init__(host)
        self._host = host
        self.setObjectName("graph-trace")
        self.setProperty("kind", "card")
        self._text = label("", "", name="graph-trace-text")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 4, 4)
        row.setSpacing(8)
        row.addWidget(self._text)
        self._end = Button("Clear", "graph-trace-clear", kind="quiet", run=self.dismissed.emit)
        row.addWidget(self._end)
        host.installEventFilter(self)
        self.hide()

    def say(self, text: str, *, end: str = "Clear") -> None:
        """Show a sentence, and a button that says how it ends; an empty one hides the banner."""
        self._text.setText(text)
        self._end.setText(end)
        self.setVisible(bool(text))
        self._place()

    def text(self) -> str:
        """The sentence that is shown."""
        return self._text.text()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep to the middle."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        self.adjustSize()
        self.move((self._host.width() - self.width()) // 2, _MARGIN_PX)
