"""A man between an MQTT client and its broker who loses, repeats and reorders messages, and acknowledges them all."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PUBLISH, PUBACK = 0x30, 0x40


@dataclass
class Between:
    """Where it listens, what it does to each message of QoS 1, and what it did."""

    port: int = 0
    lose: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set, nothing passes and nothing is acknowledged."""


@contextlib.asynccontextmanager
async def between(broker_port: int, seed: int, **chances: float) -> AsyncIterator[Between]:
    """Clients that connect to `port` reach the broker through it."""
    man, chance = Between(**chances), random.Random(seed)
    man.flows.set()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", broker_port)
        except OSError:
            writer.close()
            return
        ways = [
            _carry(reader, far_writer, writer, man, chance),
            _carry(far_reader, writer, far_writer, man, chance),
        ]
        work = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            return  # the test is over; a stream's server would report it as an error
        finally:
            for way in work:
                way.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            for end in (writer, far_writer):
                end.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    man.port = server.sockets[0].getsockname()[1]
    try:
        yield man
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    back: asyncio.StreamWriter,
    man: Between,
    chance: random.Random,
) -> None:
    held: bytes | None = None
    while True:
        head, rest = await _packet(reader)
        await man.flows.wait()
        packet = head + rest
        if head[0] & 0xF0 == PUBLISH and head[0] & 0x06:
            topic = int.from_bytes(rest[:2], "big")
            accepted = bytes([PUBACK, 2]) + rest[2 + topic : 4 + topic]
            if chance.random() < man.lose:
                man.lost += 1
                back.write(accepted)
                continue
            if held is None and chance.random() < man.reorder:
                man.reordered += 1
                held = packet
                back.write(accepted)  # or who sends one at a time would never send the next
                continue
            if chance.random() < man.repeat:
                man.repeated += 1
                packet *= 2
        writer.write(packet)
        if held is not None:
            writer.write(held)
            held = None
        await writer.drain()


async def _packet(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(fixed header, the rest) of the next packet; IncompleteReadError at the end."""
    head, size, shift = await reader.readexactly(1), 0, 0
    while True:
        head += await reader.readexactly(1)
        size |= (head[-1] & 0x7F) << shift
        shift += 7
        if not head[-1] & 0x80:
            return head, await reader.readexactly(size)
