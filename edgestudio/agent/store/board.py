"""Everything the board keeps, opened together: state, blobs, slots, and the manifests that tie them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from edgestudio.agent.store.blobs import BlobStore
from edgestudio.agent.store.derived import DerivedStore
from edgestudio.agent.store.fsops import FileOps, make_folder
from edgestudio.agent.store.gc import (
    FINISHED,
    Needed,
    forget_releases,
    needed,
    releases_to_keep,
    remove_others,
)
from edgestudio.agent.store.slots import MANIFEST, SlotStore
from edgestudio.agent.store.state import BoardState, ModelRow, ReleaseRow, StateFile
from edgestudio.wire.errors import DeviceError, EdgeStudioError
from edgestudio.wire.fields import parse_json
from edgestudio.wire.release import ROLE_MODEL, ReleaseManifest


class BoardStore:
    """The store of one data folder. `open` recovers from whatever an interrupted process left behind."""

    def __init__(self, ops: FileOps, folder: Path) -> None:
        self.ops = ops
        self.folder = folder
        self.blobs = BlobStore(ops, folder / "blobs")
        self.slots = SlotStore(ops, folder / "slots", self.blobs)
        self.derived = DerivedStore(ops, folder / "derived")
        self.file = StateFile(ops, folder)
        self.tidying = asyncio.Lock()
        """Held while something is removed: what an offer brings has no row yet, and would go with the rest."""
        self.verdict = "new"
        """What `open` found: current, previous, new or lost."""

    @property
    def state(self) -> BoardState:
        """The present state; `save` makes changes durable."""
        return self.file.state

    def save(self) -> None:
        """Make the present state durable."""
        self.file.save()

    def open(self) -> None:
        """Read everything, sweep leftovers, drop references to what is gone."""
        make_folder(self.ops, self.folder)
        self.blobs.prepare()
        self.slots.prepare()
        self.derived.prepare()
        self.verdict = self.file.load()
        if self.verdict == "lost" or (self.verdict == "new" and self.slots.releases()):
            self.verdict = "lost"
            self._rebuild()
        self._drop_missing()
        self.blobs.sweep(self._arriving())

    def manifest(self, release: str) -> ReleaseManifest:
        """The manifest of a release that the board has; DeviceError `damaged` when it cannot be read."""
        row = self.state.releases.get(release)
        if row is None:
            raise DeviceError(f"The board does not have the release {release}.", code="no-release")
        return self._manifest_of(row.manifest)

    def keep_manifest(self, manifest: ReleaseManifest) -> tuple[str, str]:
        """Store a manifest; returns its digest and the release id that the slot will have."""
        digest = self.blobs.put(manifest.to_bytes())
        return digest, release_id(manifest, digest)

    def slot_files(self, release: str) -> dict[str, str]:
        """What the slot of `release` holds: file name -> digest."""
        files = {file.name: file.sha256 for file in self.manifest(release).files.values()}
        files[MANIFEST] = self.state.releases[release].manifest
        return files

    def build_slot(self, release: str) -> Path:
        """Lay the release out, or leave a slot that is intact."""
        row = self.state.releases[release]
        files = self.slot_files(release)
        if self.slots.is_intact(row.model, release, files):
            return self.slots.path(row.model, release)
        return self.slots.build(row.model, release, files)

    def damage(self, release: str) -> list[str]:
        """Digests of the release's blobs that are missing or rotten; reads every byte."""
        return sorted(
            {digest for digest in self.slot_files(release).values() if not self.blobs.is_intact(digest)}
        )

    def collect(self) -> int:
        """Remove what no release needs; returns how many slots and blobs went."""
        kept = self.forget()
        return self.remove_others(kept) if kept is not None else 0

    def forget(self) -> Needed | None:
        """Drop the rows of what need not stay, durably; what must stay on disk, None when that cannot be known.

        As everything that changes the state, this belongs to the loop's thread.
        """
        forget_releases(self.state)
        self.file.forget_old_installs()
        self.save()
        try:
            return needed(self.state, self._blobs_of)
        except EdgeStudioError:
            return None  # a manifest that cannot be read: remove nothing

    def remove_others(self, kept: Needed) -> int:
        """Remove everything but `kept` from the disk; may run in a thread while nothing new is taken in."""
        try:
            return remove_others(kept, self.blobs, self.slots) + self.derived.collect(kept.models)
        except EdgeStudioError:
            return 0

    def release_row(self, release: str | None) -> ReleaseRow | None:
        """The row of `release`, None when there is none."""
        return self.state.releases.get(release) if release else None

    def _manifest_of(self, digest: str) -> ReleaseManifest:
        return ReleaseManifest.from_dict(parse_json(self.blobs.read(digest), where="a stored manifest"))

    def _blobs_of(self, manifest: str) -> list[str]:
        return [file.sha256 for file in self._manifest_of(manifest).files.values()]

    def _arriving(self) -> list[str]:
        wanted: list[str] = []
        for row in self.state.installs.values():
            if row.state not in FINISHED and row.release in self.state.releases:
                try:
                    wanted += self._blobs_of(self.state.releases[row.release].manifest)
                except EdgeStudioError:
                    continue
        return wanted

    def _drop_missing(self) -> None:
        """A previous generation of the state may name releases that were collected since."""
        missing = {
            release for release, row in self.state.releases.items() if not self.blobs.has(row.manifest)
        }
        for model in self.state.models.values():
            model.active = None if model.active in missing else model.active
            model.previous = None if model.previous in missing else model.previous
            model.candidate = None if model.candidate in missing else model.candidate
        for install in self.state.installs.values():
            if install.release in missing and install.state not in FINISHED:
                install.state, install.reason = "FAILED", "its manifest is gone"
        for release in missing:
            del self.state.releases[release]

    def _rebuild(self) -> None:
        """Both generations of the state are unreadable: take from the slots what can be known, serve nothing."""
        for model, release in self.slots.releases():
            try:
                data = self.slots.read(model, release, MANIFEST)
                manifest = ReleaseManifest.from_dict(parse_json(data, where="a slot's manifest"))
            except (OSError, EdgeStudioError):
                continue
            digest = self.blobs.put(data)
            self.state.releases[release] = release_row(manifest, digest)
            self.state.releases[release].committed_at = time.time()
            row = self.state.models.setdefault(model, ModelRow())
            row.floor = max(row.floor, manifest.counter)
            if row.active is None or self.state.releases[row.active].counter < manifest.counter:
                row.previous, row.active = row.active, release
            elif row.previous is None or self.state.releases[row.previous].counter < manifest.counter:
                row.previous = release
        self.state.safe_mode = (
            "the state file was unreadable in both generations and was rebuilt from the slots"
        )
        self.save()


def release_id(manifest: ReleaseManifest, digest: str) -> str:
    """The name of a release's slot: its counter and the start of its manifest's digest."""
    return f"{manifest.counter}-{digest[:12]}"


def release_row(manifest: ReleaseManifest, digest: str) -> ReleaseRow:
    """The row of a manifest that is stored under `digest`."""
    return ReleaseRow(
        model=manifest.model,
        version=manifest.version,
        counter=manifest.counter,
        manifest=digest,
        model_sha256=manifest.files[ROLE_MODEL].sha256,
    )


def paths_by_role(manifest: ReleaseManifest, folder: Path) -> Mapping[str, Path]:
    """Where each of the release's files is in its slot."""
    return {role: folder / file.name for role, file in manifest.files.items()}


__all__ = ["BoardStore", "paths_by_role", "release_id", "release_row", "releases_to_keep"]
