"""Files that this board made from models for its own libraries: engines, optimised models. Trusted by digest alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.agent.store.fsops import FileOps, storage_error
from edgestudio.runtime.derive import name_of
from edgestudio.wire.errors import DeviceError

READ_BYTES = 4 << 20
MAX_BYTES = 4 << 30
KEPT_VERSIONS = 2
"""Of each model and library: what a library that was updated needs, and what it needed before."""
KEPT_ORPHANS = 2
"""Of models whose release failed or is gone: the next push of the same model need not wait for a build again."""
ROOM_TIMES = 4
"""An engine takes up to about so many times its model's size, with room to write it."""


@dataclass(frozen=True)
class DerivedFile:
    """What is known for a key: `path` of a file that is as it was when it was built, or why there is none."""

    path: Path | None
    refused: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class DerivedStore:
    """`root`/NAME and `root`/NAME.json with the key, the digest at the time of building, and what was measured.

    A record comes after its file is durable, and a file without a record is no file. What is lost is built again.
    """

    def __init__(self, ops: FileOps, root: Path) -> None:
        self._ops = ops
        self._root = root

    @property
    def folder(self) -> Path:
        """Where everything that was built lies."""
        return self._root

    def prepare(self) -> None:
        """Make the folder and remove what an interrupted build left behind."""
        self._ops.mkdir(self._root)
        for name in self._ops.list_dir(self._root):
            is_alone = not name.endswith(".json") and not self._ops.exists(self._root / f"{name}.json")
            if name.endswith(".part") or is_alone:
                self._remove(name)

    def find(self, key: Mapping[str, Any]) -> DerivedFile | None:
        """What was built for exactly this key; None when nothing was, or when it is not as it was built any more."""
        name = name_of(key)
        record = self._record(name)
        if record is None or record["key"] != dict(key):
            return None
        if record["refused"]:
            return DerivedFile(None, str(record["refused"]), record["facts"])
        if self._digest(name) != record["sha256"]:
            self.forget(key)
            return None
        return DerivedFile(self._root / name, "", record["facts"])

    def begin(self, key: Mapping[str, Any], model_bytes: int) -> Path:
        """An empty file that a builder may fill; DeviceError `no-space` when there is too little room."""
        part = self._part(key)
        free, needed = self._ops.free_bytes(self._root), ROOM_TIMES * model_bytes
        if free < needed:
            raise DeviceError(
                f"The board has {free / 2**20:,.0f} MiB free, and building for this model may take "
                f"{needed / 2**20:,.0f} MiB.",
                hint="Remove models that are no longer used, or free space on the board.",
                code="no-space",
            )
        try:
            self._ops.remove(part)
            self._ops.write_new(part, b"")
        except OSError as failure:
            raise storage_error(failure, "making room for a build") from failure
        return part

    def keep(self, key: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
        """Take over what a builder wrote: durable, read-only, its digest recorded; returns where it is."""
        part, name = self._part(key), name_of(key)
        try:
            self._ops.protect(part, 0o400)
            self._ops.fsync(part)
            self.forget(key)
            self._ops.replace(part, self._root / name)
            self._ops.fsync_dir(self._root)
        except OSError as failure:
            raise storage_error(failure, "keeping what was built") from failure
        self._write(name, key, facts, digest=self._digest(name), refused="")
        return self._root / name

    def refuse(self, key: Mapping[str, Any], reason: str, facts: Mapping[str, Any] | None = None) -> None:
        """Remember that nothing can, or need, be built for this key, so that it is not tried at every start."""
        self.drop(key)
        self.forget(key)
        self._write(name_of(key), key, facts or {}, digest=None, refused=reason[:500] or "it failed")

    def drop(self, key: Mapping[str, Any]) -> None:
        """Remove what an interrupted build of this key left."""
        self._remove(self._part(key).name)

    def forget(self, key: Mapping[str, Any]) -> None:
        """Remove what is known for this key."""
        self._remove(f"{name_of(key)}.json")
        self._remove(name_of(key))

    def collect(self, models: Collection[str], max_bytes: int = MAX_BYTES) -> int:
        """Remove old versions, all but the newest of what no model of `models` (digests) has, and what is too much."""
        names = [
            entry.removesuffix(".json") for entry in self._ops.list_dir(self._root) if entry.endswith(".json")
        ]
        records = [(name, self._record(name)) for name in names]
        rows = [(float(record["built_at"]), name, record) for name, record in records if record is not None]
        removed, kept_bytes, orphans = 0, 0, 0
        versions: dict[tuple[str, str, str], int] = {}
        for _, name, record in sorted(rows, key=lambda row: row[:2], reverse=True):
            key = record["key"]
            kind = (str(key["model"]), str(key["backend"]), str(key["provider"]))
            size = self._ops.size(self._root / name) or 0
            versions[kind] = versions.get(kind, 0) + 1
            orphans += kind[0] not in models
            is_wanted = kind[0] in models or orphans <= KEPT_ORPHANS
            if is_wanted and versions[kind] <= KEPT_VERSIONS and kept_bytes + size <= max_bytes:
                kept_bytes += size
                continue
            self._remove(f"{name}.json")
            self._remove(name)
            removed += 1
        return removed

    def _part(self, key: Mapping[str, Any]) -> Path:
        return self._root / f"{name_of(key)}.part"

    def _remove(self, name: str) -> None:
        try:
            self._ops.remove(self._root / name)
        except OSError as failure:
            raise storage_error(failure, "removing what was built before") from failure

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            record = json.loads(self._ops.read(self._root / f"{name}.json"))
            is_whole = all(field in record for field in ("key", "sha256", "refused", "facts", "built_at"))
            return record if is_whole and name_of(record["key"]) == name else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def _write(
        self, name: str, key: Mapping[str, Any], facts: Mapping[str, Any], *, digest: str | None, refused: str
    ) -> None:
        part, target = self._root / f"{name}.json.part", self._root / f"{name}.json"
        record = {
            "key": dict(key), "sha256": digest, "refused": refused, "facts": dict(facts), "built_at": time.time()
        }  # fmt: skip
        try:
            self._ops.remove(part)
            self._ops.write_new(part, json.dumps(record, sort_keys=True).encode())
            self._ops.fsync(part)
            self._ops.replace(part, target)
            self._ops.fsync_dir(self._root)
        except OSError as failure:
            raise storage_error(failure, "recording what was built") from failure

    def _digest(self, name: str) -> str | None:
        size = self._ops.size(self._root / name)
        if size is None:
            return None
        digest = hashlib.sha256()
        try:
            for offset in range(0, size, READ_BYTES):
                digest.update(self._ops.read_at(self._root / name, offset, READ_BYTES))
        except OSError:
            return None
        return digest.hexdigest()
