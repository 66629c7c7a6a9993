"""What may be removed: everything that no running, previous, arriving or recently committed release needs."""

from __future__ import annotations

from collections.abc import Callable, Collection

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


def collect(
    state: BoardState, blobs: BlobStore, slots: SlotStore, files_of: Callable[[str], Collection[str]]
) -> int:
    """Remove slots and blobs that `state`, as it is on disk, does not need; returns how many.

    `files_of` gives the blob digests of the release whose manifest has a digest. When it cannot be read
    nothing is removed: a full disk is better than a lost release.
    """
    keep = releases_to_keep(state)
    needed: set[str] = set()
    for release in keep:
        row = state.releases[release]
        needed.add(row.manifest)
        needed.update(files_of(row.manifest))
    removed = 0
    for model, release in slots.releases():
        if release not in keep:
            slots.remove(model, release)
            removed += 1
    for digest in blobs.digests():
        if digest not in needed:
            blobs.remove(digest)
            removed += 1
    return removed
