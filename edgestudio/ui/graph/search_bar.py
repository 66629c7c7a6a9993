"""The search field of the graph: counts while one types, steps through, says what it does not understand."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSizePolicy, QWidget

from edgestudio.model.query import Query, QueryError, parse
from edgestudio.ui import icons, theme
from edgestudio.ui.widgets.buttons import IconButton
from edgestudio.ui.widgets.text import label, set_property, set_role

_PAUSE_MS = 120
_LEAST_PX = 140
_HELP = (
    "Search by name or operator, or with:\n"
    "op:Conv k>3        kernel larger than 3\n"
    "shape:*,64,*       any tensor with a 64\n"
    "attr:group>1       by attribute\n"
    "name:layer1/*      by name\n"
    "dtype:int8, macs>1M, params>=10k\n"
    "-op:Relu excludes, | means or"
)


class _Field(QLineEdit):
    """A line that tells Enter from Shift+Enter, and Escape; `left` towards what is searched."""

    stepped = Signal(int)
    cleared = Signal()
    left = Signal()

    def sizeHint(self) -> QSize:
        """Little: it fills up its row, and is no reason to begin a second one."""
        return QSize(_LEAST_PX, super().sizeHint().height())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter steps on, Shift+Enter back, Escape clears and then leaves, as Down does."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.stepped.emit(-1 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
        elif event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
            self.cleared.emit()
        elif event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Down):
            self.left.emit()
        else:
            super().keyPressEvent(event)


class SearchBar(QWidget):
    """Emits `searched` with a Query, or None when the field is empty; `stepped` by +1 or -1.

    `misunderstood` carries what is wrong with a search, and what would be right.
    """

    searched = Signal(object)
    misunderstood = Signal(str)
    stepped = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.field = _Field()
        self.field.setObjectName("graph-search")
        self.field.setAccessibleName("Search the graph")
        self.field.setPlaceholderText("Search: op:Conv k>3, shape:*,64,*, a name …")
        self.field.setToolTip(_HELP)
        self.field.setClearButtonEnabled(True)
        self.field.setMinimumWidth(110)
        self._glass = QAction(self)
        self.field.addAction(self._glass, QLineEdit.ActionPosition.LeadingPosition)
        self.count = label("", "caption", name="graph-search-count")
        self._previous = IconButton("previous", "Previous match (Shift+Enter)", "graph-search-previous")
        self._next = IconButton("next", "Next match (Enter)", "graph-search-next")
        self._previous.clicked.connect(lambda: self.stepped.emit(-1))
        self._next.clicked.connect(lambda: self.stepped.emit(1))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.field, 1)
        row.addWidget(self.count)
        row.addWidget(self._previous)
        row.addWidget(self._next)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self.search_now)
        self.field.textChanged.connect(self._changed)
        self.field.stepped.connect(self._step)
        self._draw()
        theme.changed.connect(self._draw)
        self.show_count(None, 0)

    def search_now(self) -> None:
        """Search for what stands in the field."""
        self._timer.stop()
        text = self.field.text().strip()
        try:
            query: Query | None = parse(text) if text else None
        except QueryError as error:
            set_property(self.field, "invalid", value="true")
            self._say("", "bad")  # the sentence stands under the toolbar
            self.count.setToolTip(error.in_full)
            self._previous.hide()
            self._next.hide()
            self.misunderstood.emit(error.in_full)
            return
        self.count.setToolTip("")
        set_property(self.field, "invalid", value="false")
        self.searched.emit(query)

    def show_count(self, total: int | None, current: int) -> None:
        """Say how many nodes match and which one is selected (from 1, 0 for none); None hides it."""
        has_any = bool(total)
        self._previous.setVisible(total is not None)
        self._next.setVisible(total is not None)
        self._previous.setEnabled(has_any)
        self._next.setEnabled(has_any)
        if total is None:
            self._say("", "caption")
        elif total == 0:
            self._say("no match", "caption")
        else:
            self._say(f"{current:,} of {total:,}" if current else f"{total:,} found", "caption")

    def show_waiting(self) -> None:
        """Say that the answer comes as soon as the graph is read."""
        self._previous.setVisible(False)
        self._next.setVisible(False)
        self._say("still reading …", "caption")

    def _say(self, text: str, role: str) -> None:
        self.count.setText(text)
        set_role(self.count, role)
        self.count.setVisible(bool(text))

    def _changed(self) -> None:
        if self.field.text():
            self._timer.start()
        else:
            self.search_now()

    def _step(self, by: int) -> None:
        if self._timer.isActive():
            self.search_now()
        self.stepped.emit(by)

    def _draw(self) -> None:
        self._glass.setIcon(icons.icon("search"))
