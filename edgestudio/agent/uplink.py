"""Sends the board's records to a broker, where its owner named one, and again until a studio has them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgestudio.agent.observe.recorder import Recorder
from edgestudio.agent.trust.peers import PeerStore
from edgestudio.runtime.board_policy import load_board_policy
from edgestudio.runtime.exchange.broker import KeptConnection, linked, mqtt_library
from edgestudio.runtime.uplink import Uplink
from edgestudio.wire import uplink as wire
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.fields import canonical_json
from edgestudio.wire.identity import Identity

Record = dict[str, Any]
MAX_IN_FLIGHT = 8
"""Batches that wait for an acknowledgement; more would only flood a broker that nobody listens to."""

RESEND_S, LONGEST_RESEND_S = 30.0, 600.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
AGAIN_EVERY_S = 0.2
LISTENS = 1.5
"""A desk that said nothing for so many times `RESEND_S` was sent all once more and holds nothing up any longer; it
asks for what it missed when it is there again."""

PUBLISH_S = 20.0


class BoardUplink:
    """One connection to the broker. What it sends is what is in the spool; what is acknowledged may leave that.

    `boots` is the number of this start of the board; `report` records an event.
    """

    def __init__(
        self,
        way: Uplink,
        identity: Identity,
        boot: str,
        boots: int,
        recorder: Recorder,
        peers: PeerStore,
        report: Callable[..., None],
    ) -> None:
        self._way = way
        self._board = identity.fingerprint
        self._sealer = wire.Sealer(identity)
        self._boot, self._boots = boot, boots
        self._recorder = recorder
        self._peers = peers
        self._report = report
        self._cursor = 0
        self._in_flight: deque[tuple[float, int]] = deque()
        """(when it was sent, last sequence) of each batch that nobody acknowledged yet."""
        self._resend_s = RESEND_S
        self._heard: dict[str, tuple[float, int]] = {}
        """(when it was heard, up to where it has all) of each desk on this connection."""
        self._heard_again = 0.0
        self._wake = asyncio.Event()
        self._kept = KeptConnection(
            lambda: linked(way, f"es-{self._board[:20]}"), wire.topic(way.fleet, self._board, wire.ACK),
            self._talk, self._tell, pauses_s=(FIRST_PAUSE_S, LONGEST_PAUSE_S),
        )  # fmt: skip

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._kept.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._kept.stop()

    def _tell(self, error: EdgeStudioError | None) -> None:
        if error is None:
            self._report("uplink.works", text="The broker is connected again.")
            return
        text = f"Nothing goes to the broker: {error.in_full}"
        self._report("uplink.failed", text=text, level="warning", code=error.code)

    async def _talk(self, client: Any) -> None:
        """Send and listen until one of them ends; raises what ended it."""
        self._heard.clear()
        self._begin_behind(self._recorder.acknowledged_seq())
        tasks = [asyncio.ensure_future(work) for work in (self._send(client), self._listen(client))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    # ------------------------------------------------------------------ sending

    async def _send(self, client: Any) -> None:
        while True:
            self._look_back()
            batch = self._next() if len(self._in_flight) < MAX_IN_FLIGHT else []
            if batch:
                message = self._sealed(batch)
                where = wire.topic(self._way.fleet, self._board, wire.RECORDS)
                after, self._cursor = self._cursor, int(batch[-1]["seq"])
                self._in_flight.append((time.monotonic(), self._cursor))
                try:
                    await client.publish(where, message, qos=1, timeout=PUBLISH_S)
                except mqtt_library().MqttError:
                    self._cursor = min(self._cursor, after)
                    raise
                continue
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._way.every_s)

    def _look_back(self) -> None:
        """What was not acknowledged in time is sent again, ever more seldom while nobody listens."""
        if self._in_flight and time.monotonic() - self._in_flight[0][0] > self._resend_s:
            self._resend_s = min(LONGEST_RESEND_S, 2 * self._resend_s)
            self._begin_behind(min(self._cursor, self._everybody_has()))

    def _everybody_has(self) -> int:
        """Up to here all desks have everything that were heard lately; what others miss is theirs to ask for."""
        since = time.monotonic() - LISTENS * RESEND_S
        listening = [upto for at, upto in self._heard.values() if at > since]
        if listening:
            return min(listening)
        return max((upto for _, upto in self._heard.values()), default=self._recorder.acknowledged_seq())

    def _begin_behind(self, seq: int) -> None:
        self._cursor = max(0, seq)
        self._in_flight.clear()

    def _next(self) -> Sequence[Record]:
        """As many of the next records as fit into a message."""
        found: list[Record] = []
        size = 0
        for record in self._recorder.history(self._cursor, wire.MAX_BATCH):
            # Travels as text inside JSON: each quote of it costs a byte more.
            size += int(1.3 * len(canonical_json(record)))
            if found and size > wire.MAX_MESSAGE_BYTES:
                break
            found.append(record)
        return found

    def _sealed(self, records: Sequence[Record]) -> bytes:
        first = self._recorder.first_seq
        batch = wire.Batch(self._boot, self._boots, first, self._cursor, records)
        return self._sealer.seal(wire.RECORDS, self._board, batch.to_dict())

    # ------------------------------------------------------------------ listening

    async def _listen(self, client: Any) -> None:
        async for message in client.messages:
            with contextlib.suppress(EdgeStudioError):  # forged, damaged or foreign: as if it had not come
                self._hear(bytes(message.payload or b""))

    def _hear(self, data: bytes) -> None:
        desk, body = wire.unseal(data, wire.ACK, self._board, self._certificate)
        said = wire.Acknowledgement.from_dict(body)
        self._recorder.acknowledge(desk, said.boot, said.upto)
        now, upto = time.monotonic(), min(said.upto, self._recorder.last_seq)
        if desk not in self._heard or upto > self._heard[desk][1]:
            self._resend_s = RESEND_S  # it gets on; what it had twice is no reason to send faster
        self._heard[desk] = (now, upto)
        everybody_has = self._everybody_has()
        while self._in_flight and self._in_flight[0][1] <= everybody_has:
            self._in_flight.popleft()
        if said.again and now - self._heard_again >= AGAIN_EVERY_S:
            self._heard_again = now
            self._begin_behind(everybody_has)
        self._wake.set()

    def _certificate(self, fingerprint: str) -> str | None:
        peer = self._peers.get(fingerprint)
        return peer.certificate_pem if peer else None


async def uplink_of(
    folder: Path,
    identity: Identity,
    boot: str,
    boots: int,
    recorder: Recorder,
    peers: PeerStore,
    report: Callable[..., None],
) -> BoardUplink | None:
    """The uplink that `folder`/board.yaml asks for, started; None where it asks for none or cannot be used."""
    try:
        way = (await asyncio.to_thread(load_board_policy, folder)).uplink
    except EdgeStudioError as error:
        report("board.policy", text=error.in_full, level="warning")
        return None
    if way is None:
        return None
    uplink = BoardUplink(way, identity, boot, boots, recorder, peers, report)
    uplink.start()
    return uplink
