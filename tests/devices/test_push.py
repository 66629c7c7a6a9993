"""Pair, push, watch: the studio's side against a real server over real TLS."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np

from edgestudio.devices.deploy import DeployState, deploy
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire import api
from edgestudio.wire.identity import Identity
from tests.agent.net.board import running


def studio(tmp_path: Path, name: str = "desk") -> Identity:
    return Identity.load_or_create(tmp_path / name, name)


async def states(session: BoardSession, publisher: Publisher, **kwargs: object) -> list[DeployState]:
    release = publisher.publish("digits", **kwargs)  # type: ignore[arg-type]
    return [state async for state in deploy(session, publisher, release)]


def test_pair_push_infer_and_watch(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(3 * api.CHUNK_BYTES + 17))

    async def scenario() -> None:
        async with running(tmp_path / "board") as (board, server):
            code = board.pairing.open().code
            paired = await pair(studio(tmp_path), "desk", "127.0.0.1", server.port, code)
            assert paired.board.role == "owner"
            assert paired.board.fingerprint == board.identity.fingerprint
            assert not board.pairing.is_open
            async with BoardSession(studio(tmp_path), paired.board) as session:
                assert (await session.info())["role"] == "owner"
                seen = await states(session, Publisher(tmp_path / "pub"), files={"model": model})
                assert [s.name for s in seen if s.name != "receiving"] == [
                    "preflight", "offered", "verified", "inspected", "staged", "dryrun", "trial", "committed"
                ]  # fmt: skip
                assert seen[-1].is_final
                answer = await session.infer("digits", {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})
                np.testing.assert_array_equal(answer["outputs"]["x"], np.arange(6).reshape(2, 3) * 2.0)
                again = await states(session, Publisher(tmp_path / "pub"), files={"model": model})
                assert [s.total_bytes for s in again if s.name == "offered"] == [0]
                board.record(m="digits")
                async for record in session.records(after=("", 0)):
                    assert record["m"] == "digits"
                    assert session.presence == "online"
                    break

    asyncio.run(scenario())
