"""Numbers what happens on the board, keeps it in the spool, and hands it to whoever listens now."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

from edgestudio.agent.observe.spool import Spool
from edgestudio.wire.fields import clean_text
from edgestudio.wire.records import (
    KIND_GAP,
    KIND_INSTALL,
    RECORD_VERSION,
    Clock,
    Event,
    Level,
    SensorReading,
    Window,
)

Record = dict[str, Any]
LISTENER_KEEPS = 256


@dataclasses.dataclass(frozen=True)
class Origin:
    """What every record says about where it comes from."""

    device: str
    boot: str
    is_simulated: bool
    clock: Callable[[], Clock]
    now: Callable[[], float]


class Listener:
    """One live reader: the newest records; `gap` in place of those that it was too slow for."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._lost: tuple[int, int] | None = None
        self._wake = asyncio.Event()

    def give(self, record: Record) -> None:
        """Add one record, dropping the oldest when there are too many."""
        if len(self._records) >= LISTENER_KEEPS:
            gone = self._records.popleft()["seq"]
            self._lost = (self._lost[0] if self._lost else gone, gone)
        self._records.append(record)
        self._wake.set()

    async def take(self) -> Record:
        """The next record or gap; waits for one."""
        while not self._records:
            self._wake.clear()
            await self._wake.wait()
        if self._lost is not None:
            first, last = self._lost
            self._lost = None
            return {"v": RECORD_VERSION, "k": KIND_GAP, "from": first, "to": last}
        return self._records.popleft()


class Recorder:
    """Records in one sequence over all kinds and, as long as the spool lives, over all boots.

    `desks()` are the fingerprints of the paired studios; `now` is Unix seconds by the board's own clock.
    """

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        desks: Callable[[], Collection[str]] = tuple,
        now: Callable[[], float] = time.time,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._origin = origin
        self._troubles: list[tuple[str, str]] = []
        about: dict[str, Any] = {"on_trouble": self._note, "desks": desks, "now": now}
        self._windows = Spool(folder / "telemetry.db", **about)
        self._events = Spool(folder / "events.db", is_strict=True, **about)
        self._spools = (self._windows, self._events)
        used = [number for spool in self._spools for number in (spool.last_seq(), spool.highest_position())]
        self.first_seq = max(used) + 1
        """Sequence of this boot's first record."""
        self._numbers = itertools.count(self.first_seq)
        self._last = self.first_seq - 1
        self._listeners: list[Listener] = []
        self._report_troubles()

    @property
    def last_seq(self) -> int:
        """Sequence of the newest record."""
        return self._last

    def window(self, fields: Mapping[str, Any], sensors: Mapping[str, SensorReading], **who: Any) -> Record:
        """Record one telemetry window; `who` are model, release, version and slot."""
        number = next(self._numbers)
        window = Window(
            device=self._origin.device, boot=self._origin.boot, seq=number, time_s=self._origin.now(),
            mono_s=time.monotonic(), clock=self._origin.clock(), simulated=self._origin.is_simulated,
            sensors=sensors, **fields, **who,
        )  # fmt: skip
        return self._keep(self._windows, window.to_dict())

    def event(
        self,
        name: str,
        text: str = "",
        *,
        level: str = "info",
        model: str = "",
        release: int = 0,
        **data: Any,
    ) -> Record:
        """Record one event."""
        event = Event(
            device=self._origin.device, boot=self._origin.boot, seq=next(self._numbers),
            time_s=self._origin.now(), mono_s=time.monotonic(), name=name, text=clean_text(text, 1000),
            level=cast("Level", level), model=model, release=release, data=data,
            clock=self._origin.clock(), simulated=self._origin.is_simulated,
        )  # fmt: skip
        return self._keep(self._events, event.to_dict())

    def install(self, view: Mapping[str, Any]) -> Record:
        """Record one step of an install."""
        record: Record = {
            "v": RECORD_VERSION, "k": KIND_INSTALL, "dev": self._origin.device, "boot": self._origin.boot,
            "seq": next(self._numbers), "t": self._origin.now(), "mono": time.monotonic(),
            "clock": self._origin.clock(), "sim": self._origin.is_simulated,
            **{key: value for key, value in view.items() if key != "history"},
        }  # fmt: skip
        return self._keep(self._events, record)

    def history(self, after: int, limit: int) -> list[Record]:
        """Up to `limit` records above the sequence `after`, oldest first."""
        found = [*self._windows.after(after, limit), *self._events.after(after, limit)]
        return sorted(found, key=lambda record: int(record["seq"]))[:limit]

    def acknowledge(self, desk: str, boot: str, upto: int) -> None:
        """The studio `desk` has all of `boot` up to `upto`, and what earlier boots left.

        Numbers above the last of `boot` may be another boot's: a power cut has some used twice. So they are not
        meant, and neither is a boot of which nothing is kept.
        """
        last = self._last if boot == self._origin.boot else max(s.last_seq_of(boot) for s in self._spools)
        if (place := min(upto, last)) > 0:
            for spool in self._spools:
                spool.acknowledge(desk, place)

    def acknowledged_seq(self) -> int:
        """Everything up to here some paired studio has."""
        return max(self.positions().values(), default=0)

    def positions(self) -> dict[str, int]:
        """Up to where each paired studio has everything."""
        found = [spool.positions() for spool in self._spools]
        return {desk: max(places.get(desk, 0) for places in found) for desk in found[0]}

    def subscribe(self) -> AsyncIterator[Record]:
        """Records from this call on, until the reader stops."""
        listener = Listener()
        self._listeners.append(listener)
        return self._follow(listener)

    def close(self) -> None:
        """Flush and close the spool."""
        self._windows.close()
        self._events.close()

    async def _follow(self, listener: Listener) -> AsyncIterator[Record]:
        try:
            while True:
                yield await listener.take()
        finally:
            self._listeners.remove(listener)

    def _keep(self, spool: Spool, record: Record) -> Record:
        self._last = record["seq"]
        spool.append(record)
        for listener in list(self._listeners):
            listener.give(record)
        self._report_troubles()
        return record

    def _note(self, name: str, text: str) -> None:
        self._troubles.append((name, text))

    def _report_troubles(self) -> None:
        troubles, self._troubles = self._troubles, []
        for name, text in troubles:
            self.event(name, text, level="warning")
