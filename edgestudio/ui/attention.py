"""What comes forward by itself: an opened model, a new variant, an installation, a board that now runs it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from edgestudio.studio.rows import DeploymentRow, JobRow, ModelRow, NoticeRow, ReportRow
from edgestudio.ui.desk import Desk


class Attention(QObject):
    """Listens from `begin` on; what the stores are filled with before that is old news.

    `peek` brings a dock forward without taking the focus, `turn_to` shows a tab of the centre,
    `count` sets the number on a dock's title.
    """

    def __init__(
        self,
        desk: Desk,
        peek: Callable[[str], object],
        turn_to: Callable[[str], object],
        count: Callable[[str, int], object],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._desk, self._peek, self._turn_to, self._count = desk, peek, turn_to, count
        self._committed: set[str] = set()
        self._brought, self._before = "", ""
        stores = desk.stores
        for signal in (stores.jobs.added, stores.jobs.changed, stores.jobs.removed):
            signal.connect(self._jobs)
        stores.notices.added.connect(self._noticed)
        stores.notices.removed.connect(self._notices)

    def begin(self) -> None:
        """From now on, what happens is news."""
        stores = self._desk.stores
        stores.models.added.connect(self._model)
        stores.models.removed.connect(self._model_gone)
        stores.deployments.added.connect(self._deployment)
        stores.deployments.changed.connect(self._deployment)
        stores.reports.added.connect(self._report)
        stores.reports.changed.connect(self._report)

    def _model(self, row: ModelRow) -> None:
        if row.is_from_elsewhere:  # somebody works elsewhere, and the user of this window here
            return
        self._brought, self._before = row.sha256, self._desk.selected.model or ""
        self._desk.selected.select_model(row.sha256)
        self._turn_to("results" if row.parent and row.after else "graph")

    def _model_gone(self, row: ModelRow) -> None:
        """What came forward and could not be read after all leaves the selection as it was."""
        if row.sha256 == self._brought and self._desk.selected.model in (None, row.sha256):
            if self._desk.stores.models.get(self._before) is not None:
                self._desk.selected.select_model(self._before)
            self._brought = ""

    def _deployment(self, row: DeploymentRow) -> None:
        rows = self._desk.stores.deployments.rows()
        self._count("timeline", sum(each.state == "running" for each in rows))
        if row.state == "running" and row.id not in self._committed:
            self._committed.add(row.id)
            self._peek("timeline")
        elif row.state == "committed" and row.id in self._committed:
            self._committed.discard(row.id)
            self._desk.selected.select_boards(row.board)
            # The timeline's last step is seen before the dashboard comes.
            QTimer.singleShot(700, self, lambda: self._turn_to("dashboard"))

    def _report(self, row: ReportRow) -> None:
        self._turn_to("reports")

    def _jobs(self, row: JobRow) -> None:
        self._count("jobs", sum(not job.is_over for job in self._desk.stores.jobs.rows()))

    def _noticed(self, row: NoticeRow) -> None:
        self._notices(row)
        if row.level in ("error", "warning"):
            self._peek("notices")

    def _notices(self, row: NoticeRow) -> None:
        self._count("notices", len(self._desk.stores.notices))
