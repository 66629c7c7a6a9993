"""Telemetry across restarts: an SQLite file of records, bounded in age and size, replaced when it is damaged."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgestudio.wire.errors import RefusedError

SCHEMA = 1
KEEP_DAYS = 30
MAX_BYTES = 512 << 20
_PAGE = 500
T = TypeVar("T")

_TABLE = """
CREATE TABLE IF NOT EXISTS records (
  board TEXT NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
  record TEXT NOT NULL, PRIMARY KEY (board, boot, seq, kind)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON records (board, time);
"""


class History:
    """Records of all boards in one file. Every method may be called from any thread; raises RefusedError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.notice = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._open()
        except sqlite3.DatabaseError:
            self._put_aside()
            self._db = self._open()
        except OSError as error:
            raise RefusedError(f"The history {path} cannot be opened: {error.strerror}") from error

    def add(self, board: str, records: Iterable[Mapping[str, Any]]) -> int:
        """Keep records (as they travelled) of `board`; known ones are left alone. Returns how many were new."""
        rows = [
            (
                board,
                str(r.get("boot", "")),
                int(r.get("seq", 0)),
                float(r.get("t") or 0),
                str(r.get("k", "")),
                json.dumps(r),
            )
            for r in records
        ]

        def insert() -> int:
            before = self._db.total_changes
            with self._db:
                self._db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
            return self._db.total_changes - before

        return self._guarded(insert)

    def read(
        self, board: str, since_s: float = 0.0, until_s: float | None = None, kind: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Records of `board` in order of time, page by page, so that years fit into little memory."""
        end = float("inf") if until_s is None else until_s
        last = (since_s, "", -1)
        while True:
            rows = self._guarded(lambda last=last: self._page(board, last, end, kind))  # type: ignore[misc]
            for at, boot, seq, text in rows:
                last = (at, boot, seq)
                yield json.loads(text)
            if len(rows) < _PAGE:
                return

    def span(self, board: str) -> tuple[float, float] | None:
        """Times (Unix seconds) of the oldest and the newest record of `board`; None when there is none."""

        def query() -> tuple[float, float] | None:
            row = self._db.execute(
                "SELECT min(time), max(time) FROM records WHERE board = ?", (board,)
            ).fetchone()
            return None if row is None or row[0] is None else (float(row[0]), float(row[1]))

        return self._guarded(query)

    def newest(self, board: str) -> tuple[str, int] | None:
        """(boot, sequence) of the record of `board` with the highest sequence; None when there is none."""

        def query() -> tuple[str, int] | None:
            row = self._db.execute(
                "SELECT boot, seq FROM records WHERE board = ? ORDER BY seq DESC LIMIT 1", (board,)
            ).fetchone()
            return None if row is None else (str(row[0]), int(row[1]))

        return self._guarded(query)

    def prune(
        self, keep_days: float = KEEP_DAYS, max_bytes: int = MAX_BYTES, now_s: float | None = None
    ) -> int:
        """Drop what is older than `keep_days`, then the oldest tenth until the file fits; returns how many."""
        limit = (time.time() if now_s is None else now_s) - keep_days * 86_400

        def drop() -> int:
            with self._db:
                gone = self._db.execute("DELETE FROM records WHERE time < ?", (limit,)).rowcount
            while self._used_bytes() > max_bytes:
                count = self._db.execute("SELECT count(*) FROM records").fetchone()[0]
                if not count:
                    break
                with self._db:
                    cut = self._db.execute(
                        "SELECT time FROM records ORDER BY time LIMIT 1 OFFSET ?", (max(count // 10, 1) - 1,)
                    ).fetchone()[0]
                    gone += self._db.execute("DELETE FROM records WHERE time <= ?", (cut,)).rowcount
            return int(gone)

        return self._guarded(drop)

    def forget(self, board: str) -> None:
        """Drop everything of `board`."""

        def drop() -> None:
            with self._db:
                self._db.execute("DELETE FROM records WHERE board = ?", (board,))

        self._guarded(drop)

    def close(self) -> None:
        """Close the file; calling it twice is harmless."""
        with self._lock:
            self._db.close()

    def _page(self, board: str, last: tuple[float, str, int], end: float, kind: str | None) -> list[Any]:
        query = (
            "SELECT time, boot, seq, record FROM records WHERE board = ? AND (time, boot, seq) > (?, ?, ?) "
            "AND time <= ? AND (? IS NULL OR kind = ?) ORDER BY time, boot, seq LIMIT ?"
        )
        return self._db.execute(query, (board, *last, end, kind, kind, _PAGE)).fetchall()

    def _used_bytes(self) -> int:
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        size = self._db.execute("PRAGMA page_size").fetchone()[0]
        return int((pages - free) * size)

    def _guarded(self, work: Callable[[], T]) -> T:
        with self._lock:
            try:
                return work()
            except sqlite3.ProgrammingError as error:
                raise RefusedError("The history is closed.") from error
            except sqlite3.OperationalError as error:
                raise RefusedError(
                    f"The history cannot be used: {error}", hint="Is the disk full, or the folder read-only?"
                ) from error
            except sqlite3.DatabaseError as error:
                self._db.close()
                self._put_aside()
                self._db = self._open()
                raise RefusedError(f"{self.notice} ({error})") from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, timeout=5)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("damaged")
            db.executescript(_TABLE)
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _put_aside(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged-{int(time.time())}")
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self.notice = f"The history was damaged; it was put aside as {aside.name} and a new one begun."


def _key(record: Mapping[str, Any]) -> tuple[str, int, float, str]:
    """boot, seq, time and kind, as the table has them."""
    time_s = float(record.get("t") or 0)
    return str(record.get("boot", "")), int(record.get("seq", 0)), time_s, str(record.get("k", ""))
