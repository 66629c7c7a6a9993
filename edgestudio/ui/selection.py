"""What the user has selected: commands act on it, panels show it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from edgestudio.studio.commands.commands import Selection
from edgestudio.studio.stores import Stores


class Selected(QObject):
    """Keys of the selected model, boards and job; each change is announced once."""

    model_changed = Signal()
    boards_changed = Signal()
    job_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._models: tuple[str, ...] = ()
        self._boards: tuple[str, ...] = ()
        self._job: str | None = None

    @property
    def model(self) -> str | None:
        """SHA-256 of the selected model."""
        return self._model

    @property
    def models(self) -> tuple[str, ...]:
        """SHA-256 of every selected model, the current one first."""
        return self._models

    @property
    def boards(self) -> tuple[str, ...]:
        """Ids of the selected boards."""
        return self._boards

    @property
    def board(self) -> str | None:
        """Id of the first selected board."""
        return self._boards[0] if self._boards else None

    @property
    def job(self) -> str | None:
        """Id of the selected job."""
        return self._job

    def rows(self, stores: Stores) -> Selection:
        """The selected rows as they are now; what is gone meanwhile is left out."""
        boards = (stores.boards.get(key) for key in self._boards)
        return Selection(
            stores.models.get(self._model),
            tuple(row for row in boards if row is not None),
            stores.jobs.get(self._job),
        )

    def select_model(self, sha256: str | None = None, *others: str) -> None:
        """Select a model, and with it others to compare."""
        models = (sha256, *others) if sha256 else ()
        if models != self._models:
            self._model, self._models = sha256, models
            self.model_changed.emit()

    def select_boards(self, *ids: str) -> None:
        """Select boards."""
        if ids != self._boards:
            self._boards = ids
            self.boards_changed.emit()

    def select_job(self, job_id: str | None) -> None:
        """Select a job."""
        if job_id != self._job:
            self._job = job_id
            self.job_changed.emit()
