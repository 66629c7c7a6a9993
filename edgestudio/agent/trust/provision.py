"""Pairs a headless board from a file that was put on its disk: who may use it, and whose releases it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from edgestudio.agent.trust.peers import Peer, PeerStore
from edgestudio.wire.errors import EdgeStudioError, TrustError
from edgestudio.wire.fields import Fields, parse_json

log = logging.getLogger(__name__)

PROVISION_FILE = "provision.json"
MAX_BYTES = 4 * 1024 * 1024


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
        if path.stat().st_size > MAX_BYTES:
            raise TrustError("it is too big")
        entries = Fields(parse_json(path.read_bytes(), where=path.name), path.name).items("peers", limit=16)
        given = [
            (Peer.from_dict(e), Fields(e, "peer").text("root", limit=600_000, default="")) for e in entries
        ]
        if given and not any(peer.role == "owner" for peer, _ in given):
            raise TrustError("it names no owner")
        for peer, root in given:
            if root:
                roots.provision(root.encode(), peer.fingerprint)
    except (OSError, EdgeStudioError) as e:
        raise TrustError(
            f"The file {path} cannot be used: {e}.",
            hint="Make it again with the studio, or remove it to pair by code.",
            code="bad-provision",
        ) from e
    added = [peers.add(peer.name, peer.role, peer.certificate_pem) for peer, _ in given]
    path.unlink(missing_ok=True)  # it must not bring back a studio that is unpaired later
    return added
