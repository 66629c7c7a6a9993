"""Carries row events from the services to whoever listens: the window's bridge, a verb, a test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from edgestudio.studio.rows import BoardRow, DeploymentRow, JobRow, ModelRow, NoticeRow, ReportRow

StoreName = Literal["models", "jobs", "boards", "deployments", "notices", "reports"]
Action = Literal["added", "changed", "removed"]
AnyRow = ModelRow | JobRow | BoardRow | DeploymentRow | NoticeRow | ReportRow
Listener = Callable[["RowEvent"], None]
R = TypeVar("R", ModelRow, JobRow, BoardRow, DeploymentRow, NoticeRow, ReportRow)

_log = logging.getLogger(__name__)


def key_of(row: AnyRow) -> str:
    """The stable identity of a row: the content's hash for a model, the id for everything else."""
    return row.sha256 if isinstance(row, ModelRow) else row.id


@dataclass(frozen=True, slots=True)
class RowEvent:
    """One row of one store was added, changed or removed; `row` is always the whole row."""

    store: StoreName
    action: Action
    row: AnyRow


class EventBus:
    """Hands each event to every listener, in order, on the thread that publishes (the loop thread)."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def publish(self, event: RowEvent) -> None:
        """Tell every listener; one that raises is logged and does not stop the others."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001  a broken panel must not break the service that reports to it
                _log.exception("a listener failed on %s %s", event.store, event.action)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every event from now on, on the loop thread; returns how to unsubscribe."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe


class Ledger(Generic[R]):
    """A service's own rows: what changes here is published, what is the same is not said twice."""

    def __init__(self, bus: EventBus, store: StoreName) -> None:
        self._bus = bus
        self._store: StoreName = store
        self._rows: dict[str, R] = {}

    def put(self, row: R) -> R:
        """Add or replace the row with this key."""
        key = key_of(row)
        known = self._rows.get(key)
        if known == row:
            return row
        self._rows[key] = row
        self._bus.publish(RowEvent(self._store, "added" if known is None else "changed", row))
        return row

    def change(self, key: str, **fields: Any) -> R | None:
        """Replace fields of a known row; None when the row is gone meanwhile."""
        row = self._rows.get(key)
        return None if row is None else self.put(replace(row, **fields))

    def remove(self, key: str) -> R | None:
        """Take the row out; None when it was not there."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._bus.publish(RowEvent(self._store, "removed", row))
        return row

    def get(self, key: str) -> R | None:
        """The row with this key, or None."""
        return self._rows.get(key)

    def __iter__(self) -> Iterator[R]:
        return iter(tuple(self._rows.values()))

    def __len__(self) -> int:
        return len(self._rows)
