"""Brings one board's records into order, each once, whichever way they came: over its stream or through a broker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from edgestudio.wire.errors import InputError
from edgestudio.wire.fields import Fields

Record = dict[str, Any]
History = Callable[[int], Awaitable[list[Record]]]
"""Records of a board above a sequence, oldest first; fewer than `PAGE` when there are no more."""
PAGE = 500


class RecordOrder:
    """Where a reader stands in one board's sequence; `last` is (boot, sequence) of the newest record it had.

    The sequence runs on over the boots of a board, unless its store was damaged or a power cut took the newest
    records: then a boot begins at numbers that a reader had already, and these are others.
    """

    def __init__(self, last: tuple[str, int] | None = None) -> None:
        self.last = last
        self.is_catching_up = False
        """What is yielded now was reported earlier and missed."""
        self._again: tuple[str, int] | None = None
        """(boot, sequence): up to here, numbers are used a second time by this boot."""

    def is_fresh(self, record: Record) -> bool:
        """Whether `record` is newer than all before it; it counts as had from then on."""
        boot, seq = str(record.get("boot", "")), record.get("seq")
        if type(seq) is not int or (self.last is not None and seq <= self.last[1]):
            return False
        if self._again is not None and seq <= self._again[1] and boot != self._again[0]:
            return False
        self.last = (boot, seq)
        return True

    def meet(self, boot: str, first: int) -> None:
        """A board says which boot this is, and the first sequence of it."""
        if self.last is not None and boot != self.last[0] and 0 < first <= self.last[1]:
            self._again = (boot, self.last[1])
            self.last = (boot, first - 1)

    async def missed(self, history: History) -> AsyncGenerator[Record, None]:
        """What the board still has above `last`."""
        self.is_catching_up = True
        try:
            while self.last is not None:
                before = self.last[1]
                page = await history(before)
                for record in page:
                    if self.is_fresh(record):
                        yield record
                if len(page) < PAGE or self.last[1] == before:
                    return
        finally:
            self.is_catching_up = False

    async def sorted_in(self, message: Record, history: History) -> AsyncGenerator[Record, None]:
        """What a message of the stream brings: itself, what was missed before it, or nothing new."""
        kind = message.get("k")
        if kind == "hello":
            self.meet(str(message.get("boot", "")), _first(message))
        if kind in ("hello", "gap"):
            async for record in self.missed(history):
                yield record
        if "seq" in message and kind != "hello":
            if self.is_fresh(message):
                yield message
        elif kind != "hello":
            yield message


def _first(hello: Record) -> int:
    try:
        return Fields(hello, "hello").integer("first", default=0)
    except InputError:
        return 0
