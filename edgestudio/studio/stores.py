"""What the panels show: rows by key, written on the UI thread only, with a signal for each change."""

from __future__ import annotations

from typing import Any, Generic, cast

from psygnal import Signal

from edgestudio.studio.bus import R, RowEvent, key_of
from edgestudio.studio.rows import BoardRow, DeploymentRow, JobRow, ModelRow, NoticeRow, ReportRow


class Store(Generic[R]):
    """Rows of one kind in the order of their arrival; each signal carries the whole row."""

    added = Signal(object)
    changed = Signal(object)
    removed = Signal(object)

    def __init__(self) -> None:
        self._rows: dict[str, R] = {}

    def apply(self, event: RowEvent) -> None:
        """Take over one event; late or repeated ones settle on the right state."""
        row = cast("R", event.row)
        key = key_of(row)
        if event.action == "removed":
            known = self._rows.pop(key, None)
            if known is not None:
                self.removed.emit(row)
            return
        is_new = key not in self._rows
        self._rows[key] = row
        (self.added if is_new else self.changed).emit(row)

    def rows(self) -> list[R]:
        """All rows, oldest first."""
        return list(self._rows.values())

    def get(self, key: str | None) -> R | None:
        """The row with this key, or None."""
        return None if key is None else self._rows.get(key)

    def __len__(self) -> int:
        return len(self._rows)


class Stores:
    """One store for each kind of row."""

    def __init__(self) -> None:
        self.models: Store[ModelRow] = Store()
        self.jobs: Store[JobRow] = Store()
        self.boards: Store[BoardRow] = Store()
        self.deployments: Store[DeploymentRow] = Store()
        self.notices: Store[NoticeRow] = Store()
        self.reports: Store[ReportRow] = Store()

    def apply(self, event: RowEvent) -> None:
        """Route one event to its store; call it on the UI thread."""
        store: Store[Any] = getattr(self, event.store)
        store.apply(event)
