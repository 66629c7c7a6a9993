"""What boards report, kept in rings that the dashboard reads at its own pace."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgestudio.monitor.export import write_csv
from edgestudio.monitor.history import History
from edgestudio.monitor.series import BoardSeries
from edgestudio.studio.boards.recording import Recorder
from edgestudio.studio.boards.watching import AlertService
from edgestudio.wire.errors import EdgeStudioError, InputError
from edgestudio.wire.files import write_atomically
from edgestudio.wire.records import KIND_EVENT, KIND_WINDOW, Event, Window, kind_of

_log = logging.getLogger(__name__)


class TelemetryService:
    """One series per board; `series` may be called and read from any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        history_minutes: int = 15,
        history: Path | None = None,
        alerts: AlertService | None = None,
    ) -> None:
        self._folder = folder
        self._history_s = history_minutes * 60.0
        self._series: dict[str, BoardSeries] = {}
        self._history_path = history
        self._history: History | None = None
        self._opening = threading.Lock()
        self._is_stopped = False
        self._recorder = Recorder(self.history) if history else None
        self._alerts = alerts

    def history(self) -> History | None:
        """The file of what was reported, opened on first use; None where there is none, or it cannot be used.

        Nor is it opened after `stop`: a thread may come as late as that, since cancelling its caller does not end it.
        """
        with self._opening:
            if self._history is None and self._history_path is not None and not self._is_stopped:
                try:
                    self._history = History(self._history_path)
                except EdgeStudioError as error:
                    self._history_path = None
                    _log.warning("%s", error.message)
            return self._history

    def series(self, board_id: str) -> BoardSeries:
        """The board's series, empty until it reports."""
        known = self._series.get(board_id)
        if known is None:
            known = self._series.setdefault(board_id, self._begin(board_id))
        return known

    def preload(self, board_ids: Iterable[str]) -> None:
        """Load what boards reported before this start; reads files: call it in a thread."""
        for board_id in board_ids:
            self.series(board_id)

    def newest(self, board_id: str) -> tuple[str, int] | None:
        """(boot, sequence) of the newest record that is kept of a board; reads a file: call it in a thread."""
        history = self.history()
        try:
            return history.newest(board_id) if history is not None else None
        except EdgeStudioError as error:
            _log.warning("the history of %s cannot be read: %s", board_id[:12], error.message)
            return None

    def take(self, board_id: str, record: Mapping[str, Any], *, is_late: bool = False) -> None:
        """Add one record as it travelled; what cannot be read is logged and left out, a known one left out.

        `is_late` marks what a board reported while nobody listened: it is kept, but no alert comes of it.
        """
        series = self.series(board_id)
        if not self._add(board_id, series, record):
            return
        if self._recorder is not None:
            self._recorder.take(board_id, record)
        if is_late:
            return
        if self._alerts is not None and kind_of(record) == KIND_WINDOW:
            self._alerts.look(board_id, series)
        elif self._alerts is not None and kind_of(record) == KIND_EVENT:
            self._alerts.hear(board_id, record)

    def presence(self, board_id: str, presence: str, problem: EdgeStudioError | None) -> None:
        """Say in the series why nothing arrives."""
        if presence == "offline":
            series = self.series(board_id)
            series.mark_gap(problem.message if problem else "the board is offline")
            if self._alerts is not None:
                self._alerts.look(board_id, series)

    async def export(self, board_id: str, path: Path, span_s: float | None = None) -> int:
        """Write what a board reported in the last `span_s` seconds as CSV; returns the number of rows.

        Without a span that is what the dashboard has; a longer one is read from the history. Raises InputError
        when there is nothing, or `path` cannot be written.
        """
        return await asyncio.to_thread(self._export, board_id, path.absolute(), span_s)

    async def stop(self) -> None:
        """Write down what was reported and close the history."""
        if self._recorder is not None:
            await self._recorder.stop()
        await asyncio.to_thread(self._close)

    def set_baseline(self, board_id: str, model: str, baseline: Mapping[str, Any]) -> None:
        """What the confidence of a model on a board is compared with; remembered for the next start."""
        try:
            self.series(board_id).set_baseline(model, baseline)
            write_atomically(self._file(board_id, model), json.dumps(baseline))
        except (EdgeStudioError, OSError) as error:
            _log.warning("no baseline for %s on %s: %s", model, board_id[:12], error)

    def forget(self, board_id: str) -> None:
        """Drop what a board reported; the history keeps it until it is too old."""
        self._series.pop(board_id, None)
        if self._alerts is not None:
            self._alerts.forget(board_id)

    def _close(self) -> None:
        with self._opening:
            self._is_stopped = True
            if self._history is not None:
                self._history.close()

    def _add(self, board_id: str, series: BoardSeries, record: Mapping[str, Any]) -> bool:
        try:
            kind = kind_of(record)
            if kind == KIND_WINDOW:
                return series.add_window(Window.from_dict(record))
            if kind == KIND_EVENT:
                return series.add_event(Event.from_dict(record))
        except EdgeStudioError as error:
            _log.warning("a record of %s cannot be read: %s", board_id[:12], error.message)
            return False
        return True

    def _export(self, board_id: str, path: Path, span_s: float | None) -> int:
        series = self.series(board_id)
        if span_s is not None and span_s > self._history_s:
            series = BoardSeries(history_s=span_s)
            self._read_history(board_id, series, span_s)
        snapshot = series.snapshot(span_s)
        if not len(snapshot.time):
            raise InputError(
                "This board has reported nothing in that time.",
                hint="Deploy a model to it, or choose a longer time.",
                code="no-telemetry",
            )
        return write_csv(snapshot, path, self._alerts.name_of(board_id) if self._alerts else board_id)

    def _read_history(self, board_id: str, series: BoardSeries, span_s: float) -> None:
        history = self.history()
        if history is None:
            return
        try:
            found = False
            for record in history.read(board_id, since_s=time.time() - span_s):
                found = self._add(board_id, series, record) or found
            if found:
                series.mark_gap("the studio was closed")
        except EdgeStudioError as error:
            _log.warning("the history of %s cannot be read: %s", board_id[:12], error.message)

    def _begin(self, board_id: str) -> BoardSeries:
        series = BoardSeries(history_s=self._history_s)
        self._read_history(board_id, series, self._history_s)
        folder = self._folder / board_id
        for file in folder.glob("*.json") if folder.is_dir() else ():
            try:
                series.set_baseline(file.stem, json.loads(file.read_text(encoding="utf-8")))
            except (EdgeStudioError, OSError, ValueError) as error:
                _log.warning("%s cannot be read: %s", file, error)
        return series

    def _file(self, board_id: str, model: str) -> Path:
        return self._folder / board_id / f"{model}.json"
