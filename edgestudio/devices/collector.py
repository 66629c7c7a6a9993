"""Receives what paired boards report through a broker: checked, in order, each once; what was lost is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from edgestudio.devices.known import KnownBoard
from edgestudio.devices.record_order import Record, RecordOrder
from edgestudio.runtime.exchange.broker import Attempts, linked
from edgestudio.runtime.uplink import Uplink
from edgestudio.wire import uplink as wire
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.identity import Identity

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
ASK_EVERY_S = 1.0
"""A gap is asked for this often at most; what is under way may fill it meanwhile."""

PUBLISH_S = 20.0


@dataclass
class _Board:
    order: RecordOrder
    boots: int = 0
    asked: float = field(default=float("-inf"))


class Collector:
    """One connection to the broker for all boards.

    `boards` gives the paired boards, `newest` where the reader stands in one's records (see `RecordOrder`), and
    `on_problem` hears once why nothing arrives, and None when it does again.
    """

    def __init__(
        self,
        way: Uplink,
        identity: Identity,
        boards: Callable[[], Iterable[KnownBoard]],
        newest: Callable[[str], tuple[str, int] | None],
        on_problem: Callable[[EdgeStudioError | None], None] = lambda _: None,
    ) -> None:
        self._way = way
        self._sealer = wire.Sealer(identity)
        self._boards = boards
        self._newest = newest
        self._attempts = Attempts(on_problem, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._known: dict[str, _Board] = {}
        self.refused = 0
        """Messages that were not from a paired board, or damaged."""

    @property
    def is_connected(self) -> bool:
        """Whether records can come."""
        return self._attempts.is_connected.is_set()

    async def records(self) -> AsyncGenerator[tuple[str, Record], None]:
        """(board, record) for as long as the caller listens; a record counts as had once the next one is asked for.

        Reconnects with growing pauses. Raises RecipeError where waiting would mend nothing.
        """
        async for attempt in self._attempts:
            async with attempt, linked(self._way, f"es-studio-{secrets.token_hex(6)}") as client:
                await client.subscribe(wire.topic(self._way.fleet, "+", wire.RECORDS), qos=1)
                for board in await asyncio.to_thread(lambda: list(self._boards())):
                    await self._ask(client, board.fingerprint)
                self._attempts.works()
                async for message in client.messages:
                    board_id = wire.board_of(str(message.topic))
                    data = bytes(message.payload or b"")
                    async with contextlib.aclosing(self._received(client, board_id, data)) as fresh:
                        async for record in fresh:
                            yield board_id, record

    async def _received(self, client: Any, board_id: str, data: bytes) -> AsyncGenerator[Record, None]:
        try:
            certificates = {board.fingerprint: board.certificate_pem for board in self._boards()}
            # A board speaks for itself alone.
            mine = {board_id: certificates[board_id]} if board_id in certificates else {}
            _, body = wire.unseal(data, wire.RECORDS, board_id, mine.get)
            batch = wire.Batch.from_dict(body)
        except EdgeStudioError:
            self.refused += 1
            return
        board = await self._board(board_id)
        if batch.boots < board.boots:
            return  # an earlier life of the board, kept or sent again by somebody
        board.boots = batch.boots
        board.order.meet(batch.boot, batch.first)
        if board.order.last is None:
            board.order.last = (batch.boot, 0)
        if batch.after > board.order.last[1]:
            await self._ask(client, board_id)
            return
        for record in batch.records:
            if board.order.is_fresh(dict(record)):
                yield dict(record)
        await self._say(client, board_id, board.order.last, again=False)

    async def _ask(self, client: Any, board_id: str) -> None:
        board = await self._board(board_id)
        now = time.monotonic()
        if now - board.asked >= ASK_EVERY_S:
            board.asked = now
            await self._say(client, board_id, board.order.last or ("", 0), again=True)

    async def _say(self, client: Any, board_id: str, last: tuple[str, int], *, again: bool) -> None:
        body = wire.Acknowledgement(last[0], last[1], again).to_dict()
        message = self._sealer.seal(wire.ACK, board_id, body)
        where = wire.topic(self._way.fleet, board_id, wire.ACK)
        await client.publish(where, message, qos=1, timeout=PUBLISH_S)
        task = asyncio.current_task()
        # Waiting for an answer that came just then may have swallowed it. Python 3.10 does not tell.
        if task is not None and hasattr(task, "cancelling") and task.cancelling():
            raise asyncio.CancelledError

    async def _board(self, board_id: str) -> _Board:
        if board_id not in self._known:
            newest = await asyncio.to_thread(self._newest, board_id)
            self._known[board_id] = _Board(RecordOrder(newest))
        return self._known[board_id]
