"""Faults 2, 3, 6, 12: the state file and the disk under it fail in every way, and the board stays whole."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.store.fsops import DiskOps
from edgestudio.agent.store.state import BoardState, ModelRow, StateFile, decode, encode
from edgestudio.wire.errors import DeviceError
from tests.agent import releases
from tests.patience import until


class FailingOps(DiskOps):
    """The real disk, until `fail` names an operation: then that raises."""

    def __init__(self) -> None:
        self.fail: dict[str, int] = {}
        self.calls: list[str] = []

    def _maybe(self, name: str, path: Path) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise OSError(self.fail[name], "injected", str(path))

    def fsync(self, path: Path) -> None:
        self._maybe("fsync", path)
        super().fsync(path)

    def replace(self, source: Path, target: Path) -> None:
        self._maybe("replace", source)
        super().replace(source, target)

    def write_new(self, path: Path, data: bytes) -> None:
        self._maybe("write_new", path)
        super().write_new(path, data)

    def pwrite(self, path: Path, offset: int, data: bytes) -> None:
        self._maybe("pwrite", path)
        super().pwrite(path, offset, data)

    def copy_new(self, source: Path, target: Path) -> None:
        self._maybe("copy_new", target)
        super().copy_new(source, target)


def state_with(active: str) -> BoardState:
    return BoardState(models={"m": ModelRow(active=active, quarantine={"d": "why"})})


def test_every_truncation_of_the_state_file_falls_back_to_the_generation_before(tmp_path: Path) -> None:
    file = StateFile(DiskOps(), tmp_path)
    for active in ("1-a", "2-b"):
        file.state = state_with(active)
        file.save()
    whole, older = (tmp_path / "state.json").read_bytes(), (tmp_path / "state.json.1").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "state.json").write_bytes(whole[:length])
        (tmp_path / "state.json.1").write_bytes(older)
        fresh = StateFile(DiskOps(), tmp_path)
        assert fresh.load() == "previous"
        assert fresh.state.models["m"].active == "1-a"
    for place in range(len(whole)):
        assert decode(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :]) is None or (
            decode(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :]) == decode(whole)
        )


def test_both_generations_unreadable_is_said_and_none_is_new(tmp_path: Path) -> None:
    assert StateFile(DiskOps(), tmp_path).load() == "new"
    (tmp_path / "state.json").write_bytes(b"\x00" * 100)
    (tmp_path / "state.json.1").write_bytes(b"{}")
    assert StateFile(DiskOps(), tmp_path).load() == "lost"


def test_a_state_of_a_newer_agent_is_read_without_what_is_unknown() -> None:
    envelope = json.loads(encode(state_with("x")))
    body = json.loads(envelope["body"])
    body["models"]["m"]["invented_later"] = 1
    import hashlib

    text = json.dumps(body)
    changed = {"schema": 1, "sha256": hashlib.sha256(text.encode()).hexdigest(), "body": text}
    state = decode(json.dumps(changed).encode())
    assert state is not None
    assert state.models["m"].active == "x"


@pytest.mark.parametrize("operation", ["write_new", "fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_state(tmp_path: Path, operation: str) -> None:
    ops = FailingOps()
    file = StateFile(ops, tmp_path)
    file.state = state_with("old")
    file.save()
    ops.fail = {operation: errno.EIO}
    file.state = state_with("new")
    with pytest.raises(DeviceError, match="disk"):
        file.save()
    again = StateFile(DiskOps(), tmp_path)
    assert again.load() in ("current", "previous")
    assert again.state.models["m"].active == "old"


@pytest.mark.parametrize(
    ("operation", "number", "code"),
    [
        ("pwrite", errno.ENOSPC, "no-space"),
        ("fsync", errno.EIO, "storage"),
        ("replace", errno.EIO, "storage"),
        ("write_new", errno.EROFS, "read-only"),
        ("copy_new", errno.ENOSPC, "no-space"),
    ],
)
def test_a_push_onto_a_failing_disk_ends_and_what_runs_goes_on(
    tmp_path: Path, operation: str, number: int, code: str
) -> None:
    asyncio.run(_failing_push(tmp_path, operation, number, code))


async def _failing_push(tmp_path: Path, operation: str, number: int, code: str) -> None:
    ops = FailingOps()
    board = releases.supervisor(tmp_path / "board", ops=ops)
    await board.start()
    try:
        assert (await releases.push(board, releases.make_release(tmp_path / "a")))["state"] == "COMMITTED"

        golden, _ = releases.sample_golden(releases.digits(), count=7)
        release = releases.make_release(tmp_path / "b", version="2", counter=2, golden=golden)
        ops.fail = {operation: number}
        outcome: dict[str, Any] = {}
        try:
            outcome = await releases.push(board, release)
        except DeviceError as refused:
            outcome = {"state": "REFUSED", "code": refused.code}
        assert outcome["state"] in ("REFUSED", "FAILED"), outcome
        assert outcome.get("code", code) == code
        assert board.state()["models"]["digits"]["active"]["version"] == "1.0.0"
        answer = await board.infer("digits", {"input": releases.digits()[0]})
        assert answer["release"] == 1
        ops.fail = {}
        last = await releases.push(
            board, releases.make_release(tmp_path / "c", version="3", counter=3, golden=golden)
        )
        assert last["state"] == "COMMITTED", last
    finally:
        ops.fail = {}
        await board.stop()


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_disk_that_refuses_once_leaves_no_install_behind_that_nobody_can_end(
    tmp_path: Path, failing: int
) -> None:
    """The `failing`-th replacement of a file of an offer fails, and the next offer, of another desk, is taken."""

    class Once(FailingOps):
        left = 0

        def replace(self, source: Path, target: Path) -> None:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "injected", str(source))
            super().replace(source, target)

    async def scenario() -> None:
        ops = Once()
        board = releases.supervisor(tmp_path / "board", ops=ops)
        await board.start()
        try:
            ops.left = failing
            first = releases.make_release(tmp_path / "a")
            try:
                offered = await releases.offer(board, first)
            except DeviceError as refused:
                assert refused.code == "storage"  # noqa: PT017 - both ends are right
            else:
                await board.abort(offered["id"])
            ops.left = 0
            second = releases.make_release(tmp_path / "b", version="2", counter=2)
            again = await board.offer(second.manifest.target, second.manifest.to_dict(), "", "another desk")
            assert again["state"] == "RECEIVING"
            assert board.state()["phase"] == "RECEIVING"
        finally:
            await board.stop()

    asyncio.run(scenario())


def test_lost_state_is_rebuilt_from_the_slots_and_serves_nothing_until_told(tmp_path: Path) -> None:
    asyncio.run(_lost(tmp_path))


async def _lost(tmp_path: Path) -> None:
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        assert (await releases.push(board, releases.make_release(tmp_path / "a")))["state"] == "COMMITTED"
    finally:
        await board.stop()
    for name in ("state.json", "state.json.1"):
        (tmp_path / "board" / name).write_bytes(b"not json")
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        state = board.state()
        assert state["models"]["digits"]["active"]["version"] == "1.0.0"
        assert state["models"]["digits"]["floor"] == 1
        assert "unreadable" in state["safe_mode"]
        assert state["models"]["digits"]["serving"] is False
        board.resume("digits")
        await until(lambda: board.state()["models"]["digits"]["serving"] is True)
    finally:
        await board.stop()


def test_rot_in_a_slot_is_mended_from_the_blob_and_rot_in_the_blob_too_goes_back(tmp_path: Path) -> None:
    asyncio.run(_rot(tmp_path))


async def _rot(tmp_path: Path) -> None:

    folder = tmp_path / "board"
    golden, _ = releases.sample_golden(releases.digits(), count=7)
    board = releases.supervisor(folder)
    await board.start()
    try:
        await releases.push(board, releases.make_release(tmp_path / "a"))
        second = releases.make_release(tmp_path / "b", version="2", counter=2, golden=golden)
        assert (await releases.push(board, second))["state"] == "COMMITTED"
        active = board.state()["models"]["digits"]["active"]["id"]
    finally:
        await board.stop()
    rotten = folder / "slots" / "digits" / active / "golden.npz"
    rotten.chmod(0o600)
    rotten.write_bytes(b"rot" + rotten.read_bytes()[3:])
    board = releases.supervisor(folder)
    await board.start()
    try:
        assert board.state()["models"]["digits"]["active"]["version"] == "2"
        assert board.state()["models"]["digits"]["serving"] is True
    finally:
        await board.stop()
    blob = folder / "blobs" / "sha256" / second.manifest.files["golden"].sha256[:2]
    blob = blob / second.manifest.files["golden"].sha256
    for path in (blob, rotten):
        path.chmod(0o600)
        path.write_bytes(b"rot" + path.read_bytes()[3:])
    board = releases.supervisor(folder)
    await board.start()
    try:
        await until(lambda: board.ledger.open_row is None and board.state()["models"]["digits"]["serving"])
        assert board.state()["models"]["digits"]["active"]["version"] == "1.0.0"
        assert board.state()["models"]["digits"]["serving"] is True
        (way_back,) = [row for row in board.store.state.installs.values() if row.is_revert]
        assert way_back.tries["DRYRUN"] == 1, "the way back was gone twice at once"
    finally:
        await board.stop()
