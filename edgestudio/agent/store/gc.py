"""What may be removed: everything that no running, previous, arriving or recently committed release needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from edgestudio.agent.store.blobs import BlobStore
from edgestudio.agent.store.slots import SlotStore
from edgestudio.agent.store.state import BoardState

KEPT_COMMITTED = 2
FINISHED = frozenset({"COMMITTED", "FAILED"})


def releases_to_keep(state: BoardState) -> set[str]:
    """Release ids that must stay: every slot in use, open installs, the newest two committed of each model."""
    keep: set[str] = set()
    for name, model in state.models.items():
        keep.update(filter(None, (model.active, model.previous, model.candidate)))
        committed = [
            (row.committed_at, release)
            for release, row in state.releases.items()
            if row.model == name and row.committed_at is not None
        ]
        keep.update(release for _, release in sorted(committed, reverse=True)[:KEPT_COMMITTED])
    keep.update(row.release for row in state.installs.values() if row.state not in FINISHED)
    return keep


def forget_releases(state: BoardState) -> None:
    """Drop the rows of releases that need not stay; takes effect with the next save, before `collect`."""
    keep = releases_to_keep(state)
    state.releases = {release: row for release, row in state.releases.items() if release in keep}


@dataclass(frozen=True)
class Needed:
    """What must stay on disk: release ids, digests of blobs, digests of models."""

    releases: frozenset[str]
    blobs: frozenset[str]
    models: frozenset[str]


def needed(state: BoardState, files_of: Callable[[str], Collection[str]]) -> Needed:
    """What `state`, as it is on disk, needs.

    `files_of` gives the blob digests of the release whose manifest has a digest. It raises when one cannot be read, and
    then nothing may be removed: a full disk is better than a lost release.
    """
    keep = releases_to_keep(state)
    blobs: set[str] = set()
    for release in keep:
        row = state.releases[release]
        blobs.add(row.manifest)
        blobs.update(files_of(row.manifest))
    models = frozenset(row.model_sha256 for row in state.releases.values())
    return Needed(frozenset(keep), frozenset(blobs), models)


def remove_others(what: Needed, blobs: BlobStore, slots: SlotStore) -> int:
    """Remove every slot and blob but `what` is needed; returns how many."""
    removed = 0
    for model, release in slots.releases():
        if release not in what.releases:
            slots.remove(model, release)
            removed += 1
    for digest in blobs.digests():
        if digest not in what.blobs:
            blobs.remove(digest)
            removed += 1
    return removed
