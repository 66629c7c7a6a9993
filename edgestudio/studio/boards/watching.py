"""Alerts of the boards as notices: one when something goes wrong, one when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgestudio.monitor.alerts import AlertBook, Change, Limits
from edgestudio.monitor.series import BoardSeries
from edgestudio.studio.notices import NoticeService
from edgestudio.wire.fields import clean_text

# What a board says once and a dashboard would not show: what to do next.
_TOLD = {
    "placement.fallback": "A driver or an operator is missing; the board's information lists where each node runs.",
    "model.creep": "Push another release, or go back to the one before.",
    "model.making_room": "It serves again when the dry run is over.",
    "peer.reset": "If that was not meant, look at who was at the board.",
}
# Enough to judge the newest windows by; the dashboard has the rest.
_SPAN_S = 60.0


class AlertService:
    """One book of alerts for each board; `name_of` says what a board is called."""

    def __init__(self, notices: NoticeService, limits: Limits | None = None) -> None:
        self._notices = notices
        self._limits = limits or Limits()
        self._books: dict[str, AlertBook] = {}
        self.name_of: Callable[[str], str] = lambda board: board[:12]

    def look(self, board: str, series: BoardSeries) -> list[Change]:
        """Judge what a board reported last; what changed is said in notices and returned."""
        book = self._books.setdefault(board, AlertBook(self._limits))
        changes = book.update(series.snapshot(_SPAN_S))
        for change in changes:
            alert, name = change.alert, self.name_of(board)
            if change.is_over:
                self._notices.add("success", f"{name}: over: {alert.text}")
            else:
                self._notices.add(alert.severity, f"{name}: {alert.text}", hint=alert.remedy)
        return changes

    def hear(self, board: str, record: Mapping[str, Any]) -> None:
        """Pass on what a board tells once and that somebody should see."""
        hint = _TOLD.get(str(record.get("name")))
        if hint is not None:
            text = clean_text(str(record.get("text", "")), 300)
            self._notices.add("warning", f"{self.name_of(board)}: {text}", hint=hint)

    def forget(self, board: str) -> None:
        """A board is no longer here."""
        self._books.pop(board, None)
