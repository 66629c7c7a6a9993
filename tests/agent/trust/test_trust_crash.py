"""Every state that a disk can be in after a power cut, while what is trusted changes; and that each fsync is needed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgestudio.agent.trust.releases import ReleaseTrust
from edgestudio.devices.publisher import Publisher
from tests.agent.crashfs import CrashFS, PowerCutError

PEER = "a" * 64
FOLDER = Path("/tuf")


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, bytes]]]:
    folder = tmp_path_factory.mktemp("desk")
    model = folder / "m.onnx"
    model.write_bytes(b"m")
    publisher = Publisher(folder / "p")
    made = []
    for _ in range(2):
        release = publisher.publish("digits", {"model": model})
        files = {**dict(publisher.metadata({})), "release": release.manifest.to_bytes()}
        made.append((release.target, files))
    return made


def push(disk: CrashFS, target: str, files: dict[str, bytes]) -> None:
    trust = ReleaseTrust(FOLDER, disk)
    for role, data in files.items():
        trust.stage(role, data, PEER)
    trust.resolve(target, time.time(), PEER)


def settled(disk: CrashFS) -> CrashFS:
    """The same disk with everything on it durable."""
    return CrashFS({path: disk.read(path) for path in disk.names}, disk.folders)


def check(pushes: list[tuple[str, dict[str, bytes]]], skip: set[int]) -> tuple[int, int]:
    """How many states were looked at, and how many were neither the old trust nor the new."""
    base = CrashFS()
    push(base, *pushes[0])
    first = ReleaseTrust(FOLDER, base).versions(PEER)
    whole = settled(base)
    push(whole, *pushes[1])
    second = ReleaseTrust(FOLDER, whole).versions(PEER)
    operations = whole.count
    states = violations = 0
    for stop in range(operations + 1):
        disk = settled(base)
        disk.stop_at, disk.skip = stop, skip
        try:
            push(disk, *pushes[1])
        except PowerCutError:
            allowed = [first, second]
        else:
            allowed = [second]  # it was said to be done
        for after in disk.after_power_cut():
            states += 1
            try:
                found = ReleaseTrust(FOLDER, after).versions(PEER)
            except Exception:
                found = {}
            violations += found not in allowed
    return states, violations


def test_every_crash_state_holds_the_old_trust_or_the_new(pushes: list[tuple[str, dict[str, bytes]]]) -> None:
    states, violations = check(pushes, set())
    assert states > 40
    assert violations == 0


def test_the_harness_notices_a_missing_fsync(pushes: list[tuple[str, dict[str, bytes]]]) -> None:
    counting = CrashFS()
    push(counting, *pushes[0])
    before = settled(counting)
    push(before, *pushes[1])
    needed = [number for number in range(1, before.sync_number + 1) if check(pushes, {number})[1] > 0]
    assert len(needed) >= before.sync_number - 1, (needed, before.sync_number)
