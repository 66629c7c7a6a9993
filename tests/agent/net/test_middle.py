"""A live man in the middle: a relay with a certificate of its own between a real studio and a real board."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgestudio.devices.pairing import pair
from edgestudio.devices.session import BoardSession
from edgestudio.wire import api
from edgestudio.wire.errors import TrustError
from edgestudio.wire.identity import Identity
from tests.agent.net.board import running


class Relay:
    """Passes everything on, both ways; it may put its own certificate in place of the studio's."""

    def __init__(self, identity: Identity, target: int, *, swaps_certificate: bool) -> None:
        self._identity, self._target, self._swaps = identity, target, swaps_certificate
        self.requests: list[str] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity.certificate_path, self._identity.key_path)
        tasks: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._relay(reader, writer))
            tasks.add(task)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        to_board, from_studio = None, reader
        try:
            from_board, to_board = await asyncio.open_connection("127.0.0.1", self._target, ssl=context)
            while head := await _until_blank_line(from_studio):
                body = await from_studio.readexactly(_length(head))
                self.requests.append(head.split(b" ")[1].decode())
                if self._swaps and api.PAIR_START.encode() in head:
                    value = json.loads(body) | {"certificate": self._identity.cert_pem}
                    changed = json.dumps(value).encode()
                    head = head.replace(b"%d" % len(body), b"%d" % len(changed))
                    body = changed
                to_board.write(head + body)
                answer = await _until_blank_line(from_board)
                writer.write(answer + await from_board.readexactly(_length(answer)))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            if to_board is not None:
                to_board.close()


async def _until_blank_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _length(head: bytes) -> int:
    lengths = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    ]
    return int(lengths[0]) if lengths else 0


@pytest.mark.parametrize("swaps_certificate", [False, True])
def test_a_relay_between_studio_and_board_cannot_pair_with_the_right_code(
    tmp_path: Path, swaps_certificate: bool
) -> None:
    async def scenario() -> None:
        desk = Identity.load_or_create(tmp_path / "desk", "desk")
        middle = Identity.load_or_create(tmp_path / "middle", "bench board")
        async with running(tmp_path / "board") as (board, server):
            code = board.pairing.open().code
            relay = Relay(middle, server.port, swaps_certificate=swaps_certificate)
            async with relay.running() as port:
                with pytest.raises(TrustError) as e:
                    await pair(desk, "desk", "127.0.0.1", port, code)
            assert e.value.code == "wrong-code"
            assert api.PAIR_CONFIRM in relay.requests  # it truly went through the relay, up to the proof
            assert board.peers.all() == []
            assert [event["name"] for event in board.events] == ["pairing.opened", "pairing.failed"]
            # The same code over the direct way still holds: the relay learned nothing of it.
            assert (await pair(desk, "desk", "127.0.0.1", server.port, code)).board.role == "owner"

    asyncio.run(scenario())


def test_a_relay_after_pairing_is_recognised_by_its_certificate(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Identity.load_or_create(tmp_path / "desk", "desk")
        middle = Identity.load_or_create(tmp_path / "middle", "bench board")
        async with running(tmp_path / "board") as (board, server):
            known = (await pair(desk, "desk", "127.0.0.1", server.port, board.pairing.open().code)).board
            relay = Relay(middle, server.port, swaps_certificate=False)
            async with relay.running() as port:
                async with BoardSession(desk, known.__class__(**{**known.__dict__, "port": port})) as session:
                    with pytest.raises(TrustError) as e:
                        await session.info()
            assert e.value.code == "wrong-certificate"
            assert relay.requests == []  # nothing was said to it

    asyncio.run(scenario())
