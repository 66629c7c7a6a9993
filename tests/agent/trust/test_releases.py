"""Signed releases against the attacks of TUF's threat list; every one is refused and what was trusted stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from edgestudio.agent.store.fsops import DiskOps
from edgestudio.agent.trust.releases import ReleaseTrust
from edgestudio.devices.publisher import Publisher, Release
from edgestudio.wire.errors import EdgeStudioError, InputError, TrustError
from edgestudio.wire.fields import canonical_json, parse_json
from edgestudio.wire.release import Requirements

PEER, OTHER = "a" * 64, "b" * 64
DAY_S = 86_400.0
Files = dict[str, bytes]


class Desk:
    """A publisher with a model, and what it would send."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model = folder / "model.onnx"
        self.model.write_bytes(b"model")
        self.publisher = Publisher(folder / "keys")

    def release(self, **changes: Any) -> Release:
        return self.publisher.publish("digits", {"model": self.model}, **changes)

    def files(self, release: Release, board: dict[str, int] | None = None) -> Files:
        return {**dict(self.publisher.metadata(board or {})), "release": release.manifest.to_bytes()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


@pytest.fixture
def trust(tmp_path: Path) -> ReleaseTrust:
    return ReleaseTrust(tmp_path / "tuf")


def push(
    trust: ReleaseTrust, files: Files, target: str, *, now: float | None = None, peer: str = PEER
) -> dict[str, Any]:
    for role, data in files.items():
        trust.stage(role, data, peer)
    return dict(trust.resolve(target, now if now is not None else time.time(), peer))


def refused(trust: ReleaseTrust, files: Files, target: str, code: str, *, now: float | None = None) -> None:
    before = trust.versions(PEER)
    with pytest.raises(TrustError) as e:
        push(trust, files, target, now=now)
    assert e.value.code == code, e.value
    after = trust.versions(PEER)
    assert after["targets"] == before["targets"]
    assert all(after[role] >= before[role] for role in before), (
        "what holds by itself may be newer, never older"
    )


def signed(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(data)["signed"]
    return value


def test_releases_are_accepted_in_turn_and_remembered(
    desk: Desk, trust: ReleaseTrust, tmp_path: Path
) -> None:
    for counter in (1, 2, 3):
        release = desk.release()
        files = desk.files(release, trust.versions(PEER))
        assert ("1.root" in files) == (counter == 1)
        assert push(trust, files, release.target)["counter"] == counter
    assert ReleaseTrust(tmp_path / "tuf").versions(PEER) == trust.versions(PEER)
    assert len(list((tmp_path / "tuf" / PEER).iterdir())) == 2  # one generation and its pointer
    age = trust.metadata_age_s(time.time())
    assert age is not None
    assert 0 <= age < 60


def test_replay_of_an_older_list_is_refused(desk: Desk, trust: ReleaseTrust) -> None:
    old = desk.release()
    old_files = desk.files(old)
    push(trust, desk.files(desk.release()), "digits/2.json")
    refused(trust, old_files, old.target, "replayed")


def test_freeze_by_an_expired_list_is_refused_by_the_boards_own_time(desk: Desk, trust: ReleaseTrust) -> None:
    release = desk.release()
    files = desk.files(release)
    refused(trust, files, release.target, "expired", now=time.time() + 40 * DAY_S)
    # The judge is the time that is passed in, not the wall clock.
    assert push(trust, files, release.target, now=time.time() + 5 * DAY_S)["counter"] == 1


def test_mix_and_match_is_refused(desk: Desk, trust: ReleaseTrust) -> None:
    old = desk.files(desk.release())
    new = desk.release()
    refused(trust, {**desk.files(new), "snapshot": old["snapshot"]}, new.target, "replayed")
    refused(trust, {**desk.files(new), "targets": old["targets"]}, new.target, "replayed")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_tampering_is_refused(desk: Desk, trust: ReleaseTrust, role: str) -> None:
    release = desk.release()
    files = desk.files(release)
    changed = json.loads(files[role])
    changed["signed"]["version"] += 5
    refused(trust, {**files, role: canonical_json(changed)}, release.target, "bad-signature")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_missing_part_is_refused(desk: Desk, trust: ReleaseTrust, role: str) -> None:
    release = desk.release()
    files = desk.files(release)
    files.pop(role)
    refused(trust, files, release.target, "incomplete-metadata")


def test_a_list_of_another_studio_is_refused(desk: Desk, trust: ReleaseTrust, tmp_path: Path) -> None:
    push(trust, desk.files(desk.release()), "digits/1.json")
    stranger = Desk(tmp_path / "stranger")
    release = stranger.release()
    refused(trust, stranger.files(release), release.target, "bad-signature")
    # It has a chain of its own, as a paired studio of its own.
    assert push(trust, stranger.files(release), release.target, peer=OTHER)["counter"] == 1


@pytest.mark.parametrize(
    ("role", "signer"), [("targets", "timestamp"), ("timestamp", "targets"), ("snapshot", "root")]
)
def test_the_right_key_of_the_wrong_role_is_refused(
    desk: Desk, trust: ReleaseTrust, role: str, signer: str
) -> None:
    release = desk.release()
    files = desk.files(release)
    book = json.loads((desk.model.parent / "keys" / "releases.json").read_bytes())
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(book["keys"][signer].encode(), None)
    metadata: Metadata[Any] = Metadata.from_bytes(files[role])
    metadata.sign(CryptoSigner(key))  # type: ignore[arg-type]
    refused(trust, {**files, role: metadata.to_bytes()}, release.target, "bad-signature")


def test_a_root_that_the_trusted_one_did_not_sign_is_refused(
    desk: Desk, trust: ReleaseTrust, tmp_path: Path
) -> None:
    push(trust, desk.files(desk.release()), "digits/1.json")
    thief = Desk(tmp_path / "thief")
    thief.publisher.rotate("root")
    release = thief.release()
    files = {**thief.files(release, {"root": 1}), **dict(thief.publisher.metadata({}))}
    refused(trust, files, release.target, "bad-signature")


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_a_stolen_key_is_rotated_away(desk: Desk, trust: ReleaseTrust, tmp_path: Path, role: str) -> None:
    push(trust, desk.files(desk.release()), "digits/1.json")
    stolen = desk.model.parent / "stolen"
    stolen.mkdir()
    (stolen / "releases.json").write_bytes((desk.model.parent / "keys" / "releases.json").read_bytes())
    assert desk.publisher.rotate(role) == 2
    release = desk.release()
    assert push(trust, desk.files(release, trust.versions(PEER)), release.target)["counter"] == 2
    thief = Publisher(stolen)
    for _ in range(5):
        forged = thief.publish("digits", {"model": desk.model})
    if role == "root":  # what a stolen root key is for: making the next root
        thief.rotate("root")
        thief.rotate("targets")
    files = {**dict(thief.metadata({"root": 2})), "release": forged.manifest.to_bytes()}
    refused(trust, files, forged.target, "bad-signature")


def test_withdrawn_and_unknown_releases_are_refused(desk: Desk, trust: ReleaseTrust) -> None:
    release = desk.release()
    desk.publisher.withdraw(release.target)
    for target in (release.target, "other/1.json"):
        with pytest.raises(TrustError) as e:
            push(trust, desk.files(release), target)
        assert e.value.code == "not-released"


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        value = parse_json(data)
        change(value)
        return canonical_json(value)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        _edit(lambda m: m.update(counter=99)),
        _edit(lambda m: m["files"]["model"].update(sha256="0" * 64)),
        _edit(lambda m: m["requires"].update(min_memory_bytes=0, runtimes=[])),
        lambda data: data + b" ",
        lambda data: b"",
        lambda data: b"{}",
    ],
)
def test_a_manifest_that_was_not_signed_is_refused(
    desk: Desk, trust: ReleaseTrust, edit: Callable[[bytes], bytes]
) -> None:
    release = desk.release(requires=Requirements(runtimes=("onnxruntime",), min_memory_bytes=5))
    files = desk.files(release)
    with pytest.raises(TrustError) as e:
        push(trust, {**files, "release": edit(files["release"])}, release.target)
    assert e.value.code == "bad-signature"


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"null", b'{"signed":1}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("role", ["1.root", "timestamp", "targets"])
def test_junk_is_refused_without_another_error(
    desk: Desk, trust: ReleaseTrust, role: str, junk: bytes
) -> None:
    release = desk.release()
    with pytest.raises(TrustError):
        push(trust, {**desk.files(release), role: junk}, release.target)
    assert push(trust, desk.files(release), release.target)["counter"] == 1


@pytest.mark.parametrize("role", ["", "root", "../x", "0.root", "1.root.json", "mirrors", "9999999.root"])
def test_unknown_roles_are_refused(trust: ReleaseTrust, role: str) -> None:
    with pytest.raises(TrustError):
        trust.stage(role, b"{}", PEER)


def test_endless_metadata_is_refused(trust: ReleaseTrust) -> None:
    with pytest.raises(TrustError) as e:
        trust.stage("timestamp", b" " * 20_000, PEER)
    assert e.value.code == "metadata-too-big"
    for version in range(1, 17):
        trust.stage(f"{version}.root", b"{}", PEER)
    with pytest.raises(TrustError):
        trust.stage("17.root", b"{}", PEER)


def test_without_a_root_nothing_is_believed(desk: Desk, trust: ReleaseTrust) -> None:
    release = desk.release()
    files = desk.files(release)
    files.pop("1.root")
    with pytest.raises(TrustError) as e:
        push(trust, files, release.target)
    assert e.value.code == "no-root"


def test_an_unpaired_studio_is_forgotten(desk: Desk, trust: ReleaseTrust, tmp_path: Path) -> None:
    push(trust, desk.files(desk.release()), "digits/1.json")
    trust.forget(PEER)
    assert set(trust.versions(PEER).values()) == {0}
    assert not (tmp_path / "tuf" / PEER).exists()
    with pytest.raises(TrustError):
        trust.versions("../../etc")


def test_a_provisioned_root_is_the_first_one(desk: Desk, trust: ReleaseTrust, tmp_path: Path) -> None:
    root = dict(desk.publisher.metadata({}))["1.root"]
    trust.provision(root, PEER)
    assert trust.versions(PEER)["root"] == 1
    stranger = Desk(tmp_path / "stranger")
    refused(trust, stranger.files(stranger.release()), "digits/1.json", "bad-signature")
    release = desk.release()
    assert push(trust, desk.files(release, trust.versions(PEER)), release.target)["counter"] == 1
    with pytest.raises(EdgeStudioError):
        trust.provision(b"{}", OTHER)


class PowerCutError(Exception):
    pass


class CutDisk(DiskOps):
    """A real disk that dies before its n-th change."""

    def __init__(self, changes: int) -> None:
        self.left = changes

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in ("mkdir", "write_new", "fsync", "fsync_dir", "replace", "remove", "rmdir", "protect"):
            self.left -= 1
            if self.left < 0:
                raise PowerCutError
        return value


def test_a_power_cut_anywhere_leaves_the_old_trust_or_the_new(desk: Desk, tmp_path: Path) -> None:
    first = desk.release()
    first_files = desk.files(first)
    second = desk.release()
    second_files = desk.files(second)
    changes, cuts, outcomes = 0, 0, set()
    while True:
        folder = tmp_path / f"cut{changes}"
        push(ReleaseTrust(folder), first_files, first.target)
        old = ReleaseTrust(folder).versions(PEER)
        try:
            push(ReleaseTrust(folder, CutDisk(changes)), second_files, second.target)
            finished = True
        except PowerCutError:
            finished, cuts = False, cuts + 1
        after = ReleaseTrust(folder).versions(PEER)
        new = {role: signed(second_files[role])["version"] for role in ("timestamp", "snapshot", "targets")}
        assert after in (old, {**new, "root": 1}), changes
        outcomes.add(after == old)
        assert push(ReleaseTrust(folder), second_files, second.target)["counter"] == 2
        if finished:
            break
        changes += 1
    assert cuts > 12
    assert outcomes == {True, False}


def test_counters_grow_above_what_a_board_asks_for(desk: Desk) -> None:
    assert desk.release().manifest.counter == 1
    assert desk.release(floor=41).manifest.counter == 42
    assert desk.release().manifest.counter == 43
    with pytest.raises(InputError):
        desk.publisher.publish("../x", {"model": desk.model})
