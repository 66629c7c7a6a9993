"""A repository of release metadata that its tests bend at will, and a board's verifier that gets what it offers."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from edgestudio.agent.trust.releases import ReleaseTrust
from edgestudio.wire.errors import TrustError

PEER = "a" * 64
DAY_S = 86_400.0
OTHERS = ("timestamp", "snapshot", "targets")


def day(number: float) -> datetime.datetime:
    """So many days from now."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return now + datetime.timedelta(days=number)


class Repository:
    """`root`, `timestamp`, `snapshot` and `targets` as they will be signed, `signers` who signs; change any of them."""

    def __init__(self) -> None:
        self.root = Root(expires=day(30), consistent_snapshot=True)
        self.timestamp, self.snapshot = Timestamp(expires=day(30)), Snapshot(expires=day(30))
        self.targets = Targets(expires=day(30))
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.hashes = False
        """Whether timestamp and snapshot name hash and length of what they list."""
        self.roots: list[bytes] = []
        for role in ("root", *OTHERS):
            self.rekey(role, [CryptoSigner.generate_ed25519()])
        self.next_root()
        self.list_anew(bump=False)

    def rekey(
        self,
        role: str,
        keys: Sequence[CryptoSigner],
        threshold: int = 1,
        sign: Sequence[CryptoSigner] | None = None,
    ) -> None:
        """`role` has these keys from the next root on; `sign` signs, by default all of them."""
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        for key in keys:
            self.root.add_key(key.public_key, role)
        self.root.roles[role].threshold = threshold
        self.signers[role] = list(keys if sign is None else sign)

    def next_root(self) -> None:
        """Publish the root as it is now."""
        self.root.version = len(self.roots) + 1
        self.roots.append(self.signed("root"))

    def list_anew(self, *, bump: bool = True) -> None:
        """The next snapshot and timestamp list what there is below them."""
        if bump:
            self.snapshot.version += 1
        self.snapshot.meta["targets.json"] = self._listed("targets")
        self.stamp(bump=bump)

    def stamp(self, *, bump: bool = True) -> None:
        """The next timestamp lists the snapshot as it is now."""
        if bump:
            self.timestamp.version += 1
        self.timestamp.snapshot_meta = self._listed("snapshot")

    def signed(self, role: str) -> bytes:
        """The bytes of a role as they are now."""
        metadata: Metadata[Any] = Metadata(getattr(self, role))
        for signer in self.signers[role]:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def _listed(self, role: str) -> MetaFile:
        data, version = self.signed(role), getattr(self, role).version
        return MetaFile.from_data(version, data, ["sha256"]) if self.hashes else MetaFile(version)


class Board:
    """A verifier that trusts the repository's first root."""

    def __init__(self, folder: Path, repository: Repository, root: bytes | None = None) -> None:
        self.folder, self.repository = folder, repository
        ReleaseTrust(folder).provision(repository.roots[0] if root is None else root, PEER)

    def refresh(self, *, after_days: float = 0.0, target: str = "") -> str:
        """Push all that is offered, as to a board just started; "" when it was taken, else the refusal's code."""
        trust = ReleaseTrust(self.folder)
        for number, data in enumerate(self.repository.roots, 1):
            if number > trust.versions(PEER)["root"]:
                trust.stage(f"{number}.root", data, PEER)
        for role in OTHERS:
            trust.stage(role, self.repository.signed(role), PEER)
        now = time.time() + after_days * DAY_S
        try:
            if target:
                trust.resolve(target, now, PEER)
            else:
                trust.refresh(now, PEER)
        except TrustError as error:
            return error.code
        return ""

    def has(self) -> tuple[int, int, int, int]:
        """Versions of root, timestamp, snapshot and targets that a board started now trusts."""
        found = ReleaseTrust(self.folder).versions(PEER)
        return found["root"], found["timestamp"], found["snapshot"], found["targets"]

    def kept(self, role: str) -> bytes:
        """The trusted file itself."""
        home = self.folder / PEER
        return (home / (home / "current").read_text() / f"{role}.json").read_bytes()
