"""Pairs a headless board from a file that was put on its disk: who may use it, and whose releases it runs."""

from __future__ import annotations

import logging
import stat
import tempfile
from pathlib import Path
from typing import Protocol

from edgestudio.agent.store.fsops import DiskOps, write_atomically
from edgestudio.agent.trust.peers import Peer, PeerStore
from edgestudio.agent.trust.releases import ReleaseTrust
from edgestudio.wire.errors import EdgeStudioError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, parse_json
from edgestudio.wire.identity import Identity

log = logging.getLogger(__name__)

PROVISION_FILE = "provision.json"
MAX_BYTES = 4 * 1024 * 1024
VERSION = 1


class Roots(Protocol):
    """Where first roots are trusted; see `agent.trust.releases`."""

    def provision(self, root: bytes, peer: str) -> None:
        """Trust `root` as the first root of `peer`."""


def provision(folder: Path, peers: PeerStore, roots: Roots) -> list[Peer]:
    """Take over `provision.json` from the agent's data folder, once, and remove it; returns the new peers.

    The file says `{"v": 1, "peers": [{"name", "role", "certificate", "root"}]}`. It is for new boards: a board that
    is paired already ignores it. Raises TrustError (`bad-provision`) and takes nothing over when any of it is wrong.
    """
    path = folder / PROVISION_FILE
    if not path.is_file():
        return []
    if len(peers):
        log.warning("%s is ignored: this board is paired already", path)
        return []
    try:
        given = _peers(_read(path))
        for peer, root in given:
            if root:
                roots.provision(root.encode(), peer.fingerprint)
    except (OSError, EdgeStudioError) as e:
        raise _unusable(path, e) from e
    added = [peers.add(peer.name, peer.role, peer.certificate_pem) for peer, _ in given]
    path.unlink(missing_ok=True)  # it must not bring back a studio that is unpaired later
    return added


def place(file: Path, folder: Path) -> str:
    """Put a studio's provisioning file where the next start of the agent takes it over; returns the fingerprint.

    The file is `provision.json` with the board's own `identity` {"key", "certificate"} beside the peers. Only a board
    that is neither paired nor has another identity takes it. Raises TrustError `bad-provision` or `already-paired`.
    """
    if len(PeerStore(folder / "peers.json")):
        raise TrustError(
            "This board is paired already.",
            hint="`agent pair --reset` on the board makes it forget everyone.",
            code="already-paired",
        )
    identity = folder / "identity"
    try:
        document = _read(file)
        _check_roots(_peers(document), folder)
        given = Fields(document.mapping("identity"), "identity")
        pair = {name: given.text(name, limit=8192) for name in ("certificate", "key")}
        fresh = identity.with_name("identity.part")
        fresh.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(DiskOps(), fresh / "cert.pem", pair["certificate"].encode())
        write_atomically(DiskOps(), fresh / "key.pem", pair["key"].encode())
        # Checked before it takes the place of the identity that an unpaired board has made for itself.
        fingerprint = Identity.load_or_create(fresh, "").fingerprint
        peers = {"v": 1, "peers": document.items("peers", limit=16)}
        write_atomically(DiskOps(), folder / PROVISION_FILE, canonical_json(peers))
        identity.mkdir(mode=0o700, exist_ok=True)
        for name in ("key.pem", "cert.pem"):
            (fresh / name).replace(identity / name)
        fresh.rmdir()
    except (OSError, EdgeStudioError) as e:
        raise _unusable(file, e) from e
    return fingerprint


def is_open(file: Path) -> bool:
    """Whether others on this computer can read the file, and with it a board's key."""
    return bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _read(path: Path) -> Fields:
    status = path.stat()
    if status.st_size > MAX_BYTES:
        raise TrustError("it is too big")
    if status.st_mode & stat.S_IWOTH:
        raise TrustError("anybody on this computer may change it (chmod o-w)")
    document = Fields(parse_json(path.read_bytes(), where=path.name), path.name)
    version = document.integer("v", default=VERSION)
    if version != VERSION:
        raise TrustError(f"it is written in form {version}, and form {VERSION} is understood here")
    return document


def _check_roots(given: list[tuple[Peer, str]], folder: Path) -> None:
    """Nothing of the board's own changes: roots are tried in a folder that goes again."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        trust = ReleaseTrust(Path(scratch))
        for peer, root in given:
            if root:
                trust.provision(root.encode(), peer.fingerprint)


def _peers(document: Fields) -> list[tuple[Peer, str]]:
    entries = document.items("peers", limit=16)
    given = [(Peer.from_dict(e), Fields(e, "peer").text("root", limit=600_000, default="")) for e in entries]
    if not given:
        raise TrustError("it names no studio, so that nobody could use the board")
    if not any(peer.role == "owner" for peer, _ in given):
        raise TrustError("it names no owner")
    return given


def _unusable(path: Path, reason: Exception) -> TrustError:
    return TrustError(
        f"The file {path} cannot be used: {reason}.",
        hint="Make it again with the studio, or remove it to pair by code.",
        code="bad-provision",
    )
