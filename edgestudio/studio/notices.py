"""What the user should know: notices, with errors turned into sentences and bugs into log entries."""

from __future__ import annotations

import logging
import time
import traceback
import uuid

from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.rows import NoticeLevel, NoticeRow
from edgestudio.wire.errors import EdgeStudioError

_KEPT = 200
_log = logging.getLogger(__name__)


class NoticeService:
    """Adds and dismisses notices; the newest 200 are kept."""

    def __init__(self, bus: EventBus) -> None:
        self.rows: Ledger[NoticeRow] = Ledger(bus, "notices")

    def add(self, level: NoticeLevel, message: str, *, hint: str = "", details: str = "") -> NoticeRow:
        """Tell the user something."""
        row = NoticeRow(uuid.uuid4().hex[:12], level, message, hint, details, time.time())
        self.rows.put(row)
        for stale in list(self.rows)[:-_KEPT]:
            self.rows.remove(stale.id)
        return row

    def report(self, error: BaseException) -> NoticeRow:
        """Tell the user about a failure: its own words, or that it is a bug."""
        if isinstance(error, EdgeStudioError):
            return self.add("error", error.sentence, hint=error.hint, details=error.details)
        _log.error("unexpected failure", exc_info=error)
        return self.add(
            "error",
            f"This is a bug: {type(error).__name__}: {error}",
            hint="Nothing was changed by it as far as we know. Please report it with the details below.",
            details="".join(traceback.format_exception(error)),
        )

    def dismiss(self, notice_id: str) -> None:
        """Take one notice away."""
        self.rows.remove(notice_id)

    def clear(self) -> None:
        """Take all notices away."""
        for row in self.rows:
            self.rows.remove(row.id)
