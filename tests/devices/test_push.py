"""Pair, push, watch: the studio's side against a real server over real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.agent.trust.releases import ReleaseTrust
from edgestudio.devices import deploy as deploy_module
from edgestudio.devices.deploy import DeployState, deploy
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire import api
from edgestudio.wire.errors import DeviceError, InstallError, TrustError
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import Requirements
from tests.agent.net.board import PlainSupervisor, running


def studio(tmp_path: Path, name: str = "desk") -> Identity:
    return Identity.load_or_create(tmp_path / name, name)


async def until(is_so: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.01)


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


@contextlib.asynccontextmanager
async def paired(tmp_path: Path) -> AsyncIterator[tuple[PlainSupervisor, BoardSession, Publisher]]:
    desk = studio(tmp_path)
    async with running(tmp_path / "board") as (board, server):
        known = (await pair(desk, "desk", "127.0.0.1", server.port, board.pairing.open().code)).board
        async with BoardSession(desk, known) as session:
            yield board, session, Publisher(tmp_path / "publisher")


def test_only_the_chunks_that_changed_are_sent(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    data = bytearray(os.urandom(4 * api.CHUNK_BYTES))
    model.write_bytes(data)

    async def scenario() -> None:
        async with paired(tmp_path) as (_, session, publisher):
            await states(session, publisher, files={"model": model})
            data[api.CHUNK_BYTES * 2 + 9] ^= 1
            model.write_bytes(data)
            second = await states(session, publisher, files={"model": model})
            assert [s.total_bytes for s in second if s.name == "offered"] == [api.CHUNK_BYTES]
            assert "has 12.6 MB already" in next(s.detail for s in second if s.name == "offered")
            assert second[-1].name == "committed"

    asyncio.run(scenario())


def test_damage_on_the_way_is_sent_again(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(6 * api.CHUNK_BYTES))

    async def scenario() -> None:
        async with paired(tmp_path) as (_, session, publisher):
            real, flips = session.put_chunk, 0

            async def flipping(digest: str, index: int, data: bytes) -> None:
                nonlocal flips
                if index % 2 == 0 and flips < 5:
                    flips += 1
                    data = bytes([data[0] ^ 1]) + data[1:]
                await real(digest, index, data)

            session.put_chunk = flipping  # type: ignore[method-assign]
            assert (await states(session, publisher, files={"model": model}))[-1].name == "committed"
            assert flips == 5

    asyncio.run(scenario())


def test_a_board_that_vanishes_is_a_clear_error_and_the_next_push_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgestudio.devices.deploy.CHUNK_TRIES", 2)
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(8 * api.CHUNK_BYTES))

    async def scenario() -> None:
        desk, publisher = studio(tmp_path), Publisher(tmp_path / "publisher")
        async with running(tmp_path / "board") as (board, server):
            known = (await pair(desk, "desk", "127.0.0.1", server.port, board.pairing.open().code)).board
            release = publisher.publish("digits", {"model": model})
            async with BoardSession(desk, known) as session:

                async def push_until_it_dies() -> None:
                    async for state in deploy(session, publisher, release):
                        if state.sent_bytes >= 3 * api.CHUNK_BYTES:
                            await server.stop()

                with pytest.raises(DeviceError) as e:
                    await push_until_it_dies()
                assert e.value.code == "vanished"
                assert "push again" in e.value.hint
        async with (
            running(tmp_path / "board", known.port) as (board, _),
            BoardSession(desk, known) as session,
        ):
            again = [state async for state in deploy(session, publisher, release)]
            assert again[-1].name == "committed"
            total = next(s.total_bytes for s in again if s.name == "offered")
            assert total <= 5 * api.CHUNK_BYTES

    asyncio.run(scenario())


def test_what_a_board_refuses_is_refused_before_a_byte_is_sent(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"x" * 1000)

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            with pytest.raises(InstallError, match="tensorrt") as wrong:
                await states(
                    session, publisher, files={"model": model}, requires=Requirements(runtimes=("tensorrt",))
                )
            assert wrong.value.code == "wrong-device"
            board.floor["digits"] = 40
            with pytest.raises(InstallError) as old:
                await states(session, publisher, files={"model": model})
            assert old.value.code == "downgrade"
            assert (await states(session, publisher, files={"model": model}, floor=40))[
                -1
            ].name == "committed"
            board.clock.offer = lambda studio_time: None  # type: ignore[method-assign]
            board.clock.now = lambda: 4e9  # type: ignore[method-assign]
            with pytest.raises(TrustError) as late:
                await states(session, publisher, files={"model": model}, floor=40)
            assert late.value.code == "expired"
            assert board.blobs.digests() == [hashlib.sha256(b"x" * 1000).hexdigest()]

    asyncio.run(scenario())


def test_a_file_that_changes_while_it_is_sent_does_not_arrive(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(2 * api.CHUNK_BYTES))

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            release = publisher.publish("digits", {"model": model})
            model.write_bytes(os.urandom(api.CHUNK_BYTES))
            with pytest.raises(DeviceError) as e:
                [state async for state in deploy(session, publisher, release)]
            assert e.value.code in ("file-changed", "wrong-hash")
            assert board.floor == {}

    asyncio.run(scenario())


def test_stopping_to_listen_stops_sending(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(8 * api.CHUNK_BYTES))

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            release = publisher.publish("digits", {"model": model})
            async with contextlib.aclosing(deploy(session, publisher, release)) as pushing:
                async for state in pushing:
                    if state.sent_bytes:
                        break
            assert board.floor == {}
            assert (await session.abort(state.install_id))["state"] == "FAILED"

    asyncio.run(scenario())


def test_a_board_that_lies_is_not_believed(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"x")

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            for need in ({"0" * 64: [0]}, {hashlib.sha256(b"x").hexdigest(): [9]}, {"a": "b"}, [1]):

                async def lie(*_: object, need: object = need) -> dict[str, object]:
                    return {"id": "i", "need": need}

                board.offer = lie  # type: ignore[method-assign,assignment]
                with pytest.raises(DeviceError) as e:
                    await states(session, publisher, files={"model": model})
                assert e.value.code == "bad-answer"

    asyncio.run(scenario())


def test_a_build_on_the_board_says_how_far_it_is(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"x")
    history = [{"state": name} for name in ("VERIFIED", "INSPECTED", "STAGED")]
    building = {"id": "i", "state": "STAGED", "history": history, "detail": "building the engine"}
    said = [{**building, "fraction": fraction} for fraction in (0.25, 0.5, 0.5)]
    said.append({**building, "state": "COMMITTED", "detail": "", "fraction": None})

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):

            async def finish(_: str) -> dict[str, object]:
                return said.pop(0)

            board.finish = finish  # type: ignore[method-assign,assignment]
            board.install = lambda _: said.pop(0)  # type: ignore[method-assign,assignment]
            seen = await states(session, publisher, files={"model": model})
            told = [(state.name, state.detail) for state in seen]
            assert ("staged", "building the engine, 25%") in told
            assert told.count(("staged", "building the engine, 50%")) == 1
            assert told[-1][0] == "committed"

    asyncio.run(scenario())


def test_presence_follows_the_board(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk, seen = studio(tmp_path), []
        async with running(tmp_path / "board") as (board, server):
            known = (await pair(desk, "desk", "127.0.0.1", server.port, board.pairing.open().code)).board
            session = BoardSession(desk, known, on_presence=lambda presence, problem: seen.append(presence))
            assert session.presence == "unknown"
            records = session.records()
            first = asyncio.ensure_future(anext(records))
            await until(lambda: bool(board.listeners))
            board.record()
            assert (await first)["seq"] == 1
            second = asyncio.ensure_future(anext(records))
            await server.stop()
        async with running(tmp_path / "board", known.port) as (board, _):
            board.record()
            board.record(m="missed while away")
            assert (await asyncio.wait_for(second, 20))["m"] == "missed while away"
            board.peers.remove(desk.fingerprint)
            third = asyncio.ensure_future(anext(records))
            await until(lambda: session.problem is not None and session.problem.code == "not-paired")
            third.cancel()
            await asyncio.gather(third, return_exceptions=True)
            await records.aclose()
            await session.close()
        assert seen[0] == "online"
        assert seen[-1] == "offline"
        assert "online" in seen[2:]

    asyncio.run(scenario())


def test_two_pushes_at_once_from_one_desk_happen_one_after_the_other(tmp_path: Path) -> None:
    """Two windows or commands of one desk: neither disturbs the other's signed list or transfer."""
    files = {}
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(os.urandom(api.CHUNK_BYTES + 5))
        files[name] = {"model": tmp_path / name}

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            other = Publisher(tmp_path / "publisher")
            releases = [
                p.publish(name, files=files[name]) for p, name in ((publisher, "one"), (other, "two"))
            ]
            seen: list[tuple[str, str]] = []

            def note(name: str, state: str) -> None:
                seen.append((name, state))

            async def push(maker: Publisher, number: int) -> None:
                name = releases[number].manifest.model
                async for state in deploy(session, maker, releases[number]):
                    note(name, state.name)

            await asyncio.gather(push(publisher, 0), push(other, 1))
            assert [name for name, state in seen if state == "committed"] == ["one", "two"]
            assert seen.index(("one", "committed")) < seen.index(("two", "offered"))
            assert {manifest.model for manifest in board.manifests.values()} == {"one", "two"}

    asyncio.run(scenario())


def test_a_transfer_that_the_board_gave_up_ends_with_the_boards_own_reason(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(8 * api.CHUNK_BYTES))

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            release = publisher.publish("digits", files={"model": model})
            last: DeployState | None = None
            async for state in deploy(session, publisher, release):
                last = state
                if state.name == "offered":  # another studio's push takes the place of one that stands still
                    given_up = board.install(state.install_id)
                    given_up.update(state="FAILED", reason="Another release was pushed in its place.")
                    board.blobs.discard(release.manifest.files["model"].sha256)
            assert last is not None
            assert (last.name, last.reason) == ("failed", "Another release was pushed in its place.")

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", ["metadata", "answer"])
def test_a_board_that_restarts_around_the_offer_is_handed_everything_anew(
    tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(os.urandom(1000))

    async def scenario() -> None:
        async with paired(tmp_path) as (board, session, publisher):
            offer, offers = session.offer, []

            async def once_restarted(*args: Any) -> dict[str, Any]:
                offers.append(args)
                if len(offers) == 1:
                    board.trust = ReleaseTrust(board.settings.data_dir / "tuf")  # what was staged is gone
                    if lost == "answer":
                        raise DeviceError("The connection was lost.", code="connection-lost")
                return await offer(*args)

            monkeypatch.setattr(session, "offer", once_restarted)
            seen = await states(session, publisher, files={"model": model})
            assert seen[-1].name == "committed"
            assert len(offers) == 2

            async def never(*args: Any) -> dict[str, Any]:
                offers.append(args)
                raise TrustError("A part is missing.", code="incomplete-metadata")

            monkeypatch.setattr(deploy_module, "LONGEST_PAUSE_S", 0.5)
            monkeypatch.setattr(session, "offer", never)
            with pytest.raises(TrustError) as e:
                await states(session, publisher, files={"model": model})
            assert e.value.code == "incomplete-metadata"
            assert len(offers) == 5

    asyncio.run(scenario())
