"""Fault 1: a power cut at any file operation of an install leaves the old release or the new one, whole."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from edgestudio.agent.store.board import BoardStore, release_row
from edgestudio.agent.store.state import InstallRow, ModelRow
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.release import ReleaseFile, ReleaseManifest
from tests.agent.crashfs import CrashFS, PowerCutError

ROOT = Path("/board")  # installed by a package, so that it is there
CONTENTS = {1: b"OLDMODEL" * 4, 2: b"NEWMODEL" * 4}


def manifest(counter: int) -> ReleaseManifest:
    data = CONTENTS[counter]
    digest = hashlib.sha256(data).hexdigest()
    file = ReleaseFile("model.onnx", len(data), digest, (digest,))
    return ReleaseManifest("m", f"{counter}.0", counter, {"model": file}, created=float(counter))


def opened(fs: CrashFS) -> BoardStore:
    store = BoardStore(fs, ROOT)
    store.open()
    return store


def install(store: BoardStore, counter: int) -> None:
    """What the machine does to the disk, in its order."""
    release = manifest(counter)
    digest, name = store.keep_manifest(release)
    state = store.state
    state.releases[name] = release_row(release, digest)
    slots = state.models.setdefault("m", ModelRow())
    row = InstallRow("i", "m", name, "", "", "", "", "OFFERED", 0.0)
    state.installs["i"] = row
    store.save()
    file = release.files["model"]
    store.blobs.begin(file)
    row.state = "RECEIVING"
    store.save()
    store.blobs.receive(file.sha256, 0, CONTENTS[counter])
    assert store.blobs.complete(file.sha256) == []
    row.state = "VERIFIED"
    store.save()
    store.build_slot(name)
    row.state, slots.candidate = "TRIAL", name
    row.tries["TRIAL"] = 1
    store.save()
    slots.previous, slots.active, slots.candidate, slots.floor = slots.active, name, None, counter
    state.releases[name].committed_at = float(counter)
    row.state = "COMMITTED"
    store.save()
    store.collect()


def base() -> CrashFS:
    """A disk on which release 1 is installed."""
    return copy.deepcopy(_installed())


@functools.cache
def _installed() -> CrashFS:
    fs = CrashFS(folders={ROOT})
    install(opened(fs), 1)
    # Long ago: everything has reached the disk since.
    return CrashFS({path: fs.read(path) for path in fs.names}, fs.folders)


def violation(fs: CrashFS, promised: int) -> str:
    """What is wrong with a disk that was found after a power cut; "" for nothing.

    `promised` is the generation of the state that the board had reported as durable.
    """
    try:
        store = opened(fs)
        active = store.state.models["m"].active if "m" in store.state.models else None
        if store.state.safe_mode:
            return "safe mode"
        if store.state.generation < promised:
            return "a state that was reported is lost"
        if active is None:
            return "nothing is active"
        counter = store.state.releases[active].counter
        if store.damage(active):
            return "the active release is damaged"
        folder = store.build_slot(active)
        if fs.read(folder / "model.onnx") != CONTENTS[counter]:
            return "the slot holds something else"
        if any("manifest is gone" in row.reason for row in store.state.installs.values()):
            return "an accepted offer is forgotten"
        for row in store.state.installs.values():
            if row.state in ("VERIFIED", "TRIAL", "COMMITTED") and store.damage(row.release):
                return f"in {row.state} the candidate is damaged"
    except (EdgeStudioError, OSError, KeyError) as error:
        return f"it cannot be opened: {error}"
    return ""


def explore(
    skip: Iterable[int] = (), *, start: int = 0, is_first_enough: bool = False
) -> tuple[int, int, dict[str, int]]:
    """(operations, states, violations) of an install with the power cut at every operation from `start` on."""
    fs = base()
    install(opened(fs), 2)
    total, states = fs.count, 0
    found: dict[str, int] = {}
    for stop in range(start, total + 1):
        fs = base()
        fs.skip, fs.stop_at = set(skip), stop
        store = BoardStore(fs, ROOT)
        promised: list[int] = [0]
        store.file.on_change = lambda kept=promised, store=store: kept.append(store.state.generation)  # type: ignore[misc]
        with contextlib.suppress(PowerCutError):
            store.open()
            install(store, 2)
        for disk in fs.after_power_cut():
            states += 1
            if wrong := violation(disk, promised[-1]):
                found[wrong] = found.get(wrong, 0) + 1
                if is_first_enough:
                    return total, states, found
    return total, states, found


def test_every_power_cut_leaves_the_old_release_or_the_new_one() -> None:
    operations, states, found = explore()
    assert operations > 40
    assert states > 100
    assert found == {}


def test_leaving_out_any_one_fsync_is_noticed() -> None:
    """The enumeration itself works, and no sync is there for nothing."""
    fs = base()
    install(opened(fs), 2)
    assert fs.sync_number > 10
    # Up to the sync that is left out, every disk is one of the test above.
    unnoticed = [
        number
        for number, operation in enumerate(fs.sync_operations, 1)
        if not explore([number], start=operation, is_first_enough=True)[2]
    ]
    assert unnoticed == []
