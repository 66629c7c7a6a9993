"""The Notices: what happened, why, what to do; the details unfold and can be copied."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from edgestudio.studio.rows import NoticeRow
from edgestudio.ui import wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.card_column import CardColumn
from edgestudio.ui.widgets.code import CodeBlock, copy_to_clipboard
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import IconLabel, breakable, label

_QUIET_INSET_PX = 9
LEVELS = {
    "info": ("info", "accent", "Note"),
    "success": ("success", "good", "Done"),
    "warning": ("warning", "warning", "Warning"),
    "error": ("error", "bad", "Error"),
}


class NoticeCard(QFrame):
    """One notice."""

    def __init__(self, row: NoticeRow, dismiss: Callable[[str], None]) -> None:
        super().__init__()
        self._row = row
        self.setProperty("kind", "card")
        self.setObjectName(f"notice-{row.id}")
        icon, role, word = LEVELS[row.level]
        self.setAccessibleName(f"{word}: {row.message} {row.hint}")
        outer = QHBoxLayout(self)
        outer.setContentsMargins(12, 8, 8, 8)
        outer.setSpacing(10)
        outer.addWidget(IconLabel(icon, 18, role, word), 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(2)
        message = label(breakable(row.message), wraps=True)
        message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column.addWidget(message)
        if row.hint:
            hint = label(breakable(row.hint), "muted", wraps=True)
            hint.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            column.addWidget(hint)
        self._details: CodeBlock | None = None
        if row.details:
            self._unfold = Button("Show details", "notice-details", kind="quiet", run=self._toggle)
            line = QHBoxLayout()
            line.setContentsMargins(-_QUIET_INSET_PX, 0, 0, 0)  # its words under those above, not its edge
            line.addWidget(self._unfold)
            line.addStretch(1)
            column.addLayout(line)
            self._details = CodeBlock("Details", "notice-details-text", lines=8, wraps=False)
            self._details.set_text(row.details)
            self._details.hide()
            column.addWidget(self._details)
        outer.addLayout(column, 1)
        outer.addWidget(label(wording.clock(row.time), "caption"), 0, Qt.AlignmentFlag.AlignTop)
        copy = IconButton("copy", "Copy this notice", "notice-copy", self.copy)
        close = IconButton("cancel", "Dismiss", "notice-dismiss", lambda: dismiss(row.id))
        outer.addWidget(copy, 0, Qt.AlignmentFlag.AlignTop)
        outer.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)

    def copy(self) -> None:
        """Put everything that the notice says on the clipboard."""
        copy_to_clipboard(
            "\n\n".join(part for part in (self._row.message, self._row.hint, self._row.details) if part)
        )

    def _toggle(self) -> None:
        if self._details is not None:
            self._details.setVisible(self._details.isHidden())
            self._unfold.setText("Show details" if self._details.isHidden() else "Hide details")


class NoticesPanel(QWidget):
    """Newest first."""

    def __init__(self, desk: Desk, dismiss: Callable[[str], None]) -> None:
        super().__init__()
        self.setObjectName("notices-panel")
        self._dismiss = dismiss
        self._column: CardColumn[NoticeCard] = CardColumn(
            EmptyState("notices", "All quiet", "What needs your attention is told here."), spacing=6
        )
        self.cards = self._column.cards
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._column)
        store = desk.stores.notices
        store.added.connect(self._put)
        store.removed.connect(lambda row: self._column.take(row.id))
        for row in store.rows():
            self._put(row)

    def _put(self, row: NoticeRow) -> None:
        self._column.add(row.id, NoticeCard(row, self._dismiss))
