"""Which releases a board accepts: signed metadata (TUF), pushed by a paired studio and verified here.

Each paired publisher has its own chain of trust: its first root comes inside its own authenticated session,
every later one must be signed by the one before it. Verification runs in a scratch copy; what it accepted
becomes a new generation on disk, switched to by one atomic pointer, so that a power cut leaves the old or the new.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edgestudio.agent.store.fsops import (
    DiskOps,
    FileOps,
    explained,
    remove_tree,
    storage_error,
    write_atomically,
)
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError, TrustError
from edgestudio.wire.fields import canonical_json, parse_json
from edgestudio.wire.release import ReleaseManifest

RELEASE = "release"
CREATED = "created"
"""Field of the signed timestamp: when it was made, Unix seconds."""

_ROOT = re.compile(r"([1-9][0-9]{0,5})\.root")
_MAX_ROTATIONS = 16
_TRUSTED = ("root", "timestamp", "snapshot", "targets")
_SHARED = "shared"


@dataclass
class _Domain:
    """What is trusted from, and staged by, one publisher."""

    trusted: dict[str, bytes]
    generation: int
    staged: dict[str, bytes]


class ReleaseTrust:
    """Verifies releases; safe to call from any thread, one caller at a time inside."""

    def __init__(self, directory: Path, ops: FileOps | None = None) -> None:
        self._directory = directory
        self._ops: FileOps = ops if ops is not None else DiskOps()
        self._domains: dict[str, _Domain] = {}
        self._lock = threading.RLock()

    def stage(self, role: str, data: bytes, peer: str = _SHARED) -> None:
        """Keep one metadata file for the next `resolve`, in memory.

        `role` is `timestamp`, `snapshot`, `targets`, `<version>.root`, or `release` for the manifest itself; `peer`
        the fingerprint of the studio that signs. Raises TrustError `metadata-too-big` or `bad-metadata`.
        """
        match = _ROOT.fullmatch(role)
        cap = (
            api.MAX_OFFER_BYTES if role == RELEASE else api.METADATA_MAX_BYTES.get("root" if match else role)
        )
        if cap is None or role == "root":
            raise TrustError(f"There is no release metadata called {role[:40]!r}.", code="bad-metadata")
        if len(data) > cap:
            raise TrustError(
                f"The metadata {role} is over its limit of {cap} bytes.", code="metadata-too-big"
            )
        with self._lock:
            staged = self._domain(peer).staged
            if (
                match
                and role not in staged
                and sum(1 for r in staged if _ROOT.fullmatch(r)) >= _MAX_ROTATIONS
            ):
                raise TrustError(f"More than {_MAX_ROTATIONS} new roots at once.", code="bad-metadata")
            staged[role] = data

    def refresh(self, now: float, peer: str = _SHARED) -> None:
        """Take over what is staged, durably, as far as it holds; raises TrustError for the first part that does not.

        So what a valid root or timestamp revokes or overtakes stays so, also where the rest never comes. `now` (Unix
        seconds) is what expiry is judged against.
        """
        self._take_over("", now, peer)

    def resolve(self, target: str, now: float, peer: str = _SHARED) -> Mapping[str, Any]:
        """As `refresh`, and the manifest of `target` as a JSON object; raises TrustError."""
        entry, manifest = self._take_over(target, now, peer)
        if entry is None:
            raise TrustError(f"The signed release list does not name {target}.", code="not-released")
        return _signed_manifest(target, entry, manifest)

    def _take_over(self, target: str, now: float, peer: str) -> tuple[TargetFile | None, bytes | None]:
        with self._lock, explained("checking the signed release list"):
            domain = self._domain(peer)
            manifest = domain.staged.pop(RELEASE, None)
            entry, trusted, failure = _verify(domain, target, now)
            # A first root is believed only with a list that it verifies.
            if trusted != domain.trusted and (failure is None or domain.trusted):
                self._keep(peer, domain, trusted)
            if failure is not None:
                raise failure
            domain.staged.clear()
        return entry, manifest

    def provision(self, root: bytes, peer: str) -> None:
        """Trust `root` as the first root of `peer`, from a file that came with the board; raises TrustError."""
        with self._lock:
            domain = self._domain(peer)
            if domain.trusted:
                return
            _first_root({"1.root": root})
            self._keep(peer, domain, {"root": root})

    def forget(self, peer: str) -> None:
        """Trust nothing from `peer` any more: it was unpaired."""
        with self._lock:
            self._domains.pop(peer, None)
            remove_tree(self._ops, self._directory / peer)

    def versions(self, peer: str = _SHARED) -> dict[str, int]:
        """Version of each trusted role of `peer`, 0 for what is not there yet."""
        with self._lock:
            trusted = self._domain(peer).trusted
        return {role: _version(trusted.get(role)) for role in _TRUSTED}

    def metadata_age_s(self, now: float) -> float | None:
        """Seconds since the newest trusted metadata was signed, None when there is none."""
        newest = self.newest_signed()
        return max(0.0, now - newest) if newest is not None else None

    def newest_signed(self) -> float | None:
        """When (Unix seconds, by its signer) the newest trusted metadata was made, None when there is none."""
        with self._lock:
            names = self._ops.list_dir(self._directory)
            stamps = [self._domain(name).trusted.get("timestamp") for name in names]
        return max((created for created in map(_created, stamps) if created is not None), default=None)

    def _domain(self, peer: str) -> _Domain:
        if peer not in self._domains:
            if peer != _SHARED and api.DIGEST.fullmatch(peer) is None:
                raise TrustError("A publisher is named by its fingerprint.", code="bad-metadata")
            self._domains[peer] = self._load(self._directory / peer)
        return self._domains[peer]

    def _load(self, folder: Path) -> _Domain:
        try:
            generation = int(self._ops.read(folder / "current"))
        except (OSError, ValueError):
            return _Domain({}, 0, {})
        files = {role: folder / str(generation) / f"{role}.json" for role in _TRUSTED}
        trusted = {role: self._ops.read(path) for role, path in files.items() if self._ops.exists(path)}
        return _Domain(trusted, generation, {})

    def _keep(self, peer: str, domain: _Domain, trusted: dict[str, bytes]) -> None:
        folder = self._directory / peer
        generation = domain.generation + 1
        fresh = folder / str(generation)
        try:
            for missing in (self._directory, folder):
                if not self._ops.exists(missing):
                    self._ops.mkdir(missing)
                    self._ops.fsync_dir(missing.parent)
            remove_tree(self._ops, fresh)  # what a power cut left of an earlier attempt
            self._ops.mkdir(fresh)
            for role, data in trusted.items():
                self._ops.write_new(fresh / f"{role}.json", data)
                self._ops.fsync(fresh / f"{role}.json")
            self._ops.fsync_dir(fresh)
            self._ops.fsync_dir(folder)
            write_atomically(self._ops, folder / "current", str(generation).encode())
        except OSError as e:
            raise storage_error(e, "keeping release metadata") from e
        old, domain.trusted, domain.generation = domain.generation, trusted, generation
        if old:
            remove_tree(self._ops, folder / str(old))


class _Staged(FetcherInterface):
    """Hands the updater what was pushed, as if it had asked for it."""

    def __init__(self, staged: Mapping[str, bytes]) -> None:
        self._staged = staged

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rsplit("/", 1)[-1].removesuffix(".json")
        # One list at a time is pushed, whether its root asks for names with versions (consistent snapshots) or not.
        name = re.sub(r"^[0-9]+\.(?=(snapshot|targets)$)", "", name)
        if name not in self._staged:
            raise exceptions.DownloadHTTPError(f"{name} was not sent", 404)
        return iter([self._staged[name]])


def _verify(
    domain: _Domain, target: str, now: float
) -> tuple[TargetFile | None, dict[str, bytes], TrustError | None]:
    """(entry of `target` in the list, what is trusted now by role, why not all of it)."""
    root = domain.trusted.get("root") or _first_root(domain.staged)
    config = UpdaterConfig(
        max_root_rotations=_MAX_ROTATIONS,
        max_delegations=1,
        prefix_targets_with_hash=False,
        root_max_length=api.METADATA_MAX_BYTES["root"],
        timestamp_max_length=api.METADATA_MAX_BYTES["timestamp"],
        snapshot_max_length=api.METADATA_MAX_BYTES["snapshot"],
        targets_max_length=api.METADATA_MAX_BYTES["targets"],
    )
    entry, failure = None, None
    with tempfile.TemporaryDirectory() as scratch:
        for role in _TRUSTED[1:]:
            if role in domain.trusted:
                Path(scratch, f"{role}.json").write_bytes(domain.trusted[role])
        try:
            with _explained():
                fetcher = _Staged(domain.staged)
                updater = Updater(scratch, "staged://m/", fetcher=fetcher, config=config, bootstrap=root)
                # The library judges expiry by the wall clock, and a board's may be wrong.
                judged_at = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
                updater._trusted_set.reference_time = judged_at
                updater.refresh()
                entry = updater.get_targetinfo(target) if target else None
        except TrustError as error:
            failure = error
        written = {role: Path(scratch, f"{role}.json") for role in _TRUSTED}
        trusted = {role: path.read_bytes() for role, path in written.items() if path.exists()}
    return entry, trusted, failure


def _signed_manifest(target: str, entry: TargetFile, manifest: bytes | None) -> Mapping[str, Any]:
    if manifest is None:
        raise TrustError(
            "The release's manifest was not sent.", hint="Push again.", code="incomplete-metadata"
        )
    if len(manifest) != entry.length or hashlib.sha256(manifest).hexdigest() != entry.hashes.get("sha256"):
        raise TrustError("The release's manifest is not the one that was signed.", code="bad-signature")
    value: Mapping[str, Any] = parse_json(manifest, where="the release")
    release = ReleaseManifest.from_dict(value)
    custom = entry.unrecognized_fields.get("custom")
    promised = {"counter": release.counter, "model": release.model, **release.requires.to_dict()}
    if release.target != target or custom != promised or canonical_json(value) != manifest:
        raise TrustError("The release's manifest contradicts the signed release list.", code="bad-metadata")
    return value


def _first_root(staged: Mapping[str, bytes]) -> bytes:
    roots = {int(match[1]): staged[role] for role in staged if (match := _ROOT.fullmatch(role))}
    if not roots:
        raise TrustError(
            "This board knows no signing key of this studio yet, and none was sent.",
            hint="Push again; if that does not help, unpair and pair again.",
            code="no-root",
        )
    with _explained():
        first = roots[min(roots)]
        root = Metadata[Root].from_bytes(first)
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    return first


def _version(data: bytes | None) -> int:
    if data is None:
        return 0
    version: int = json.loads(data)["signed"]["version"]
    return version


def _created(timestamp: bytes | None) -> float | None:
    if timestamp is None:
        return None
    created = Metadata[Timestamp].from_bytes(timestamp).signed.unrecognized_fields.get(CREATED)
    return float(created) if isinstance(created, (int, float)) else None


class _explained:  # noqa: N801 - reads as a statement
    """Turns what the library raises into TrustErrors that people and programs can read."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> None:
        if failure is None or isinstance(failure, EdgeStudioError):
            return
        for known, code, text, hint in _FAILURES:
            if isinstance(failure, known):
                raise TrustError(text, hint=hint, code=code, details=str(failure)[:500]) from failure


_FAILURES: tuple[tuple[type[Exception], str, str, str], ...] = (
    (
        exceptions.ExpiredMetadataError,
        "expired",
        "The signed release list has expired, so it may hide a newer one.",
        "Push again from the studio that signs; it renews the list. If that fails, check both clocks.",
    ),
    (
        exceptions.BadVersionNumberError,
        "replayed",
        "The signed release list is older than one that this board has already seen.",
        "Push from the studio with the newest releases, or import its recovery kit here.",
    ),
    (
        exceptions.UnsignedMetadataError,
        "bad-signature",
        "The release list is not signed by the keys that this board trusts.",
        "Push from the studio that the board was paired with, or pair it again.",
    ),
    (
        exceptions.LengthOrHashMismatchError,
        "bad-signature",
        "The release list is not the one that was signed.",
        "Push again.",
    ),
    (
        exceptions.DownloadError,
        "incomplete-metadata",
        "A part of the signed release list is missing or too big.",
        "Push again.",
    ),
    (exceptions.RepositoryError, "bad-metadata", "The signed release list cannot be read.", "Push again."),
    # What the parser raises for well-formed JSON of the wrong shape is not one documented kind.
    (ValueError, "bad-metadata", "The signed release list cannot be read.", "Push again."),
    (TypeError, "bad-metadata", "The signed release list cannot be read.", "Push again."),
    (KeyError, "bad-metadata", "The signed release list cannot be read.", "Push again."),
    (RecursionError, "bad-metadata", "The signed release list cannot be read.", "Push again."),
)
