"""Keeps records on disk until every paired studio has them: bounded, in order, merged when full."""

from __future__ import annotations

import bisect
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from edgestudio.agent.observe.windows import merge_windows

BUDGET_BYTES = 64 << 20
KEPT_S = 900.0
"""What everybody has stays this long all the same, for onlookers, who acknowledge nothing."""

MERGE_STEPS_S = (10.0, 60.0)
"""Windows are joined into windows of these lengths, before any is given up."""
_CHECK_EVERY = 200
_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, boot TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, bytes INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (desk TEXT PRIMARY KEY, upto INTEGER NOT NULL);
"""

Record = dict[str, Any]


class Spool:
    """One SQLite file. What is damaged is set aside under another name, and a new file is begun.

    `desks()` names the studios that are paired: what one of them has not acknowledged is kept while there is room.
    `on_trouble(name, text)` hears of damage and of records that had to be given up. Safe from any thread.
    """

    def __init__(
        self,
        path: Path,
        *,
        is_strict: bool = False,
        budget_bytes: int = BUDGET_BYTES,
        on_trouble: Callable[[str, str], None] = lambda name, text: None,
        desks: Callable[[], Collection[str]] = tuple,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._synchronous = "FULL" if is_strict else "NORMAL"
        self._budget = budget_bytes
        self._on_trouble = on_trouble
        self._desks = desks
        self._now = now
        self._lock = threading.Lock()
        self._appended = 0
        self._bytes = 0
        self._is_closed = False
        self._db = self._open()

    def append(self, record: Record) -> None:
        """Keep `record`, which has `seq`, `boot` and `k`; a full or broken disk loses it, never the caller."""
        body = json.dumps(record, separators=(",", ":"))
        row = (record["seq"], record["boot"], record["k"], self._now(), len(body), body)
        self._write(
            "INSERT OR REPLACE INTO records (seq, boot, kind, at, bytes, body) VALUES (?,?,?,?,?,?)", row
        )
        self._bytes += len(body)
        self._appended += 1
        if self._bytes > self._budget or self._appended % _CHECK_EVERY == 0:
            self.compact()

    def after(self, seq: int, limit: int) -> list[Record]:
        """Up to `limit` records above `seq`, oldest first."""
        query = "SELECT body FROM records WHERE seq > ? ORDER BY seq LIMIT ?"
        return [json.loads(body) for (body,) in self._read(query, (seq, limit))]

    def acknowledge(self, desk: str, upto: int) -> None:
        """`desk` has all up to `upto`; a lower number than before says nothing."""
        self._write(
            "INSERT INTO positions (desk, upto) VALUES (?, ?) ON CONFLICT (desk) DO UPDATE SET upto = excluded.upto"
            " WHERE excluded.upto > upto",
            (desk, upto),
        )

    def positions(self) -> dict[str, int]:
        """Up to where each paired studio has all, 0 for one that never said so."""
        said = dict(self._read("SELECT desk, upto FROM positions", ()))
        return {desk: said.get(desk, 0) for desk in self._desks()}

    def highest_position(self) -> int:
        """The highest number that anybody ever acknowledged; it is not used again."""
        rows = self._read("SELECT MAX(upto) FROM positions", ())
        return int(rows[0][0] or 0) if rows else 0

    def last_seq_of(self, boot: str) -> int:
        """The highest sequence that is kept of `boot`, 0 when none is."""
        rows = self._read("SELECT MAX(seq) FROM records WHERE boot = ?", (boot,))
        return int(rows[0][0] or 0) if rows else 0

    def last_seq(self) -> int:
        """The highest sequence that is kept, 0 when none is."""
        rows = self._read("SELECT MAX(seq) FROM records", ())
        return int(rows[0][0] or 0) if rows else 0

    def count(self) -> int:
        """How many records are kept."""
        rows = self._read("SELECT COUNT(*) FROM records", ())
        return int(rows[0][0]) if rows else 0

    def size_bytes(self) -> int:
        """Bytes of all kept records."""
        rows = self._read("SELECT COALESCE(SUM(bytes), 0) FROM records", ())
        return int(rows[0][0]) if rows else 0

    def compact(self) -> None:
        """Bring the spool back under its budget: what all have first, then merged windows, then the oldest."""
        everybody_has = min(self.positions().values(), default=0)
        self._write("DELETE FROM records WHERE seq <= ? AND at < ?", (everybody_has, self._now() - KEPT_S))
        self._bytes = self.size_bytes()
        if self._bytes <= self._budget:
            return
        self._write("DELETE FROM records WHERE seq <= ?", (everybody_has,))
        for length_s in MERGE_STEPS_S:
            if self.size_bytes() > self._budget * 0.8:
                self._merge(length_s)
        if self.size_bytes() > self._budget:
            self._give_up()
        self._bytes = self.size_bytes()

    def close(self) -> None:
        """Flush and close the file."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._is_closed = True
            self._db.close()

    # ------------------------------------------------------------------ space

    def _merge(self, length_s: float) -> None:
        """Join windows of the same model, release and boot until they are `length_s` long.

        None is joined over a place up to which a studio has all: it would count what it has a second time.
        """
        places = sorted(set(self.positions().values()))
        rows = self._read("SELECT body FROM records WHERE kind = 'win' ORDER BY seq", ())
        open_groups: dict[tuple[str, str, int, int], list[Record]] = {}
        closed: list[list[Record]] = []
        for (body,) in rows:
            window = json.loads(body)
            key = (window["boot"], window["m"], window["rel"], bisect.bisect_left(places, window["seq"]))
            group = open_groups.setdefault(key, [])
            if group and sum(float(w["dur"]) for w in group) + float(window["dur"]) > length_s * 1.05:
                closed.append(group)
                group = open_groups[key] = []
            group.append(window)
        self._replace(group for group in (*closed, *open_groups.values()) if len(group) > 1)

    def _replace(self, groups: Iterable[list[Record]]) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error), self._db:
            for group in groups:
                body = json.dumps(merge_windows(group), separators=(",", ":"))
                gone = [(window["seq"],) for window in group[:-1]]
                self._db.executemany("DELETE FROM records WHERE seq = ?", gone)
                self._db.execute(
                    "UPDATE records SET body = ?, bytes = ? WHERE seq = ?",
                    (body, len(body), group[-1]["seq"]),
                )

    def _give_up(self) -> None:
        """Nothing left to merge: the oldest windows go first, then the oldest of everything."""
        excess = self.size_bytes() - int(self._budget * 0.9)
        lost = 0
        for kind in ("win", "%"):
            rows = self._read("SELECT seq, bytes FROM records WHERE kind LIKE ? ORDER BY seq", (kind,))
            last = 0
            for seq, size in rows:
                if excess <= 0:
                    break
                excess, last, lost = excess - size, seq, lost + 1
            if last:
                self._write("DELETE FROM records WHERE kind LIKE ? AND seq <= ?", (kind, last))
        if lost:
            self._on_trouble("telemetry.lost", f"{lost} old records were given up: no studio came for them.")

    # ------------------------------------------------------------------ SQLite

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))
        try:
            return self._connect()
        except sqlite3.Error:  # a read-only or full disk: keep going in memory
            db = sqlite3.connect(":memory:", check_same_thread=False)
            db.executescript(_TABLES)
            return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, isolation_level="DEFERRED", timeout=5.0)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={self._synchronous}")
            db.execute("PRAGMA journal_size_limit=4194304")
            db.executescript(_TABLES)
            (verdict,) = db.execute("PRAGMA quick_check").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            (self._bytes,) = db.execute("SELECT COALESCE(SUM(bytes), 0) FROM records").fetchone()
            db.commit()
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: str) -> None:
        stamp = int(time.time())
        for ending in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + ending).unlink()
        with contextlib.suppress(OSError):
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged-{stamp}"))
        self._on_trouble("telemetry.damaged", f"The store {self._path.name} was damaged and set aside: {why}")

    def _write(self, query: str, values: tuple[Any, ...]) -> None:
        with self._lock:
            if self._is_closed:  # too late; a closed store is not a damaged one
                return
            try:
                with self._db:
                    self._db.execute(query, values)
            except sqlite3.OperationalError:
                return  # disk full or read-only: telemetry is lost, inference is not
            except sqlite3.DatabaseError as error:
                self._begin_again(str(error))

    def _read(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            if self._is_closed:
                return []
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.OperationalError:
                return []
            except sqlite3.DatabaseError as error:
                self._begin_again(str(error))
                return []

    def _begin_again(self, why: str) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._set_aside(why)
        self._db = self._open()
