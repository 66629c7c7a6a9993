"""What boards report, kept in rings that the dashboard reads at its own pace."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.monitor.series import BoardSeries
from edgestudio.studio.files import write_atomically
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.records import KIND_EVENT, KIND_WINDOW, Event, Window, kind_of

_log = logging.getLogger(__name__)


class TelemetryService:
    """One series per board; `series` may be called and read from any thread."""

    def __init__(self, folder: Path, *, history_minutes: int = 15) -> None:
        self._folder = folder
        self._history_s = history_minutes * 60.0
        self._series: dict[str, BoardSeries] = {}

    def series(self, board_id: str) -> BoardSeries:
        """The board's series, empty until it reports."""
        known = self._series.get(board_id)
        if known is None:
            known = self._series.setdefault(board_id, self._begin(board_id))
        return known

    def take(self, board_id: str, record: Mapping[str, Any]) -> None:
        """Add one record as it travelled; what cannot be read is logged and left out."""
        try:
            kind = kind_of(record)
            if kind == KIND_WINDOW:
                self.series(board_id).add_window(Window.from_dict(record))
            elif kind == KIND_EVENT:
                self.series(board_id).add_event(Event.from_dict(record))
        except EdgeStudioError as error:
            _log.warning("a record of %s cannot be read: %s", board_id[:12], error.message)

    def presence(self, board_id: str, presence: str, problem: EdgeStudioError | None) -> None:
        """Say in the series why nothing arrives."""
        if presence == "offline":
            self.series(board_id).mark_gap(problem.message if problem else "the board is offline")

    def set_baseline(self, board_id: str, model: str, baseline: Mapping[str, Any]) -> None:
        """What the confidence of a model on a board is compared with; remembered for the next start."""
        try:
            self.series(board_id).set_baseline(model, baseline)
            write_atomically(self._file(board_id, model), json.dumps(baseline))
        except (EdgeStudioError, OSError) as error:
            _log.warning("no baseline for %s on %s: %s", model, board_id[:12], error)

    def forget(self, board_id: str) -> None:
        """Drop what a board reported."""
        self._series.pop(board_id, None)

    def _begin(self, board_id: str) -> BoardSeries:
        series = BoardSeries(history_s=self._history_s)
        folder = self._folder / board_id
        for file in folder.glob("*.json") if folder.is_dir() else ():
            try:
                series.set_baseline(file.stem, json.loads(file.read_text(encoding="utf-8")))
            except (EdgeStudioError, OSError, ValueError) as error:
                _log.warning("%s cannot be read: %s", file, error)
        return series

    def _file(self, board_id: str, model: str) -> Path:
        return self._folder / board_id / f"{model}.json"
