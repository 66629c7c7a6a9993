"""The rows of the jobs as a Qt item model, newest first, with times that run while a job does."""

from __future__ import annotations

import time

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from edgestudio.studio.rows import JobRow
from edgestudio.studio.stores import Store
from edgestudio.ui import icons, theme, wording

COLUMNS = ("Job", "State", "Time")
ROW_ROLE = Qt.ItemDataRole.UserRole + 1
PROGRESS_COLUMN = 1
STATES = {
    "queued": ("queued", "muted", "Queued"),
    "running": ("running", "accent", "Running"),
    "done": ("done", "good", "Done"),
    "failed": ("failed", "bad", "Failed"),
    "crashed": ("error", "bad", "Crashed"),
    "cancelled": ("cancel", "muted", "Cancelled"),
}
Index = QModelIndex | QPersistentModelIndex


def remaining_s(row: JobRow, now: float) -> float | None:
    """How long a running job will still take, by its pace so far; None when that would be a guess."""
    if row.state != "running" or row.started is None or not row.fraction or row.fraction < 0.05:
        return None
    return (now - row.started) * (1 - row.fraction) / row.fraction


def times(row: JobRow, now: float) -> str:
    """How long the job has taken, and will take."""
    if row.started is None:
        return wording.DASH
    taken = wording.duration((row.ended or now) - row.started)
    left = remaining_s(row, now)
    return f"{taken} · {wording.duration(round(left))} left" if left is not None and left >= 1 else taken


class JobsModel(QAbstractTableModel):
    """Follows the store of jobs."""

    def __init__(self, store: Store[JobRow]) -> None:
        super().__init__()
        self._rows: list[JobRow] = list(reversed(store.rows()))
        store.added.connect(self._add)
        store.changed.connect(self._change)
        store.removed.connect(self._remove)
        theme.changed.connect(self._repaint)

    def rowCount(self, parent: Index | None = None) -> int:
        """How many jobs."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index | None = None) -> int:
        """How many columns."""
        return len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """The columns' names."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """The row itself for delegates, texts and icons for everyone else."""
        row = self._rows[index.row()]
        icon, color, word = STATES[row.state]
        if role == ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.DisplayRole:
            more = row.phase if not row.is_over else "" if row.state == "done" else row.message
            return (row.title, f"{word}: {more}" if more else word, times(row, time.time()))[index.column()]
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 1:
            return icons.icon(icon, color)
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 1:
            return theme.palette().color(color)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{row.title}\n{row.message} {row.hint}".strip()
        return None

    def has_running(self) -> bool:
        """True while any job runs."""
        return any(row.state == "running" for row in self._rows)

    def tick(self) -> None:
        """Repaint the times."""
        if self._rows:
            self.dataChanged.emit(self.index(0, 1), self.index(len(self._rows) - 1, 2))

    def at(self, job_id: str) -> QModelIndex:
        """Where a job is; an invalid index when it is gone."""
        number = self._number(job_id)
        return QModelIndex() if number is None else self.index(number, 0)

    def _add(self, row: JobRow) -> None:
        self.beginInsertRows(QModelIndex(), 0, 0)
        self._rows.insert(0, row)
        self.endInsertRows()

    def _change(self, row: JobRow) -> None:
        number = self._number(row.id)
        if number is not None:
            self._rows[number] = row
            self.dataChanged.emit(self.index(number, 0), self.index(number, len(COLUMNS) - 1))

    def _remove(self, row: JobRow) -> None:
        number = self._number(row.id)
        if number is not None:
            self.beginRemoveRows(QModelIndex(), number, number)
            del self._rows[number]
            self.endRemoveRows()

    def _number(self, job_id: str) -> int | None:
        return next((at for at, row in enumerate(self._rows) if row.id == job_id), None)

    def _repaint(self) -> None:
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, len(COLUMNS) - 1))
