"""What boards report, kept in rings that the dashboard reads at its own pace."""

from __future__ import annotations

from edgestudio.monitor.series import BoardSeries


class TelemetryService:
    """One series per board; `series` may be called and read from any thread."""

    def __init__(self, *, history_minutes: int = 15) -> None:
        self._history_s = history_minutes * 60.0
        self._series: dict[str, BoardSeries] = {}

    def series(self, board_id: str) -> BoardSeries:
        """The board's series, empty until it reports."""
        known = self._series.get(board_id)
        if known is None:
            known = self._series.setdefault(board_id, BoardSeries(history_s=self._history_s))
        return known

    def forget(self, board_id: str) -> None:
        """Drop what a board reported."""
        self._series.pop(board_id, None)
