"""The timeline of deployments: every step from preflight to commit, or back with the reason."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from edgestudio.studio.rows import DeploymentRow, TimelineStep
from edgestudio.ui import wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.card_column import CardColumn
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import ElidedLabel, IconLabel, breakable, label, set_role

STEP_LOOKS = {
    "waiting": ("waiting", "outline", "waiting"),
    "running": ("running", "accent", "running"),
    "done": ("done", "good", "done"),
    "failed": ("failed", "bad", "failed"),
    "skipped": ("skipped", "muted", "skipped"),
}
STATES = {
    "running": ("running", "accent", "Installing"),
    "committed": ("success", "good", "Committed"),
    "rolled-back": ("rollback", "warning", "Rolled back"),
    "failed": ("error", "bad", "Failed, nothing was changed"),
    "cancelled": ("cancel", "muted", "Cancelled"),
}


class StepLine(QWidget):
    """One step: icon, name, detail, how long it took."""

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 1, 0, 1)
        row.setSpacing(8)
        self._icon = IconLabel("waiting", 15, "outline")
        self._name = label("")
        self._name.setFixedWidth(76)
        self._detail = ElidedLabel("", "muted")
        self._took = label("", "caption")
        row.addWidget(self._icon)
        row.addWidget(self._name)
        row.addWidget(self._detail, 1)
        row.addWidget(self._took)

    def show_step(self, step: TimelineStep, now: float) -> None:
        """Show the step as it is."""
        icon, role, word = STEP_LOOKS[step.state]
        self._icon.show_icon(icon, role, word)
        self._name.setText(step.name.capitalize())
        set_role(self._name, "muted" if step.state in ("waiting", "skipped") else "")
        self._detail.setText(step.detail)
        set_role(self._detail, "bad" if step.state == "failed" else "muted")
        if step.started is None:
            self._took.setText("")
        else:
            self._took.setText(wording.duration((step.ended or now) - step.started))
        self.setAccessibleName(f"{step.name}: {word}. {step.detail}")


class DeploymentCard(QFrame):
    """One deployment with its steps."""

    def __init__(self, row: DeploymentRow, desk: Desk) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self.setObjectName(f"deployment-{row.id}")
        self._desk, self._row = desk, row
        self._lines: list[StepLine] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(12, 8, 12, 8)
        self._column.setSpacing(2)
        head = QHBoxLayout()
        head.setSpacing(8)
        self._icon = IconLabel("running", 18, "accent")
        self._title = ElidedLabel("", "heading")
        self._state = label("")
        self._state.setObjectName("deployment-state")
        self._cancel = Button("Cancel", "deployment-cancel", kind="quiet", run=self._give_up)
        head.addWidget(self._icon)
        head.addWidget(self._title, 1)
        head.addWidget(self._state)
        head.addWidget(self._cancel)
        self._column.addLayout(head)
        self._steps = QVBoxLayout()
        self._steps.setSpacing(0)
        self._column.addLayout(self._steps)
        self._reason = label("", "bad", wraps=True, name="deployment-reason")
        self._column.addWidget(self._reason)
        self.show_row(row)

    @property
    def is_running(self) -> bool:
        """True while the deployment goes on."""
        return self._row.state == "running"

    def show_row(self, row: DeploymentRow) -> None:
        """Show the deployment as it is."""
        self._row = row
        icon, role, word = STATES[row.state]
        self._icon.show_icon(icon, role, word)
        self._title.setText(row.title)
        took = wording.duration((row.ended or time.time()) - row.started) if row.started else ""
        self._state.setText(f"{word} · {took}" if took else word)
        set_role(self._state, role)
        self._cancel.setVisible(row.state == "running")
        while len(self._lines) < len(row.steps):
            line = StepLine()
            self._lines.append(line)
            self._steps.addWidget(line)
        now = time.time()
        for line, step in zip(self._lines, row.steps, strict=False):
            line.show_step(step, now)
        words = [_sentence(row.reason), row.hint]
        if row.state == "rolled-back" and row.active:
            before = f", in place of {row.previous}" if row.previous else ""
            words.insert(0, f"{row.active} is active again{before}.")
        if row.state == "committed" and row.active:
            words = [
                f"The board now runs {row.active}"
                + (f" in place of {row.previous}." if row.previous else ".")
            ]
        self._reason.setText(breakable(" ".join(word for word in words if word)))
        set_role(self._reason, "muted" if row.state in ("committed", "running") else role)
        self._reason.setVisible(bool(self._reason.text()))
        self.setAccessibleName(f"{row.title}: {word}. {row.reason}")

    def tick(self) -> None:
        """Let the running times run."""
        self.show_row(self._row)

    def _give_up(self) -> None:
        self._desk.run("deployment.cancel", deployment=self._row.id)


def _sentence(text: str) -> str:
    """With a capital and a full stop, as a sentence of its own."""
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?…' else '.'}"


class TimelinePanel(QWidget):
    """Newest deployment first."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("timeline-panel")
        self._desk = desk
        self._column: CardColumn[DeploymentCard] = CardColumn(
            EmptyState(
                "push",
                "Nothing installed from here yet",
                "Drag a model from the Library onto a board. Each step appears here, and a failed one says why.",
            )
        )
        self.cards = self._column.cards
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._column)
        self._clock = QTimer(self)
        self._clock.setInterval(200)
        self._clock.timeout.connect(self._tick)
        store = desk.stores.deployments
        store.added.connect(self._put)
        store.changed.connect(self._put)
        store.removed.connect(lambda row: self._column.take(row.id))
        for row in store.rows():
            self._put(row)

    def _put(self, row: DeploymentRow) -> None:
        card = self.cards.get(row.id)
        if card is None:
            card = DeploymentCard(row, self._desk)
            self._column.add(row.id, card)
        else:
            card.show_row(row)
        if card.is_running and not self._clock.isActive():
            self._clock.start()

    def _tick(self) -> None:
        running = [card for card in self.cards.values() if card.is_running]
        for card in running:
            card.tick()
        if not running:
            self._clock.stop()
