"""Alerts of the boards as notices: one when something goes wrong, one when it is over."""

from __future__ import annotations

from collections.abc import Callable

from edgestudio.monitor.alerts import AlertBook, Change, Limits
from edgestudio.monitor.series import BoardSeries
from edgestudio.studio.notices import NoticeService

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

    def forget(self, board: str) -> None:
        """A board is no longer here."""
        self._books.pop(board, None)
