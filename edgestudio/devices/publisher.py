"""Makes releases: manifests, signed release lists (TUF) and the keys for them, without anyone having to know."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from edgestudio.devices.signing import ROLES, new_key, seal, signer, unseal
from edgestudio.devices.vault import Turn, exclusive
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError, InputError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, parse_json
from edgestudio.wire.files import write_atomically
from edgestudio.wire.release import (
    HealthLimits,
    ReleaseFile,
    ReleaseManifest,
    Requirements,
    split_target,
    target_name,
)

KEPT_RELEASES = 50
"""Releases per model that stay in the signed list; older ones can no longer be installed."""

LIFETIME_DAYS = {"root": 3650, "targets": 365, "snapshot": 365, "timestamp": 30}
_OWN_NAMES = ("model", "pipeline", "golden", "baseline", "samples")
_DAY_S = 86_400.0
_S = TypeVar("_S", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class Release:
    """A signed release and where its contents are on this desk, by SHA-256."""

    manifest: ReleaseManifest
    paths: Mapping[str, Path]

    @property
    def target(self) -> str:
        """What the release is called in signed metadata."""
        return self.manifest.target


@dataclass
class _Book:
    """Keys and signed release list as they are stored: one secret file, replaced as a whole."""

    keys: dict[str, str] = field(default_factory=dict)
    roots: dict[int, str] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)


class Publisher:
    """The studio's signing side. Methods read and write files and hash models: call them in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def publish(
        self,
        model: str,
        files: Mapping[str, Path],
        *,
        version: str = "",
        requires: Requirements | None = None,
        limits: HealthLimits | None = None,
        parent: str | None = None,
        note: str = "",
        floor: int = 0,
    ) -> Release:
        """Describe and sign a new release of `model` made of `files` by role; raises InputError, TrustError.

        Its counter is above every one before it and above `floor`, the highest that a board asks for.
        """
        described = {role: _describe(role, path) for role, path in files.items()}
        with self._changing() as book:
            counter = max(book.counters.get(model, 0), floor) + 1
            manifest = ReleaseManifest(
                model=model,
                version=version or f"1.{counter}",
                counter=counter,
                files=described,
                created=float(int(time.time())),
                requires=requires or Requirements(),
                limits=limits or HealthLimits(),
                parent=parent,
                note=note,
            )
            ReleaseManifest.from_dict(manifest.to_dict())  # what no board would accept is not signed
            targets = _read(book.signed["targets"], Targets)
            targets.targets[manifest.target] = _entry(manifest)
            book.manifests[manifest.target] = manifest.to_bytes().decode()
            book.counters[model] = counter
            _prune(targets, book, model)
            _sign_list(book, targets)
        return Release(manifest, {described[role].sha256: path for role, path in files.items()})

    def published(self, target: str, files: Mapping[str, Path]) -> Release:
        """A release that was signed before, with its `files` by role; raises InputError when they changed since."""
        with self._changing() as book:
            text = book.manifests.get(target)
        if text is None:
            raise InputError(f"No release {target} was made here.", code="unknown-release")
        manifest = ReleaseManifest.from_dict(parse_json(text.encode()))
        for role, file in manifest.files.items():
            if role not in files or ReleaseFile.of(files[role], file.name) != file:
                raise InputError(
                    f"The {role} file of {target} is missing or has changed.", code="file-changed"
                )
        return Release(manifest, {file.sha256: files[role] for role, file in manifest.files.items()})

    def metadata(self, board: Mapping[str, int]) -> list[tuple[str, bytes]]:
        """What a board needs to verify the newest list, in order: (`N.root` | `targets` | …, bytes).

        `board` holds the versions it trusts already (`root`: 0 for none). Renews what is about to expire.
        """
        with self._changing() as book:
            _renew(book)
            known = board.get("root", 0)
            newer = sorted(n for n in book.roots if n > known) if known else [max(book.roots)]
            roots = [(f"{n}.root", book.roots[n].encode()) for n in newer]
            return roots + [(role, book.signed[role].encode()) for role in ROLES[1:]]

    def turn(self, board: str) -> Turn:
        """Held by a push to the board of this fingerprint: a desk pushes to a board one release at a time."""
        return Turn(self._directory / "pushing" / board)

    def withdraw(self, target: str) -> None:
        """Take a release from the list: boards that learn of it will not install it any more."""
        with self._changing() as book:
            targets = _read(book.signed["targets"], Targets)
            if targets.targets.pop(target, None) is None:
                raise InputError(f"No release {target} is in the list.", code="unknown-release")
            _sign_list(book, targets)

    def rotate(self, role: str) -> int:
        """Replace the key of `role` and return the new root's version; the old key signs nothing more.

        Boards learn of it with the next push. Raises InputError for an unknown role.
        """
        if role not in ROLES:
            raise InputError(f"Keys are for {', '.join(ROLES)}; there is none for {role}.", code="usage")
        with self._changing() as book:
            old_root_signer = signer(book.keys["root"], "root")
            root = _next_root(book)
            for key_id in list(root.roles[role].keyids):
                root.revoke_key(key_id, role)
            book.keys[role] = new_key()
            root.add_key(signer(book.keys[role], role).public_key, role)
            signed = Metadata(root)
            signed.sign(old_root_signer)
            if role == "root":
                signed.sign(signer(book.keys["root"], "root"), append=True)
            book.roots[root.version] = signed.to_bytes().decode()
            if role != "root":
                _sign_list(book, _read(book.signed["targets"], Targets))
        return max(book.roots)

    def export_kit(self, path: Path, passphrase: str) -> None:
        """Write everything that this studio needs to sign again, elsewhere or after a loss, sealed by a passphrase."""
        with self._changing() as book:
            write_atomically(path, seal(_stored(book), passphrase))

    def import_kit(self, path: Path, passphrase: str, *, replace: bool = False) -> None:
        """Take over keys and release list from a kit; raises InputError when others are here and not `replace`."""
        try:
            book = _loaded(unseal(path.read_bytes(), passphrase))
        except OSError as e:
            raise InputError(f"The recovery kit cannot be read: {e}", code="bad-kit") from e
        with exclusive(self._directory / "lock"):
            if (self._directory / "releases.json").exists() and not replace:
                raise InputError(
                    "This studio has signing keys of its own already.",
                    hint="Export them first; then import with replace.",
                    code="keys-exist",
                )
            self._write(book)

    @contextmanager
    def _changing(self) -> Iterator[_Book]:
        with exclusive(self._directory / "lock"):
            book = self._read_book()
            before = _stored(book)
            yield book
            if _stored(book) != before:
                self._write(book)

    def _read_book(self) -> _Book:
        path = self._directory / "releases.json"
        if path.exists():
            try:
                return _loaded(parse_json(path.read_bytes(), where="releases.json"))
            except (OSError, EdgeStudioError) as e:
                raise TrustError(
                    f"The signed release list of this studio cannot be read: {e}",
                    hint="Import the recovery kit of this studio.",
                    code="bad-list",
                ) from e
        book = _first_book()
        self._write(book)
        return book

    def _write(self, book: _Book) -> None:
        write_atomically(self._directory / "releases.json", canonical_json(_stored(book)))


def plain_name(text: str) -> str:
    """A name that travels, made from any text: `Mobile Net V2` becomes `mobile-net-v2`."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")
    plain = re.sub(r"\.{2,}", ".", plain)[:100].rstrip("-._")
    return plain if api.is_safe_name(plain) else f"model-{plain}"[:100].rstrip("-.")


def _first_book() -> _Book:
    book = _Book(keys={role: new_key() for role in ROLES})
    root = Root(version=1, expires=_expiry("root"), consistent_snapshot=False)
    for role in ROLES:
        root.add_key(signer(book.keys[role], role).public_key, role)
    _sign_root(book, root)
    _sign(book, "targets", Targets(version=1, expires=_expiry("targets"), targets={}))
    _sign(book, "snapshot", Snapshot(version=1, expires=_expiry("snapshot")))
    _sign_timestamp(book, 1)
    return book


def _next_root(book: _Book) -> Root:
    root = _read(book.roots[max(book.roots)], Root)
    root.version += 1
    root.expires = _expiry("root")
    return root


def _sign_root(book: _Book, root: Root) -> None:
    signed = Metadata(root)
    signed.sign(signer(book.keys["root"], "root"))
    book.roots[root.version] = signed.to_bytes().decode()


def _sign_list(book: _Book, targets: Targets) -> None:
    targets.version += 1
    targets.expires = _expiry("targets")
    snapshot = _read(book.signed["snapshot"], Snapshot)
    snapshot.version += 1
    snapshot.expires = _expiry("snapshot")
    snapshot.meta = {"targets.json": MetaFile(targets.version)}
    _sign(book, "targets", targets)
    _sign(book, "snapshot", snapshot)
    _sign_timestamp(book, snapshot.version)


def _sign_timestamp(book: _Book, snapshot_version: int) -> None:
    last = _read(book.signed["timestamp"], Timestamp).version if "timestamp" in book.signed else 0
    stamp = Timestamp(
        version=last + 1, expires=_expiry("timestamp"), snapshot_meta=MetaFile(snapshot_version)
    )
    stamp.unrecognized_fields["created"] = int(time.time())
    _sign(book, "timestamp", stamp)


def _sign(book: _Book, role: str, content: _S) -> None:
    signed = Metadata(content)
    signed.sign(signer(book.keys[role], role))
    book.signed[role] = signed.to_bytes().decode()


def _renew(book: _Book) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)

    def is_old(signed: Root | Targets | Snapshot | Timestamp, role: str) -> bool:
        return (signed.expires - now).total_seconds() < LIFETIME_DAYS[role] * _DAY_S / 2

    if is_old(_read(book.roots[max(book.roots)], Root), "root"):
        _sign_root(book, _next_root(book))
    targets, snapshot = _read(book.signed["targets"], Targets), _read(book.signed["snapshot"], Snapshot)
    if is_old(targets, "targets") or is_old(snapshot, "snapshot"):
        _sign_list(book, targets)
    elif is_old(_read(book.signed["timestamp"], Timestamp), "timestamp"):
        _sign_timestamp(book, snapshot.version)


def _describe(role: str, path: Path) -> ReleaseFile:
    own = role in _OWN_NAMES
    name = f"{role}{path.suffix.lower()}" if own else path.name
    if not api.is_safe_name(name):
        raise InputError(
            f"The file {path.name} cannot travel under this name.",
            hint="Use a-z, 0-9, '.', '_' and '-' only.",
            code="bad-name",
        )
    try:
        return ReleaseFile.of(path, name)
    except OSError as e:
        raise InputError(f"The file {path} cannot be read: {e.strerror}", code="no-file") from e


def _entry(manifest: ReleaseManifest) -> TargetFile:
    entry = TargetFile.from_data(manifest.target, manifest.to_bytes(), ["sha256"])
    custom = {"model": manifest.model, "counter": manifest.counter, **manifest.requires.to_dict()}
    entry.unrecognized_fields["custom"] = custom
    return entry


def _prune(targets: Targets, book: _Book, model: str) -> None:
    mine = sorted(counter for name, counter in map(split_target, targets.targets) if name == model)
    for counter in mine[:-KEPT_RELEASES]:
        targets.targets.pop(target_name(model, counter))
        book.manifests.pop(target_name(model, counter), None)


def _expiry(role: str) -> datetime.datetime:
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return now + datetime.timedelta(days=LIFETIME_DAYS[role])


def _read(text: str, kind: type[_S]) -> _S:
    signed = Metadata.from_bytes(text.encode()).signed
    if not isinstance(signed, kind):
        raise TrustError("The signed release list of this studio is damaged.", code="bad-list")
    return signed


def _stored(book: _Book) -> dict[str, Any]:
    roots = {str(n): text for n, text in book.roots.items()}
    return {
        "v": 1,
        "roots": roots,
        **{k: dict(getattr(book, k)) for k in ("keys", "signed", "counters", "manifests")},
    }


def _loaded(value: object) -> _Book:
    f = Fields(value, "the release list")
    book = _Book(
        keys={str(k): str(v) for k, v in f.mapping("keys").items()},
        roots={int(n): str(text) for n, text in f.mapping("roots").items()},
        signed={str(k): str(v) for k, v in f.mapping("signed").items()},
        counters={str(k): int(v) for k, v in f.mapping("counters").items()},
        manifests={str(k): str(v) for k, v in f.mapping("manifests", limit=100_000).items()},
    )
    if not book.roots or set(book.signed) != set(ROLES[1:]) or set(book.keys) != set(ROLES):
        raise InputError("the release list is incomplete", code="bad-field")
    return book
