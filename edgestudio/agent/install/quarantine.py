"""Releases that failed here: what they are called, why they are refused, and how a person lets one be tried again."""

from __future__ import annotations

from typing import Any

from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.state import ModelRow, ReleaseRow
from edgestudio.wire.errors import DeviceError

MAX_QUARANTINED = 200
"""Of a model. A signed list names the newest 50 releases of it, so that what is given up for more cannot be offered."""


def put_away(slots: ModelRow, release: ReleaseRow, reason: str) -> None:
    """Refuse `release` from now on; takes effect with the next save.

    Where there are too many, the lowest counters go first: what is not above the model's floor is refused all the same,
    and anything else would be tried and judged again.
    """
    slots.quarantine[release.manifest] = reason
    slots.failed[release.manifest] = release.counter
    while len(slots.quarantine) > MAX_QUARANTINED:
        oldest = min(slots.quarantine, key=lambda digest: (slots.failed.get(digest, 0), digest))
        del slots.quarantine[oldest]
        slots.failed.pop(oldest, None)


def quarantined(store: BoardStore, model: str) -> list[dict[str, Any]]:
    """What is refused of `model`: {manifest, reason, version, release}; the last two are null once forgotten."""
    row = store.state.models.get(model)
    # Failed releases are forgotten soon; their installs are remembered longer, and a release is called COUNTER-DIGEST.
    tried = {each.release: each.version for each in store.state.installs.values() if each.model == model}
    found = []
    for digest, reason in (row.quarantine if row else {}).items():
        release = next((name for name in tried if is_release_of(name, digest)), None)
        found.append(
            {
                "manifest": digest,
                "reason": reason,
                "version": tried[release] if release else None,
                "release": int(release.split("-")[0]) if release else None,
            }
        )
    return found


def is_release_of(release: str, manifest: str) -> bool:
    """Whether the release of this id has the manifest of this digest."""
    counter, _, start = release.partition("-")
    return counter.isdecimal() and bool(start) and manifest.startswith(start)


def let_go(store: BoardStore, model: str, digest: str) -> str:
    """Take the manifest `digest` of `model` out of quarantine, durably; returns why it was there.

    It may then be offered again; the counter's floor still holds. Raises DeviceError `not-quarantined`, or what the
    disk says, and then it stays where it was.
    """
    row = store.state.models.get(model)
    if row is None or digest not in row.quarantine:
        raise DeviceError(
            f"No such release of {model} is in quarantine on this board.",
            hint="The board's state lists what is.",
            code="not-quarantined",
        )
    quarantine, failed = dict(row.quarantine), dict(row.failed)
    reason = row.quarantine.pop(digest)
    row.failed.pop(digest, None)
    try:
        store.save()
    except DeviceError:
        row.quarantine, row.failed = quarantine, failed
        raise
    return reason
