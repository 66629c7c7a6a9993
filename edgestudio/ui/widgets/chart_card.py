"""A card with a title, figures of now, and a chart below; where there is nothing to draw it says why."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QStackedLayout, QVBoxLayout, QWidget

from edgestudio.ui import theme
from edgestudio.ui.widgets.flow import WrapLayout
from edgestudio.ui.widgets.text import label

DASHES: tuple[Qt.PenStyle, ...] = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.SolidLine,
)


class _Stroke(QWidget):
    """A short piece of a line as the chart draws it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self.setFixedSize(18, 12)
        theme.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the stroke."""
        painter = QPainter(self)
        painter.setPen(line_pen(self._number))
        painter.drawLine(0, 6, 18, 6)
        painter.end()


def line_pen(number: int, width: float = 1.8) -> QPen:
    """The pen of the n-th line of any chart: colours differ, and so do the strokes."""
    colors = theme.palette()
    pen = QPen(QColor(colors.chart[number % len(colors.chart)]), width, DASHES[number % len(DASHES)])
    pen.setCosmetic(True)
    return pen


class ChartCard(QFrame):
    """Frame, title and figures; a chart puts its drawing into `body`.

    One line's figure stands beside the title; those of several are a legend below it, which wraps.
    """

    def __init__(self, title: str, name: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setProperty("kind", "card")
        self.setAccessibleName(title)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(label(title, "heading"))
        head.addStretch(1)
        self._figures: dict[str, QLabel] = {}
        self._entries: dict[str, QWidget] = {}
        legend = WrapLayout(spacing=12)
        for number, line in enumerate(lines):
            figure = label("", "caption", name=f"{name}-{line}")
            figure.setFont(theme.figures(figure.font()))
            self._figures[line] = figure
            if len(lines) == 1:
                head.addWidget(figure)
            else:
                self._entries[line] = _entry(number, figure)
                self._entries[line].hide()  # a stroke says nothing before there is a figure to it
                legend.addWidget(self._entries[line])
        self._note = label("", "warning", wraps=True, name=f"{name}-note")
        self._note.hide()
        self._reason = label("", "muted", wraps=True, name=f"{name}-reason")
        self._reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._place = QStackedLayout()
        self._place.addWidget(self._reason)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 6)
        column.setSpacing(4)
        column.addLayout(head)
        if self._entries:
            column.addLayout(legend)
        column.addWidget(self._note)
        column.addLayout(self._place, 1)

    def set_body(self, body: QWidget) -> None:
        """Put the drawing in its place."""
        self._place.addWidget(body)
        self._place.setCurrentWidget(body)

    def show_figure(self, line: str, text: str) -> None:
        """Write a figure of the header; its room only grows, so that its neighbours stand still."""
        figure = self._figures[line]
        if text != figure.text():
            if not figure.text() and line in self._entries:
                self._entries[line].show()
            figure.setText(text)
            figure.setMinimumWidth(max(figure.minimumWidth(), figure.sizeHint().width()))

    def show_line(self, line: str, is_there: bool) -> None:  # noqa: FBT001 - like Qt's setVisible
        """Show or hide what the header says of a line."""
        self._entries.get(line, self._figures[line]).setVisible(is_there)

    def figure(self, line: str) -> str:
        """A figure of the header as it is shown."""
        return self._figures[line].text()

    def explain(self, reason: str) -> None:
        """Show a reason in place of the drawing and its figures; an empty one brings the drawing back."""
        for line, figure in self._figures.items() if reason else ():
            figure.setText("")
            if line in self._entries:
                self._entries[line].hide()
        if reason != self._reason.text():
            self._reason.setText(reason)
        self._place.setCurrentIndex(0 if reason else 1)

    def note(self, text: str) -> None:
        """Say something about the newest values above the drawing, such as why they are missing."""
        if text != self._note.text():
            self._note.setText(text)
            self._note.setVisible(bool(text))

    def reason(self) -> str:
        """Why nothing is drawn, "" while something is."""
        return self._reason.text()


def _entry(number: int, figure: QLabel) -> QWidget:
    entry = QWidget()
    row = QHBoxLayout(entry)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    row.addWidget(_Stroke(number))
    row.addWidget(figure)
    return entry
