"""Labels: plain text with a role, text that elides instead of cutting, badges, and icons beside words."""

from __future__ import annotations

import re

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QStyle, QStyleOption, QWidget

from edgestudio.ui import icons, theme

_LONG_WORD = 24
_SEPARATORS = re.compile(r"[/\\_.,:-](?=\w)|[^/\\_.,:-]{24}(?=.)")


def label(text: str = "", role: str = "", *, wraps: bool = False, name: str = "") -> QLabel:
    """A label whose look follows from `role` (display, title, heading, muted, caption, good, warning, bad)."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    if wraps:
        made.setWordWrap(True)
        made.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    if name:
        made.setObjectName(name)
    return made


def breakable(text: str) -> str:
    """The same text, where words longer than a line may break behind a separator, as paths and names need."""
    return " ".join(
        _SEPARATORS.sub("\\g<0>\N{ZERO WIDTH SPACE}", word) if len(word) > _LONG_WORD else word
        for word in text.split(" ")
    )


def badge(text: str, role: str = "") -> QLabel:
    """A short word in a rounded outline."""
    made = label(text, role)
    made.setProperty("kind", "badge")
    made.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return made


def set_role(widget: QWidget, role: str) -> None:
    """Give a widget another role and let the style sheet see it."""
    set_property(widget, "role", role)


def set_property(widget: QWidget, key: str, value: object) -> None:
    """Change a dynamic property that the style sheet looks at."""
    if widget.property(key) == value:
        return
    widget.setProperty(key, value)
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()


class IconLabel(QLabel):
    """A picture of the theme that is redrawn when the colours change; `meaning` is read to blind users."""

    def __init__(self, name: str, size: int = 16, role: str = "muted", meaning: str = "") -> None:
        super().__init__()
        self._name, self._size, self._role = name, size, role
        self.setFixedSize(size, size)
        self.setAccessibleName(meaning)
        self._draw()
        theme.changed.connect(self._draw)

    def show_icon(self, name: str, role: str = "", meaning: str = "") -> None:
        """Show another picture."""
        if (name, role or self._role, meaning) == (self._name, self._role, self.accessibleName()):
            return
        self._name, self._role = name, role or self._role
        self.setAccessibleName(meaning)
        self.setToolTip(meaning)
        self._draw()

    def _draw(self) -> None:
        self.setPixmap(icons.pixmap(self._name, self._size, self._role))


class ElidedLabel(QLabel):
    """One line of text that ends in an ellipsis where it does not fit; the tool tip then shows all of it."""

    def __init__(
        self,
        text: str = "",
        role: str = "",
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:
        super().__init__()
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if role:
            self.setProperty("role", role)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show `text`."""
        if text != self.text():
            super().setText(text)
            self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        """Any width will do."""
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint what fits."""
        painter = QPainter(self)
        option = QStyleOption()
        option.initFrom(self)
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_Widget, option, painter, self)
        fitting = self.fontMetrics().elidedText(self.text(), self._mode, self.contentsRect().width())
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(self.contentsRect(), int(self.alignment() | Qt.AlignmentFlag.AlignVCenter), fitting)
