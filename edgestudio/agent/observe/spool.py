"""Keeps records on disk until every paired studio has them: bounded, in order, merged when full."""

from __future__ import annotations

import bisect
import contextlib
import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from edgestudio.agent.observe.windows import merge_windows

BUDGET_BYTES = 64 << 20
KEPT_S = 900.0
"""What everybody has stays this long all the same, for onlookers, who acknowledge nothing."""

MERGE_STEPS_S = (10.0, 60.0)
"""Windows are joined into windows of these lengths, before any is given up."""
BEGIN_AT = 0.95
ROWS_PER_RECORD = 64
"""How far making room gets with each record that comes: all at once, a full store takes many seconds, in which the
board answers nobody."""

_PAGE = 32
_CHECK_EVERY = 200
_SIZE_OF = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM records WHERE kind LIKE ? AND seq <= ? AND at <= ?"
_DELETE = "DELETE FROM records WHERE kind LIKE ? AND seq <= ? AND at <= ?"
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
        self._compacting: Iterator[int] | None = None
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
        if self._appended % _CHECK_EVERY == 0:
            self._drop_what_all_have(KEPT_S)
        if self._compacting is None and self._bytes > self._budget * BEGIN_AT:
            self._compacting = self._compact()
        if self._compacting is not None:
            self._go_on(ROWS_PER_RECORD)

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
        """Bring the spool back under its budget, all at once."""
        self._drop_what_all_have(KEPT_S)
        if self._bytes > self._budget:
            self._compacting = self._compact()
            self._go_on(None)

    def close(self) -> None:
        """Flush and close the file."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._is_closed = True
            self._db.close()

    # ------------------------------------------------------------------ space

    def _go_on(self, rows: int | None) -> None:
        """Make room for as long as it takes to go through `rows` of what is kept; None: until it is done."""
        for done in self._compacting or ():
            if rows is not None and (rows := rows - done) <= 0:
                return
        self._compacting = None

    def _compact(self) -> Iterator[int]:
        """What all have goes first, then windows are merged, then the oldest go; says how many rows each bit took."""
        self._drop_what_all_have(0.0)
        for length_s in MERGE_STEPS_S:
            if self._bytes > self._budget * 0.8:
                yield from self._merge(length_s)
        if self._bytes > self._budget * BEGIN_AT:
            self._give_up()

    def _drop_what_all_have(self, kept_s: float) -> None:
        everybody_has = min(self._held_up_by().values(), default=0)
        if everybody_has:
            self._drop("%", everybody_has, self._now() - kept_s)

    def _held_up_by(self) -> dict[str, int]:
        """Positions of the studios that ever acknowledged anything; of all while none did.

        An onlooker that never does would have everything kept, and merged, until the store is full.
        """
        positions = self.positions()
        return {desk: upto for desk, upto in positions.items() if upto} or positions

    def _drop(self, kind: str, upto: int, before: float) -> int:
        """Delete the records of `kind` up to a sequence that were kept before a time; how many."""
        which = (kind, upto, before)
        for count, size in self._read(_SIZE_OF, which):
            self._write(_DELETE, which)
            self._bytes -= size
            return int(count)
        return 0

    def _merge(self, length_s: float) -> Iterator[int]:
        """Join windows of the same model, release and boot until they are `length_s` long; yields after every page."""
        groups: dict[tuple[str, str, int], list[Record]] = {}
        query = "SELECT seq, body FROM records WHERE kind = 'win' AND seq > ? ORDER BY seq LIMIT ?"
        last = 0
        while page := self._read(query, (last, _PAGE)):
            last, closed = page[-1][0], []
            for _, body in page:
                window = json.loads(body)
                group = groups.setdefault((window["boot"], window["m"], window["rel"]), [])
                if group and sum(float(w["dur"]) for w in group) + float(window["dur"]) > length_s * 1.05:
                    closed.append(list(group))
                    group.clear()
                group.append(window)
            self._replace(closed)
            yield len(page)
        self._replace(list(groups.values()))

    def _replace(self, groups: list[list[Record]]) -> None:
        places = sorted(set(self.positions().values()))
        joined = [part for group in groups for part in _split(group, places) if len(part) > 1]
        with self._lock, contextlib.suppress(sqlite3.Error), self._db:
            for part in joined:
                body = json.dumps(merge_windows(part), separators=(",", ":"))
                gone = [(window["seq"],) for window in part]
                sizes = [
                    self._db.execute("SELECT bytes FROM records WHERE seq = ?", seq).fetchone()
                    for seq in gone
                ]
                self._db.executemany("DELETE FROM records WHERE seq = ?", gone[:-1])
                self._db.execute(
                    "UPDATE records SET body = ?, bytes = ? WHERE seq = ?", (body, len(body), *gone[-1])
                )
                self._bytes += len(body) - sum(size for (size,) in filter(None, sizes))

    def _give_up(self) -> None:
        """Nothing left to merge: the oldest windows go first, then the oldest of everything."""
        lost = 0
        for kind in ("win", "%"):
            excess, last = self._bytes - int(self._budget * 0.9), 0
            for seq, size in self._read(
                "SELECT seq, bytes FROM records WHERE kind LIKE ? ORDER BY seq", (kind,)
            ):
                if excess <= 0:
                    break
                excess, last = excess - size, seq
            if last:
                lost += self._drop(kind, last, math.inf)
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


def _split(group: list[Record], places: list[int]) -> list[list[Record]]:
    """Windows that may be joined: none over a place up to which a studio has all, which would count some twice."""
    parts: dict[int, list[Record]] = {}
    for window in group:
        parts.setdefault(bisect.bisect_left(places, window["seq"]), []).append(window)
    return list(parts.values())
