"""Immutable files by their SHA-256, received in chunks of any order, resumed after any interruption."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable
from pathlib import Path

from edgestudio.agent.store.fsops import FileOps, explained, make_folder, storage_error, write_atomically
from edgestudio.wire.api import CHUNK_BYTES, DIGEST
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.release import ReleaseFile

SYNC_EVERY_CHUNKS = 16
"""A power cut costs at most this many chunks; a killed process or a lost connection costs none."""


class BlobStore:
    """`root`/sha256/ab/<digest> for whole files, `root`/incoming/<digest>.part and .map while receiving.

    Beside each blob, <digest>.chunks lists its chunk digests, so that a chunk that is anywhere on the board
    is copied instead of asked for. All methods block; they may be called from several threads.
    """

    def __init__(self, ops: FileOps, root: Path) -> None:
        self._ops = ops
        self._root = root
        self._incoming = root / "incoming"
        self._lock = threading.RLock()
        self._specs: dict[str, ReleaseFile] = {}
        self._have: dict[str, set[int]] = {}
        self._chunks: dict[str, tuple[str, int]] = {}
        self._unsynced: dict[str, int] = {}

    def prepare(self) -> None:
        """Make the folders and read which chunks the board has."""
        for folder in (self._root, self._root / "sha256", self._incoming):
            make_folder(self._ops, folder)
        for digest in self.digests():
            self._index(digest)

    def path(self, digest: str) -> Path:
        """Where the blob `digest` is or will be."""
        return self._root / "sha256" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Whether the blob `digest` is complete on the board."""
        return DIGEST.fullmatch(digest) is not None and self._ops.size(self.path(digest)) is not None

    def digests(self) -> list[str]:
        """All complete blobs."""
        folder = self._root / "sha256"
        return [
            name
            for prefix in self._ops.list_dir(folder)
            for name in self._ops.list_dir(folder / prefix)
            if DIGEST.fullmatch(name)
        ]

    def read(self, digest: str) -> bytes:
        """The whole blob; DeviceError `damaged` when it no longer has its digest, `storage` when the disk refuses.

        For small files.
        """
        try:
            data = self._ops.read(self.path(digest))
        except FileNotFoundError:
            data = b""
        except OSError as failure:
            raise storage_error(failure, "reading a stored file") from failure
        if hashlib.sha256(data).hexdigest() != digest:
            raise DeviceError("A stored file is missing or damaged.", code="damaged", hint="Push it again.")
        return data

    def is_intact(self, digest: str) -> bool:
        """Hash the stored blob again; False when it is missing or its bits have rotted."""
        size = self._ops.size(self.path(digest))
        return size is not None and self._hash(self.path(digest), size) == digest

    def put(self, data: bytes) -> str:
        """Store small `data` durably and return its digest."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            with explained("keeping a file"):
                make_folder(self._ops, self.path(digest).parent)
                write_atomically(self._ops, self.path(digest), data)
        return digest

    def remove(self, digest: str) -> None:
        """Forget a complete blob. The caller knows that no release needs it."""
        with self._lock:
            self._ops.remove(self.path(digest).with_suffix(".chunks"))
            self._ops.remove(self.path(digest))
            self._chunks = {chunk: at for chunk, at in self._chunks.items() if at[0] != digest}
            for other in self.digests():  # what it shared with others is still there
                self._index(other)

    # ------------------------------------------------------------------ receiving

    def begin(self, spec: ReleaseFile) -> None:
        """Get ready to receive `spec`: space is reserved, chunks that arrived or exist elsewhere are used."""
        with self._lock, explained("getting ready to receive a file"):
            if self.has(spec.sha256):
                return
            self._specs[spec.sha256] = spec
            part, marks = self._part(spec.sha256), self._map(spec.sha256)
            if self._ops.size(part) != spec.size_bytes or self._ops.size(marks) != len(spec.chunks):
                self._ops.remove(part)
                self._ops.remove(marks)
                self._ops.preallocate(part, spec.size_bytes)
                self._ops.write_new(marks, bytes(len(spec.chunks)))
            self._have[spec.sha256] = self._trusted_marks(spec)
            for index, chunk in enumerate(spec.chunks):
                if index not in self._have[spec.sha256] and chunk in self._chunks:
                    self._reuse(spec, index)

    def missing(self, digest: str) -> list[int]:
        """Chunks of `digest` that must be sent; of equal chunks only the first."""
        with self._lock:
            spec = self._specs.get(digest)
            if spec is None:
                return []
            have = self._have[digest]
            seen: set[str] = set()
            wanted: list[int] = []
            for index, chunk in enumerate(spec.chunks):
                if index not in have and chunk not in seen:
                    seen.add(chunk)
                    wanted.append(index)
            return wanted

    def received(self, digest: str) -> list[int]:
        """Chunks of an incoming `digest` that are on the board."""
        with self._lock:
            return sorted(self._have.get(digest, ()))

    def incoming(self, digest: str) -> ReleaseFile:
        """The spec of a blob that is being received; DeviceError `not-offered` for any other."""
        spec = self._specs.get(digest)
        if spec is None:
            raise DeviceError(
                "This file was not offered to the board.",
                hint="Start the install again; the board asks for what it needs.",
                code="not-offered",
            )
        return spec

    def receive(self, digest: str, index: int, data: bytes) -> None:
        """Keep chunk `index`; the same one again is fine. DeviceError `wrong-size`, `wrong-hash`, `no-space`."""
        spec = self.incoming(digest)
        if not 0 <= index < len(spec.chunks) or len(data) != spec.chunk_bytes(index):
            raise DeviceError(
                f"Chunk {index} does not have the size that the release says.",
                hint="Send the chunk again.",
                code="wrong-size",
            )
        if hashlib.sha256(data).hexdigest() != spec.chunks[index]:
            raise DeviceError(
                f"Chunk {index} was damaged on the way: its digest is not the release's.",
                hint="Send the chunk again.",
                code="wrong-hash",
            )
        with self._lock:
            for other in list(self._specs.values()):
                for twin, chunk in enumerate(other.chunks):
                    if chunk == spec.chunks[index] and twin not in self._have[other.sha256]:
                        self._keep(other, twin, data)
            due = [key for key, count in self._unsynced.items() if count >= SYNC_EVERY_CHUNKS]
            self._unsynced.update(dict.fromkeys(due, 0))
        # Without the lock: the next chunks are written while the disk works.
        for part in map(self._part, due):
            with explained("writing a chunk"), contextlib.suppress(FileNotFoundError):  # discarded meanwhile
                self._ops.fsync(part)

    def complete(self, digest: str) -> list[int]:
        """Check the whole file and make it a blob; returns the chunks that must be sent again, [] when done."""
        if self.has(digest):
            return []
        spec = self.incoming(digest)
        if missing := self.missing(digest):
            return missing
        with explained("checking a received file"):
            part = self._part(digest)
            self._ops.fsync(part)
            if self._hash(part, spec.size_bytes) != digest:
                with self._lock:
                    self._have[digest] = self._trusted_marks(spec)
                    return self.missing(digest) or self._start_over(spec)
            self._accept(spec)
        return []

    def discard(self, digest: str) -> None:
        """Give up receiving `digest` and free its space."""
        with self._lock, explained("freeing space"):
            self._ops.remove(self._part(digest))
            self._ops.remove(self._map(digest))
            self._forget(digest)

    def sweep(self, wanted: Iterable[str]) -> None:
        """Remove what an interrupted process left behind, except the incoming blobs in `wanted`."""
        keep = {f"{digest}{ending}" for digest in wanted for ending in (".part", ".map")}
        for name in self._ops.list_dir(self._incoming):
            if name not in keep:
                self._ops.remove(self._incoming / name)
        for prefix in self._ops.list_dir(self._root / "sha256"):
            folder = self._root / "sha256" / prefix
            names = set(self._ops.list_dir(folder))
            for name in names:
                orphaned = name.endswith(".chunks") and name.removesuffix(".chunks") not in names
                if name.endswith(".part") or orphaned:
                    self._ops.remove(folder / name)

    # ------------------------------------------------------------------ parts

    def _part(self, digest: str) -> Path:
        return self._incoming / f"{digest}.part"

    def _map(self, digest: str) -> Path:
        return self._incoming / f"{digest}.map"

    def _forget(self, digest: str) -> None:
        for table in (self._specs, self._have, self._unsynced):
            table.pop(digest, None)

    def _start_over(self, spec: ReleaseFile) -> list[int]:
        """Every chunk has its digest but the whole has not: the manifest lies, nothing can help."""
        self.discard(spec.sha256)
        raise DeviceError(
            "The file's chunks are right but the whole is not: the release contradicts itself.",
            hint="Package the model again and push it anew.",
            code="bad-manifest",
        )

    def _accept(self, spec: ReleaseFile) -> None:
        """The part holds what it should: it becomes a blob, durably."""
        target = self.path(spec.sha256)
        make_folder(self._ops, target.parent)
        # The list of chunks only saves sending: a torn one is ignored, so nothing waits for it.
        self._ops.remove(target.with_suffix(".chunks"))
        self._ops.write_new(target.with_suffix(".chunks"), json.dumps(spec.chunks).encode())
        self._ops.replace(self._part(spec.sha256), target)
        self._ops.fsync_dir(target.parent)
        with self._lock:
            self._ops.remove(self._map(spec.sha256))
            self._forget(spec.sha256)
            self._index(spec.sha256)

    def _keep(self, spec: ReleaseFile, index: int, data: bytes) -> None:
        with explained("writing a chunk"):
            self._ops.pwrite(self._part(spec.sha256), index * CHUNK_BYTES, data)
            self._unsynced[spec.sha256] = self._unsynced.get(spec.sha256, 0) + 1
            self._ops.pwrite(self._map(spec.sha256), index, b"\x01")
        self._have[spec.sha256].add(index)

    def _reuse(self, spec: ReleaseFile, index: int) -> None:
        source, at = self._chunks[spec.chunks[index]]
        try:
            data = self._ops.read_at(self.path(source), at * CHUNK_BYTES, spec.chunk_bytes(index))
        except OSError:
            return
        if hashlib.sha256(data).hexdigest() == spec.chunks[index]:
            self._keep(spec, index, data)

    def _trusted_marks(self, spec: ReleaseFile) -> set[int]:
        """Marks are written without waiting for the disk, so each marked chunk is hashed before it is believed."""
        marks = self._ops.read(self._map(spec.sha256))
        trusted = set()
        for index, mark in enumerate(marks):
            if not mark:
                continue
            data = self._ops.read_at(self._part(spec.sha256), index * CHUNK_BYTES, spec.chunk_bytes(index))
            if hashlib.sha256(data).hexdigest() == spec.chunks[index]:
                trusted.add(index)
        return trusted

    def _hash(self, path: Path, size_bytes: int) -> str:
        digest = hashlib.sha256()
        for offset in range(0, size_bytes, CHUNK_BYTES):
            digest.update(self._ops.read_at(path, offset, CHUNK_BYTES))
        return digest.hexdigest()

    def _index(self, digest: str) -> None:
        try:
            chunks = json.loads(self._ops.read(self.path(digest).with_suffix(".chunks")))
        except (OSError, ValueError):
            return  # stored by `put`: small, never split
        if isinstance(chunks, list):
            for index, chunk in enumerate(chunks):
                self._chunks.setdefault(str(chunk), (digest, index))
