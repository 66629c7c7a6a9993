"""The pairing dialog: the code that a board shows goes in, trust comes out; it blocks nothing."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from edgestudio.studio.rows import BoardRow
from edgestudio.studio.stores import Store
from edgestudio.ui import theme
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.text import IconLabel, label, set_property, set_role
from edgestudio.wire.errors import EdgeStudioError

Pair = Callable[[str, str, Callable[[object], object], Callable[[EdgeStudioError], object]], None]
_CLOSES_AFTER_MS = 1200


class PairingDialog(QDialog):
    """Asks for one board's code; stays open with the reason when it does not hold."""

    def __init__(
        self, board: str, boards: Store[BoardRow], pair: Pair, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._board, self._boards, self._pair = board, boards, pair
        self._is_waiting = self._is_paired = False
        self.setObjectName("pairing-dialog")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(440)
        self._build()
        boards.changed.connect(self._follow)
        boards.removed.connect(self._follow)
        self.finished.connect(self._unfollow)
        row = boards.get(board)
        if row is not None:
            self._follow(row)

    def _build(self) -> None:
        column = self._frame()
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(8)
        self._title = label("", "title")
        column.addWidget(self._title)
        column.addWidget(
            label(
                "The board shows a short code on its screen or console. Type it here: it proves to both sides "
                "that nobody stands between them.",
                "muted",
                wraps=True,
            )
        )
        self._screen = QFrame()
        self._screen.setProperty("kind", "screen")
        inside = QVBoxLayout(self._screen)
        inside.setContentsMargins(12, 8, 12, 8)
        inside.addWidget(label("Board's screen", "caption"))
        self._screen_text = label("", name="pairing-screen", wraps=True)
        self._screen_text.setFont(theme.mono_font())
        self._screen_text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        inside.addWidget(self._screen_text)
        column.addSpacing(4)
        column.addWidget(self._screen)
        column.addSpacing(4)
        self.code = QLineEdit()
        self.code.setObjectName("pairing-code")
        self.code.setAccessibleName("Pairing code")
        self.code.setPlaceholderText("42-COPPER-LANTERN-TIGER")
        font = theme.mono_font(14)
        self.code.setFont(font)
        self.code.setMinimumHeight(40)
        self.code.textEdited.connect(self._edited)
        self.code.returnPressed.connect(self._go)
        column.addWidget(self.code)
        answer = QHBoxLayout()
        answer.setSpacing(8)
        self._answer_icon = IconLabel("info", 16)
        self._answer = label("", "muted", wraps=True, name="pairing-answer")
        answer.addWidget(self._answer_icon, 0, Qt.AlignmentFlag.AlignTop)
        answer.addWidget(self._answer, 1)
        column.addLayout(answer)
        self._say("info", "muted", "The code works once and for a few minutes.")
        column.addStretch(1)
        self._build_buttons(column)

    def _build_buttons(self, column: QVBoxLayout) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch(1)
        self.pair_button = Button("Pair", "pairing-pair", kind="primary", run=self._go)
        self.pair_button.setDefault(True)
        self.pair_button.setEnabled(False)
        self.cancel_button = Button("Cancel", "pairing-cancel", run=self.reject)
        self.cancel_button.setAutoDefault(False)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.pair_button)
        column.addLayout(buttons)

    def _frame(self) -> QVBoxLayout:
        self.setProperty("kind", "sheet")
        edge = QVBoxLayout(self)
        edge.setContentsMargins(1, 1, 1, 1)  # seen where no window manager draws one
        page = QWidget()
        page.setProperty("kind", "page")
        page.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        edge.addWidget(page)
        return QVBoxLayout(page)

    def _follow(self, row: BoardRow) -> None:
        if row.id != self._board:
            return
        self.setWindowTitle(f"Pair {row.name}")
        self._title.setText(f"Pair with {row.name}")
        self._screen.setVisible(bool(row.screen))
        self._screen_text.setText("\n".join(row.screen[-4:]))
        if row.is_paired:
            self._paired(row)

    def _unfollow(self) -> None:
        self._boards.changed.disconnect(self._follow, missing_ok=True)
        self._boards.removed.disconnect(self._follow, missing_ok=True)

    def _edited(self, text: str) -> None:
        at = self.code.cursorPosition()
        self.code.setText(text.upper())
        self.code.setCursorPosition(at)
        set_property(self.code, "invalid", "false")
        self.pair_button.setEnabled(bool(text.strip()) and not self._is_waiting)

    def _go(self) -> None:
        code = self.code.text().strip()
        if not code or self._is_waiting:
            return
        self._is_waiting = True
        self.pair_button.setEnabled(False)
        self._say("running", "muted", "Talking to the board …")
        self._pair(self._board, code, self._paired, self._failed)

    def showEvent(self, event: QShowEvent) -> None:
        """The code can be typed at once."""
        super().showEvent(event)
        self.raise_()
        self.activateWindow()
        self.code.setFocus(Qt.FocusReason.ActiveWindowFocusReason)

    def _paired(self, answer: object) -> None:
        if self._is_paired:
            return
        self._is_paired, self._is_waiting = True, False
        self.code.setEnabled(False)
        self.pair_button.hide()
        self.cancel_button.setText("Close")
        self.cancel_button.setDefault(True)
        self.cancel_button.setFocus()
        self._say("success", "good", "Paired. Both sides now know each other's certificate.")
        QTimer.singleShot(_CLOSES_AFTER_MS, self, self.accept)

    def _failed(self, error: EdgeStudioError) -> None:
        self._is_waiting = False
        set_property(self.code, "invalid", "true")
        self._say("error", "bad", error.in_full)
        self.code.selectAll()
        self.code.setFocus()
        self.pair_button.setEnabled(True)

    def _say(self, icon: str, role: str, text: str) -> None:
        self._answer_icon.show_icon(icon, role)
        set_role(self._answer, role)
        self._answer.setText(text)
