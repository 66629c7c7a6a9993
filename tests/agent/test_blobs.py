"""Faults 3, 7 to 10, 27: chunks in any order, twice, damaged, interrupted, from two studios, under hostile names."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.store.blobs import BlobStore
from edgestudio.agent.store.fsops import DiskOps
from edgestudio.agent.store.slots import SlotStore
from edgestudio.wire.api import CHUNK_BYTES
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InstallError
from edgestudio.wire.release import ReleaseFile
from tests.agent import releases


def blob(seed: int, size: int) -> tuple[bytes, ReleaseFile]:
    data = random.Random(seed).randbytes(size)
    chunks = tuple(
        hashlib.sha256(data[at : at + CHUNK_BYTES]).hexdigest() for at in range(0, size, CHUNK_BYTES)
    )
    return data, ReleaseFile("model.onnx", size, hashlib.sha256(data).hexdigest(), chunks)


def piece(data: bytes, index: int) -> bytes:
    return data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]


def store(folder: Path) -> BlobStore:
    blobs = BlobStore(DiskOps(), folder / "blobs")
    blobs.prepare()
    return blobs


def test_any_order_twice_and_after_a_restart(tmp_path: Path) -> None:
    data, spec = blob(1, 3 * CHUNK_BYTES + 17)
    blobs = store(tmp_path)
    blobs.begin(spec)
    assert blobs.missing(spec.sha256) == [0, 1, 2, 3]
    for index in (3, 1, 1):
        blobs.receive(spec.sha256, index, piece(data, index))
    blobs = store(tmp_path)  # the process died
    blobs.begin(spec)
    assert blobs.missing(spec.sha256) == [0, 2]
    assert blobs.complete(spec.sha256) == [0, 2]
    for index in (2, 0):
        blobs.receive(spec.sha256, index, piece(data, index))
    assert blobs.complete(spec.sha256) == []
    assert blobs.complete(spec.sha256) == []
    assert blobs.path(spec.sha256).read_bytes() == data
    assert not list((tmp_path / "blobs" / "incoming").iterdir())


def test_what_two_blobs_share_is_still_known_when_one_of_them_goes(tmp_path: Path) -> None:
    common, _ = blob(1, CHUNK_BYTES)
    blobs = store(tmp_path)
    kept: list[ReleaseFile] = []
    for seed in (2, 3, 4):
        data = common + random.Random(seed).randbytes(1000)
        chunks = tuple(hashlib.sha256(piece(data, index)).hexdigest() for index in (0, 1))
        spec = ReleaseFile("model.onnx", len(data), hashlib.sha256(data).hexdigest(), chunks)
        if len(kept) == 2:
            blobs.remove(kept[0].sha256)
        blobs.begin(spec)
        assert blobs.missing(spec.sha256) == ([1] if kept else [0, 1])
        for index in blobs.missing(spec.sha256):
            blobs.receive(spec.sha256, index, piece(data, index))
        assert blobs.complete(spec.sha256) == []
        kept.append(spec)


def test_chunks_that_are_damaged_or_not_offered_are_refused(tmp_path: Path) -> None:
    data, spec = blob(2, 2 * CHUNK_BYTES)
    blobs = store(tmp_path)
    with pytest.raises(DeviceError) as refused:
        blobs.receive(spec.sha256, 0, piece(data, 0))
    assert refused.value.code == "not-offered"
    blobs.begin(spec)
    flipped = bytearray(piece(data, 0))
    flipped[100] ^= 1
    for index, wrong, code in (
        (0, bytes(flipped), "wrong-hash"),
        (1, piece(data, 0), "wrong-hash"),
        (0, piece(data, 0)[:-1], "wrong-size"),
        (0, piece(data, 0) + b"x", "wrong-size"),
        (2, b"", "wrong-size"),
        (-1, piece(data, 1), "wrong-size"),
    ):
        with pytest.raises(DeviceError) as refused:
            blobs.receive(spec.sha256, index, wrong)
        assert refused.value.code == code
    assert blobs.missing(spec.sha256) == [0, 1]


def test_a_chunk_that_rots_before_the_end_is_asked_for_again(tmp_path: Path) -> None:
    data, spec = blob(3, 2 * CHUNK_BYTES)
    blobs = store(tmp_path)
    blobs.begin(spec)
    for index in (0, 1):
        blobs.receive(spec.sha256, index, piece(data, index))
    part = tmp_path / "blobs" / "incoming" / f"{spec.sha256}.part"
    with part.open("r+b") as file:
        file.seek(CHUNK_BYTES + 5)
        file.write(b"rot")
    assert blobs.complete(spec.sha256) == [1]
    blobs.receive(spec.sha256, 1, piece(data, 1))
    assert blobs.complete(spec.sha256) == []


def test_only_what_changed_is_asked_for_and_equal_chunks_once(tmp_path: Path) -> None:
    data, spec = blob(4, 4 * CHUNK_BYTES)
    blobs = store(tmp_path)
    blobs.begin(spec)
    for index in range(4):
        blobs.receive(spec.sha256, index, piece(data, index))
    blobs.complete(spec.sha256)
    changed = data[: 2 * CHUNK_BYTES] + bytes(CHUNK_BYTES) * 2
    other = ReleaseFile(
        "m", len(changed), hashlib.sha256(changed).hexdigest(),
        tuple(hashlib.sha256(piece(changed, index)).hexdigest() for index in range(4)),
    )  # fmt: skip
    blobs = store(tmp_path)
    blobs.begin(other)
    assert blobs.missing(other.sha256) == [2], "two new chunks, but they are equal"
    blobs.receive(other.sha256, 2, bytes(CHUNK_BYTES))
    assert blobs.complete(other.sha256) == []
    assert blobs.path(other.sha256).read_bytes() == changed


def test_a_manifest_whose_whole_is_not_its_chunks_is_found_out(tmp_path: Path) -> None:
    data, spec = blob(5, CHUNK_BYTES)
    lying = ReleaseFile("m", spec.size_bytes, "0" * 64, spec.chunks)
    blobs = store(tmp_path)
    blobs.begin(lying)
    blobs.receive(lying.sha256, 0, data)
    with pytest.raises(DeviceError) as refused:
        blobs.complete(lying.sha256)
    assert refused.value.code == "bad-manifest"
    assert not blobs.has("0" * 64)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/etc/passwd", "A.onnx", "a\x00b", "ä", "-x" * 60, "con", "a..b"]
)
def test_no_name_leads_out_of_its_slot(tmp_path: Path, name: str) -> None:
    slots = SlotStore(DiskOps(), tmp_path / "slots", store(tmp_path))
    slots.prepare()
    for parts in ((name, "1-a"), ("m", name)):
        with pytest.raises(DeviceError):
            slots.path(*parts)
    with pytest.raises(EdgeStudioError):
        slots.build("m", "1-a", {name: "0" * 64})


def test_a_link_in_a_slots_place_is_not_followed(tmp_path: Path) -> None:
    blobs = store(tmp_path)
    digest = blobs.put(b"content")
    slots = SlotStore(DiskOps(), tmp_path / "slots", blobs)
    slots.prepare()
    folder = slots.build("m", "1-a", {"f": digest})
    assert folder.stat().st_mode & 0o777 == 0o500
    assert (folder / "f").stat().st_mode & 0o777 == 0o400
    assert (folder / "f").stat().st_nlink == 1
    folder.chmod(0o700)
    (folder / "f").unlink()
    (tmp_path / "elsewhere").write_bytes(b"content")
    (folder / "f").symlink_to(tmp_path / "elsewhere")
    assert not slots.is_intact("m", "1-a", {"f": digest})
    slots.build("m", "1-a", {"f": digest})
    assert slots.is_intact("m", "1-a", {"f": digest})
    assert (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_said_before_a_byte_is_sent_and_leaves_nothing(tmp_path: Path) -> None:
    asyncio.run(_full_disk(tmp_path))


async def _full_disk(tmp_path: Path) -> None:
    class Full(DiskOps):
        def free_bytes(self, path: Path) -> int:
            return 1 << 20

    board = releases.supervisor(tmp_path / "board", ops=Full())
    await board.start()
    try:
        with pytest.raises(DeviceError) as refused:
            await releases.offer(board, releases.make_release(tmp_path / "a"))
        assert refused.value.code == "no-space"
        assert not list((tmp_path / "board" / "blobs" / "incoming").iterdir())
        assert board.state()["models"] == {}
    finally:
        await board.stop()


def test_two_pushes_at_once_do_not_mix(tmp_path: Path) -> None:
    asyncio.run(_two_pushes(tmp_path))


async def _two_pushes(tmp_path: Path) -> None:
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        first, second = (
            releases.make_release(tmp_path / name, name=name, created=1.0) for name in ("one", "two")
        )

        async def offer(release: releases.LocalRelease, peer: str, key: str = "") -> dict[str, Any]:
            body = release.manifest.to_dict()
            return await board.offer(release.manifest.target, body, key, peer)

        one = await offer(first, "alice")
        assert (await offer(first, "alice", "another key"))["id"] == one["id"], "the same push goes on"
        with pytest.raises(InstallError) as refused:
            await offer(second, "bob")
        assert refused.value.code == "busy"
        replaced = await offer(second, "alice")
        assert board.install(one["id"])["state"] == "FAILED"
        assert "in its place" in board.install(one["id"])["reason"]
        assert (await board.abort(replaced["id"]))["state"] == "FAILED"
        assert not list((tmp_path / "board" / "blobs" / "incoming").iterdir())
        assert (await board.abort(replaced["id"]))["state"] == "FAILED"
        with pytest.raises(InstallError):
            board.install("nonsense")
        done = await releases.push(board, first)
        assert done["state"] == "COMMITTED"
    finally:
        await board.stop()


def test_a_stored_file_that_the_disk_does_not_give_is_an_error_in_words(tmp_path: Path) -> None:
    class Refusing(DiskOps):
        def read(self, path: Path) -> bytes:
            raise OSError(errno.EMFILE, "Too many open files", str(path))

    blobs = BlobStore(DiskOps(), tmp_path / "blobs")
    blobs.prepare()
    digest = blobs.put(b"a manifest")
    with pytest.raises(DeviceError) as caught:
        BlobStore(Refusing(), tmp_path / "blobs").read(digest)
    assert caught.value.code == "storage"
    assert blobs.read(digest) == b"a manifest"
