"""What a board's owner does from the desk besides pushing: who is trusted, pauses, and another chance for a release."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from edgestudio.agent.net.server import AgentServer
from edgestudio.devices import pairing
from edgestudio.devices.session import BoardSession
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import DeviceError, EdgeStudioError, TrustError, UsageError
from edgestudio.wire.identity import Identity
from tests.agent import releases
from tests.studio.test_boards import desk, until


def test_an_owner_sees_changes_and_removes_the_other_studios(tmp_path):
    async def scenario():
        async with desk(tmp_path) as (studio, board, server):
            row = await studio.boards.add_address("127.0.0.1", server.port)
            await studio.boards.pair(row.id, board.pairing.open().code)
            code = (await studio.trust.invite(row.id, "viewer"))["code"]
            guest = Identity.load_or_create(tmp_path / "guest", "guest")
            known = (await pairing.pair(guest, "guest desk", "127.0.0.1", server.port, code)).board

            everyone = await studio.trust.peers(row.id)
            assert [(peer["name"], peer["role"], peer["you"]) for peer in everyone][1:] == [
                ("guest desk", "viewer", False)
            ]
            assert everyone[0]["you"]
            for name in ("guest desk", guest.short_id, guest.fingerprint, guest.fingerprint[:8].upper()):
                changed = await studio.trust.set_role(row.id, name, "operator")
                assert (changed["fingerprint"], changed["role"]) == (guest.fingerprint, "operator")
            with pytest.raises(UsageError):
                await studio.trust.set_role(row.id, "guest desk", "king")
            with pytest.raises(TrustError, match="No studio is called 'nobody'") as caught:
                await studio.trust.remove(row.id, "nobody")
            assert "guest desk" in caught.value.hint

            with pytest.raises(EdgeStudioError) as refused:
                await studio.boards.unpair(row.id)
            assert refused.value.code == "last-owner"
            assert studio.boards.find(row.id).is_paired, "the desk keeps what the board keeps"

            async with BoardSession(guest, known) as session:
                watching = asyncio.ensure_future(_all(session.records(stays=False)))
                listening = asyncio.ensure_future(anext(session.records()))
                await until(lambda: session.presence == "online")
                with pytest.raises(TrustError):
                    await session.unpair(everyone[0]["fingerprint"])
                await studio.trust.remove(row.id, "guest desk")
                await until(lambda: session.presence == "offline")
                with pytest.raises(TrustError):
                    await asyncio.wait_for(watching, 30)
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                with pytest.raises(TrustError):
                    await session.state()
            assert [peer["you"] for peer in await studio.trust.peers(row.id)] == [True]
            board.peers.clear()
            assert await studio.boards.unpair(row.id) is True, (
                "a board that forgot this desk need not be told"
            )

    asyncio.run(scenario())


async def _all(records):
    async for _ in records:
        pass


def test_pause_resume_and_another_chance(tmp_path):
    async def scenario():
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        server = AgentServer(board)
        await server.start()
        studio = Studio()
        try:
            row = await studio.boards.add_address("127.0.0.1", server.port)
            await studio.boards.pair(row.id, board.pairing.open().code)
            with pytest.raises(DeviceError, match="it runs nothing"):
                await studio.upkeep.pause(row.id)
            assert await studio.upkeep.quarantined(row.id) == []
            await releases.push(board, releases.make_release(tmp_path / "a"))
            strict = dataclasses.replace(releases.SHORT, memory_bytes=1, trial_s=8.0)
            heavy = releases.make_release(tmp_path / "b", version="2", counter=2, limits=strict)
            await releases.push(board, heavy)

            assert await studio.upkeep.pause(row.id) == {"model": "digits", "paused": True}
            assert board.models.bays["digits"].is_paused
            resumed = await studio.upkeep.resume(row.id)
            assert (resumed["paused"], resumed["safe_mode"]) == (False, "")
            board.models.safe_mode("a test says so")
            assert (await studio.upkeep.resume(row.id))["safe_mode"] == "a test says so"
            assert board.store.state.safe_mode == ""

            (kept,) = await studio.upkeep.quarantined(row.id)
            assert (kept["model"], kept["version"]) == ("digits", "2")
            assert "MiB" in kept["reason"]
            for unknown in ("", "no"):
                with pytest.raises(DeviceError, match="quarantine"):
                    await studio.upkeep.let_go(row.id, unknown)
            assert (await studio.upkeep.let_go(row.id, kept["manifest"][:10]))["model"] == "digits"
            assert await studio.upkeep.quarantined(row.id) == []
        finally:
            await studio.stop()
            await server.stop()
            await board.stop()

    asyncio.run(scenario())
