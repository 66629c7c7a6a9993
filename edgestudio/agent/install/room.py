"""Whether a candidate fits into memory beside what serves, so that a small board pauses instead of being killed."""

from __future__ import annotations

import psutil

from edgestudio.wire.release import ROLE_MODEL, ReleaseManifest

RUNTIME_BYTES = 96 << 20
"""What a model's process takes before it has a model."""
WEIGHTS_TIMES = 3
"""The file, the weights as the runtime packs them, and what runs through them."""
RESERVE_BYTES = 64 << 20


def needed_bytes(manifest: ReleaseManifest) -> int:
    """What the release will probably use: its own limit where it states one, else an estimate from its file."""
    stated = manifest.limits.memory_bytes
    guess = RUNTIME_BYTES + WEIGHTS_TIMES * manifest.files[ROLE_MODEL].size_bytes
    return max(stated, RUNTIME_BYTES) if stated is not None else guess


def available_bytes() -> int:
    """Memory that a new process may take without anything being killed or swapped."""
    return int(psutil.virtual_memory().available)


def fits(manifest: ReleaseManifest, available: int) -> bool:
    """Whether the release can be loaded while everything else stays loaded."""
    return available >= needed_bytes(manifest) + RESERVE_BYTES
