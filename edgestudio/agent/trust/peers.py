"""The studios that a board is paired with: an allow-list by fingerprint in one atomically replaced file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgestudio.agent.store.fsops import DiskOps, FileOps, write_atomically
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError, InputError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, clean_text, parse_json
from edgestudio.wire.identity import fingerprint_of

MAX_PEERS = 64
MAX_NAME = 64


@dataclass(frozen=True)
class Peer:
    """A paired studio; `since` is the board's Unix time of pairing."""

    fingerprint: str
    name: str
    role: api.Role
    certificate_pem: str
    since: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "fingerprint": self.fingerprint,
            "name": self.name,
            "role": self.role,
            "certificate": self.certificate_pem,
            "since": self.since,
        }

    @classmethod
    def from_dict(cls, value: object) -> Peer:
        """Read a stored or provisioned peer; its fingerprint must be its certificate's. Raises InputError."""
        f = Fields(value, "peer")
        pem = f.text("certificate", limit=8192)
        fingerprint = fingerprint_of(pem)
        if f.text("fingerprint", limit=64, default=fingerprint) != fingerprint:
            raise InputError("a peer's fingerprint does not belong to its certificate", code="bad-field")
        name, role = f.text("name", limit=200, default=""), f.text("role", limit=16)
        if not api.is_role(role):
            raise InputError(f"a peer's role must be one of {', '.join(api.ROLES)}", code="bad-field")
        since = f.number("since", low=0, default=0.0) or 0.0
        return cls(fingerprint, clean_text(name, MAX_NAME) or "studio", api.role(role), pem, since)


class PeerStore:
    """The allow-list. A change is on disk before listeners hear of it; used from the loop's thread."""

    def __init__(self, path: Path, ops: FileOps | None = None) -> None:
        self._path = path
        self._ops: FileOps = ops if ops is not None else DiskOps()
        self._peers: dict[str, Peer] = {}
        self._listeners: list[Callable[[Peer, bool], None]] = []
        self.damage: str = ""
        """Why the stored list could not be read, empty when it could; then nobody is trusted."""
        self._load()

    def all(self) -> list[Peer]:
        """Every paired studio, first paired first."""
        return sorted(self._peers.values(), key=lambda p: (p.since, p.fingerprint))

    def fingerprints(self) -> list[str]:
        """Of every paired studio; may be asked from any thread."""
        return list(self._peers)

    def get(self, fingerprint: str) -> Peer | None:
        """The peer with this fingerprint, None when it is not paired."""
        return self._peers.get(fingerprint)

    @property
    def owner(self) -> Peer | None:
        """The studio that owns this board, None while it has none."""
        return next((p for p in self.all() if p.role == "owner"), None)

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, name: str, role: api.Role, certificate_pem: str) -> Peer:
        """Pair with a studio, or give a paired one a new name and role; raises InputError, TrustError."""
        fingerprint = fingerprint_of(certificate_pem)
        if fingerprint not in self._peers and len(self._peers) >= MAX_PEERS:
            raise TrustError(
                f"This board is paired with {MAX_PEERS} studios already.",
                hint="Unpair one that is no longer used.",
                code="too-many-peers",
            )
        name = clean_text(name, MAX_NAME) or "studio"
        known = self._peers.get(fingerprint)
        if known is not None and known.role == "owner":
            role = "owner"  # pairing again never takes the board from its owner
        peer = Peer(fingerprint, name, role, certificate_pem, time.time())
        self._keep({**self._peers, fingerprint: peer})
        self._tell(peer, is_trusted=True)
        return peer

    def set_role(self, fingerprint: str, role: api.Role) -> Peer:
        """Give a paired studio another role; the last owner keeps its own. Raises TrustError."""
        peer = self._required(fingerprint)
        self._keep_an_owner(peer, role)
        changed = replace(peer, role=role)
        self._keep({**self._peers, fingerprint: changed})
        self._tell(changed, is_trusted=True)
        return changed

    def remove(self, fingerprint: str) -> Peer:
        """Unpair; takes effect at once. Raises TrustError when it is not paired, or the owner of others."""
        peer = self._required(fingerprint)
        if len(self._peers) > 1:
            self._keep_an_owner(peer, None)
        self._keep({k: v for k, v in self._peers.items() if k != fingerprint})
        self._tell(peer, is_trusted=False)
        return peer

    def clear(self) -> None:
        """Unpair everyone, as whoever can reach the board itself may; it then pairs like a new one."""
        gone = self.all()
        self._keep({})
        for peer in gone:
            self._tell(peer, is_trusted=False)

    def listen(self, listener: Callable[[Peer, bool], None]) -> None:
        """Call `listener(peer, is_trusted)` after every change."""
        self._listeners.append(listener)

    def _required(self, fingerprint: str) -> Peer:
        peer = self._peers.get(fingerprint)
        if peer is None:
            raise TrustError("No such studio is paired with this board.", code="not-paired")
        return peer

    def _keep_an_owner(self, peer: Peer, role: api.Role | None) -> None:
        others = any(p.role == "owner" and p != peer for p in self._peers.values())
        if peer.role == "owner" and role != "owner" and not others:
            raise TrustError(
                "This studio is the only owner of the board, and others are paired.",
                hint="Make another studio owner first, or unpair the others.",
                code="last-owner",
            )

    def _keep(self, peers: dict[str, Peer]) -> None:
        data = canonical_json({"v": 1, "peers": [p.to_dict() for p in peers.values()]})
        write_atomically(self._ops, self._path, data)
        self._peers, self.damage = peers, ""

    def _tell(self, peer: Peer, *, is_trusted: bool) -> None:
        for listener in self._listeners:
            listener(peer, is_trusted)

    def _load(self) -> None:
        try:
            stored = Fields(parse_json(self._ops.read(self._path), where="peers.json"), "peers.json")
            peers = [Peer.from_dict(p) for p in stored.items("peers", limit=MAX_PEERS)]
        except FileNotFoundError:
            return
        except (OSError, EdgeStudioError) as e:
            self.damage = str(e)
            return
        self._peers = {p.fingerprint: p for p in peers}
