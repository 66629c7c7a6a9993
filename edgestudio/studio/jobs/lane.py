"""A lane of jobs: so many at once, in the order of their arrival; the number may change while some run."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Lane:
    """An async context: entered when there is room. Fewer places take effect as running jobs end."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def resize(self, places: int) -> None:
        """Change how many may be inside at once; call it on the loop thread."""
        self._places = max(1, places)
        self._wake()

    async def __aenter__(self) -> None:
        if self._busy < self._places and not self._waiting:
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was given at the moment of the cancel
                self._busy -= 1
                self._wake()
            else:
                self._waiting.remove(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._busy -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._busy < self._places:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)
