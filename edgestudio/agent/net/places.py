"""Who has a place at the board's door: strangers give way to each other, studios to none but their own kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

MAX_STRANGERS = 16
MAX_OF_STUDIOS = 32
MAX_PER_STUDIO = 16
"""A window has eight connections at most, and so has each command beside it."""

T = TypeVar("T")


@dataclass(eq=False)
class Place:
    """One connection. `close` ends it at once, in whatever state it is."""

    host: str
    close: Callable[[], object]
    is_open: Callable[[], bool]
    studio: str | None = None
    """Fingerprint of the paired studio that it proved to be; None while that is open, and of strangers."""


class Places:
    """The open connections. Whoever knocks comes in; where it gets too many, the one that matters least goes.

    So nobody who is not paired can keep others out, however many connections and addresses he has, and no
    studio can keep out another one.
    """

    def __init__(self, is_paired: Callable[[str], bool] = lambda fingerprint: True) -> None:
        self._is_paired = is_paired
        self._taken: list[Place] = []

    def enter(self, place: Place) -> None:
        """A connection was accepted; nobody knows whose it is."""
        self._sweep()
        self._taken.append(place)
        self._shrink(self._strangers(), MAX_STRANGERS, lambda p: p.host)

    def prove(self, place: Place, studio: str | None) -> None:
        """The handshake is done, and the other end showed the certificate of `studio`, or none."""
        place.studio = studio
        self._sweep()
        mine = [p for p in self._taken if p.studio == studio and studio is not None]
        if len(mine) > MAX_PER_STUDIO:
            self._end(mine[0])
        studios = [p for p in self._taken if p not in self._strangers()]
        self._shrink(studios, MAX_OF_STUDIOS, lambda p: p.studio)

    def _strangers(self) -> list[Place]:
        return [p for p in self._taken if p.studio is None or not self._is_paired(p.studio)]

    def _shrink(self, among: list[Place], most: int, whose: Callable[[Place], T]) -> None:
        """Of whoever has the most places, the oldest goes."""
        if len(among) > most:
            greedy = _most(map(whose, among))
            self._end(next(p for p in among if whose(p) == greedy))

    def _end(self, place: Place) -> None:
        self._taken.remove(place)
        place.close()

    def _sweep(self) -> None:
        self._taken = [p for p in self._taken if p.is_open()]


def _most(values: Iterable[T]) -> T:
    return Counter(values).most_common(1)[0][0]
