"""The line at the window's foot: the tray's switches, then models, boards, jobs in words."""

from __future__ import annotations

from PySide6.QtWidgets import QStatusBar, QWidget

from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.text import label


class StatusLine(QStatusBar):
    """Counts what the stores hold."""

    def __init__(self, desk: Desk, switches: QWidget) -> None:
        super().__init__()
        self.setObjectName("status-line")
        self.setSizeGripEnabled(False)
        self._desk = desk
        self.addWidget(switches)
        self._words = label("")
        self._words.setObjectName("status-words")
        self.addPermanentWidget(self._words)
        stores = desk.stores
        for store in (stores.models, stores.boards, stores.jobs):
            for signal in (store.added, store.changed, store.removed):
                signal.connect(self._count)
        self._count(None)

    def _count(self, row: object) -> None:
        stores = self._desk.stores
        boards = stores.boards.rows()
        online = sum(board.presence == "online" for board in boards)
        running = sum(not job.is_over for job in stores.jobs.rows())
        self._words.setText(
            "   ·   ".join(
                (
                    _things(len(stores.models), "model"),
                    f"{_things(len(boards), 'board')}, {online} online",
                    f"{_things(running, 'job')} running" if running else "no job running",
                )
            )
        )


def _things(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
