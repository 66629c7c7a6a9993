"""The agent's end of the socket to a model host: frames out, messages in, and a short look before sleeping.

Being woken costs more than a small model takes: an event loop that sleeps in the kernel comes back a tenth of a
millisecond late, on a busy board much more. So an answer that is about to come is looked for, for less time than
waking up takes, before the loop goes on to other work and is told.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any

from edgestudio.agent.run.channel import FrameReader, Streak, look, may_look

LOOK_S = 0.001
"""A model that answers later than this gains little, and the loop has other work."""
_SHARE_S = 0.002
"""Whoever asks again and again lets others run this often."""
_RECEIVE_BYTES = 1 << 16
Deliver = Callable[[list[dict[str, Any]] | None], None]


class HostLink(asyncio.Protocol):
    """Hands each batch of messages to `deliver`, and None when they are no messages of ours.

    `threads` is how many processors the model keeps busy.
    """

    def __init__(self, ours: socket.socket, deliver: Deliver, threads: int = 1) -> None:
        self._ours = ours
        self._frames = FrameReader()
        self._deliver = deliver
        self._transport: asyncio.Transport | None = None
        self._can_look = may_look(threads)
        self._streak = Streak(LOOK_S, is_owed=True)
        self._shared_at = 0.0

    async def open(self) -> None:
        """Listen from now on."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, sock=self._ours)

    def send(self, data: bytes) -> None:
        """Send a frame."""
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        """Close the socket; the host ends when it notices."""
        if self._transport is not None:
            self._transport.close()

    async def result(self, answer: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
        """What `answer` is set to, or the exception it is given."""
        begun = perf_counter()
        if self._can_look and self._streak.is_on and self._look(answer, begun + LOOK_S):
            if begun - self._shared_at > _SHARE_S:
                self._shared_at = begun
                await asyncio.sleep(0)
        else:
            self._shared_at = begun
        found = await answer
        self._streak.note(perf_counter() - begun)
        return found

    def _look(self, answer: asyncio.Future[Any], until: float) -> bool:
        """Receive without sleeping; True as soon as the answer is there."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        try:
            while not answer.done():
                data = look(self._ours, _RECEIVE_BYTES, until)
                if (
                    not data
                ):  # nothing yet, or closed: the transport finds out as well, and the watcher says why
                    return False
                self.data_received(data)
        except OSError:
            return False
        return True

    def data_received(self, data: bytes) -> None:
        """Cut what came into messages."""
        try:
            messages = self._frames.feed(data)
        except (ValueError, RecursionError):
            self._deliver(None)
            return
        self._deliver(messages)
