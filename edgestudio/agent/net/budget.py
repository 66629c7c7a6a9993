"""How much one studio may ask for: requests in a stretch of time, and bytes of bodies at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Budget:
    """Tokens for each key: `burst` at once, `per_s` in the long run. Keys are few: studios, or the one of a stream."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_s = per_s
        self._burst = burst
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, key: str = "") -> float:
        """Take one token; 0 when there was one, else the seconds until there is one, and none is taken."""
        now = self._clock()
        tokens, last = self._left.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - last) * self.per_s)
        self._left[key] = (max(0.0, tokens - 1), now) if tokens >= 1 else (tokens, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / self.per_s

    async def afford(self, key: str = "") -> None:
        """Take one token as soon as there is one. For one caller at a time."""
        if wait_s := self.spend(key):
            await asyncio.sleep(wait_s)
            self.spend(key)


class Room:
    """Bytes that may be held at once for each key; what does not fit waits for what is held of the same key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, int] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def held(self, key: str, size: int) -> AsyncIterator[None]:
        """Until the block ends; something that is too big for any room has it alone."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not (has := self._held.get(key, 0)) or has + size <= self._most
            )
            self._held[key] = self._held.get(key, 0) + size
        try:
            yield
        finally:
            self._held[key] -= size
            async with self._changed:
                self._changed.notify_all()
