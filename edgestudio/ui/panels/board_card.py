"""One board as a card: who it is, what runs on it, and the place where a model is dropped to install it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
)
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QSizePolicy, QVBoxLayout

from edgestudio.studio.rows import BoardRow, DeploymentRow
from edgestudio.ui import theme, wording
from edgestudio.ui.dragging import dragged_model
from edgestudio.ui.panels import board_words
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.text import ElidedLabel, IconLabel, badge, label, set_property, set_role

_SCREEN_LINES = 4


class BoardCard(QFrame):
    """Follows one row; asks for things by signals that carry the board's id."""

    chosen = Signal(str)
    menu_wanted = Signal(str, QPoint)
    pair_wanted = Signal(str)
    push_wanted = Signal(str)
    start_wanted = Signal(str)
    model_dropped = Signal(str, str)

    def __init__(self, row: BoardRow, freshness: Callable[[BoardRow], str]) -> None:
        super().__init__()
        self.row = row
        self._freshness = freshness
        self._deployment: DeploymentRow | None = None
        self._is_dragging = False
        self.setProperty("kind", "card")
        self.setObjectName(f"board-card-{row.name}")
        self.setAcceptDrops(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._build()
        self.show_row(row)

    def sizeHint(self) -> QSize:
        """As tall as its words need."""
        return QSize(264, super().sizeHint().height())

    def show_row(self, row: BoardRow) -> None:
        """Show the board as it is now."""
        self.row = row
        self._name.setText(row.name)
        self._kind.show_icon("computer" if row.is_local and not row.is_simulated else "board", "text")
        self._simulated.setVisible(row.is_simulated)
        icon, role, word = board_words.presence(row)
        self._presence_icon.show_icon(icon, role, word)
        has_place = row.address and row.presence != "offline"
        self._presence.setText(f"{word} · {row.address}:{row.port}" if has_place else word)
        self._presence.setToolTip(f"{row.address}:{row.port}")
        set_role(self._presence, role)
        self._hardware.setText("\n".join(filter(None, (board_words.hardware(row), board_words.whose(row)))))
        self._abilities.setText(board_words.abilities(row))
        self._abilities.setVisible(bool(self._abilities.text()))
        self._temperature.setText(board_words.temperature(row))
        self._temperature.setToolTip(board_words.temperature_reason(row))
        self._running.setText(board_words.all_running(row.active) or "No model installed yet")
        self._running.setToolTip("\n".join(board_words.running(each) for each in row.active))
        fresh = self._freshness(row)
        self._freshness_label.setText(fresh)
        set_role(self._freshness_label, "good" if fresh == "newest" else "accent")
        self._freshness_label.setVisible(bool(self._freshness_label.text()))
        self._pair.setVisible(not row.is_paired)
        is_installing = self._deployment is not None and self._deployment.state == "running"
        self._start.setVisible(row.can_start)
        self._push.setVisible(row.is_paired and not is_installing and not row.can_start)
        self._push.setEnabled(board_words.accepts_models(row))
        self._show_screen(row)
        self._problem.setText(row.problem)
        self._problem.setToolTip(row.hint)
        self._problem.setVisible(bool(row.problem) and not row.can_start)
        self._show_hint()
        simulated = ", simulated sensors" if row.is_simulated else ""
        self.setAccessibleName(f"Board {row.name}{simulated}, {word}. {self._running.text()}")
        self.updateGeometry()

    def show_deployment(self, deployment: DeploymentRow | None) -> None:
        """Show how far an installation on this board is; None when there is none to show."""
        self._deployment = deployment
        is_running = deployment is not None and deployment.state == "running"
        self._progress.setVisible(is_running)
        self._push.setVisible(self.row.is_paired and not is_running and not self.row.can_start)
        if deployment is not None and is_running:
            ended = sum(step.state in ("done", "skipped") for step in deployment.steps)
            self._progress.setRange(0, max(len(deployment.steps), 1))
            self._progress.setValue(ended)
        self._show_hint()

    def set_dragging(self, *, is_dragging: bool) -> None:
        """Show, while a model is dragged anywhere in the window, whether it may be dropped here."""
        self._is_dragging = is_dragging
        can_take = board_words.accepts_models(self.row)
        set_property(self, "drop", "ready" if is_dragging and can_take else "")
        self._show_hint()

    def set_files_over(self, *, are_over: bool) -> None:
        """Show, while files from elsewhere hover over this card, whether one of them could be installed here."""
        can_take = board_words.accepts_models(self.row)
        set_property(self, "drop", ("hover" if can_take else "refused") if are_over else "")

    def set_selected(self, *, is_selected: bool) -> None:
        """Show whether commands act on this board."""
        set_property(self, "selected", "true" if is_selected else "false")

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 10, 12, 10)
        column.setSpacing(4)
        head = QHBoxLayout()
        head.setSpacing(8)
        self._kind = IconLabel("board", 18, "text")
        self._name = ElidedLabel("", "heading")
        more = IconButton("more", "More about this board", f"board-more-{self.row.name}", self._open_menu)
        head.addWidget(self._kind)
        head.addWidget(self._name, 1)
        head.addWidget(more)
        column.addLayout(head)
        line = QHBoxLayout()
        line.setSpacing(6)
        self._presence_icon = IconLabel("unknown", 14)
        self._presence = ElidedLabel()
        self._temperature = label(wording.DASH)
        self._temperature.setFont(theme.figures(self.font()))
        line.addWidget(self._presence_icon)
        line.addWidget(self._presence, 1)
        line.addWidget(IconLabel("temperature", 14, meaning="Temperature"))
        line.addWidget(self._temperature)
        column.addLayout(line)
        self._build_hardware(column)
        self._build_screen(column)
        slot = QHBoxLayout()
        slot.setSpacing(6)
        self._running = ElidedLabel()
        self._running.setObjectName(f"board-running-{self.row.name}")
        self._freshness_label = badge("", "accent")
        slot.addWidget(IconLabel("model", 14))
        slot.addWidget(self._running, 1)
        slot.addWidget(self._freshness_label)
        column.addLayout(slot)
        self._problem = label("", "warning", wraps=True)
        column.addWidget(self._problem)
        column.addStretch(1)
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        self._progress.setAccessibleName("Installation")
        self._progress.hide()
        column.addWidget(self._progress)
        self._build_foot(column)

    def _build_hardware(self, column: QVBoxLayout) -> None:
        what = QHBoxLayout()
        what.setSpacing(6)
        self._simulated = badge("SIMULATED", "simulated")
        self._simulated.setToolTip(
            "The agent, the model and the network are real; only the sensors are simulated."
        )
        self._abilities = ElidedLabel("", "caption")
        what.addWidget(self._simulated)
        what.addWidget(self._abilities, 1)
        column.addLayout(what)
        self._hardware = label("", "caption", wraps=True)
        column.addWidget(self._hardware)

    def _build_foot(self, column: QVBoxLayout) -> None:
        foot = QHBoxLayout()
        foot.setSpacing(4)
        self._hint = ElidedLabel("", "caption")
        self._hint.setObjectName(f"board-hint-{self.row.name}")
        self._pair = Button(
            "Pair …", f"board-pair-{self.row.name}", icon="pair", kind="primary",
            run=lambda: self.pair_wanted.emit(self.row.id),
        )  # fmt: skip
        self._push = Button(
            "Install", f"board-push-{self.row.name}", icon="push", kind="quiet",
            run=lambda: self.push_wanted.emit(self.row.id),
        )  # fmt: skip
        self._start = Button(
            "Start", f"board-start-{self.row.name}", icon="run", kind="quiet",
            run=lambda: self.start_wanted.emit(self.row.id),
        )  # fmt: skip
        self._start.setToolTip("Start this board's agent again on this computer")
        self._push.setToolTip("Install the model that is selected in the Library on this board")
        foot.addWidget(self._hint, 1)
        foot.addWidget(self._pair)
        foot.addWidget(self._push)
        foot.addWidget(self._start)
        column.addLayout(foot)

    def _build_screen(self, column: QVBoxLayout) -> None:
        self._screen = QFrame()
        self._screen.setProperty("kind", "screen")
        inside = QVBoxLayout(self._screen)
        inside.setContentsMargins(8, 4, 8, 4)
        inside.setSpacing(0)
        inside.addWidget(label("Board's screen", "caption"))
        self._screen_text = label("", name=f"board-screen-{self.row.name}", wraps=True)
        self._screen_text.setFont(theme.mono_font())
        self._screen_text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._screen_text.setAccessibleName("What the board's screen shows")
        inside.addWidget(self._screen_text)
        column.addWidget(self._screen)

    def _show_screen(self, row: BoardRow) -> None:
        is_useful = bool(row.screen) and not row.is_paired
        self._screen.setVisible(is_useful)
        if is_useful:
            self._screen_text.setText("\n".join(row.screen[-_SCREEN_LINES:]))

    def _show_hint(self) -> None:
        can_take = board_words.accepts_models(self.row)
        text, role = ("Drop a model to install" if can_take else board_words.refusal(self.row)), "caption"
        deployment = self._deployment
        if self._is_dragging:
            text, role = (
                ("Drop to install", "accent") if can_take else (board_words.refusal(self.row), "muted")
            )
        elif deployment is not None and deployment.state == "running":
            at = next((step.name for step in deployment.steps if step.state == "running"), "starting")
            text, role = f"Installing: {at}", "accent"
        elif deployment is not None and deployment.state == "failed":
            text, role = "Last installation failed", "bad"
        elif deployment is not None and deployment.state == "rolled-back":
            text = f"Rolled back to {deployment.active or 'the previous model'}"
            role = "warning"
        self._hint.setText(text)
        set_role(self._hint, role)

    def _open_menu(self) -> None:
        self.chosen.emit(self.row.id)
        self.menu_wanted.emit(self.row.id, self.mapToGlobal(self.rect().topRight()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select the board; the right button opens its menu."""
        self.chosen.emit(self.row.id)
        if event.button() == Qt.MouseButton.RightButton:
            self.menu_wanted.emit(self.row.id, event.globalPosition().toPoint())

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Reached by keyboard: select it."""
        super().focusInEvent(event)
        if event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason):
            self.chosen.emit(self.row.id)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return pairs or installs, the menu key opens the menu."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            (self.push_wanted if self.row.is_paired else self.pair_wanted).emit(self.row.id)
        elif event.key() == Qt.Key.Key_Menu:
            self._open_menu()
        else:
            super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take a model when the board can; say why not otherwise."""
        if dragged_model(event.mimeData()) is None:
            event.ignore()  # files go to the window, which opens them
        elif board_words.accepts_models(self.row):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            set_property(self, "drop", "hover")
        else:
            set_property(self, "drop", "refused")
            self._hint.setText(board_words.refusal(self.row))
            event.ignore()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """The whole card is the target."""
        if dragged_model(event.mimeData()) is not None and board_words.accepts_models(self.row):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """No longer over this card."""
        self.set_dragging(is_dragging=self._is_dragging)

    def dropEvent(self, event: QDropEvent) -> None:
        """Install; only after the drag's own event loop has ended."""
        sha256 = dragged_model(event.mimeData())
        if sha256 is None or not board_words.accepts_models(self.row):
            event.ignore()
            return
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.set_dragging(is_dragging=False)
        board = self.row.id
        QTimer.singleShot(0, self, lambda: self.model_dropped.emit(sha256, board))
