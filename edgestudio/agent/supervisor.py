"""The board's one entry point for the network layer: every call of the protocol ends in one method here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import numpy as np

from edgestudio.agent.settings import AgentSettings
from edgestudio.agent.trust.clock import TrustClock
from edgestudio.agent.trust.pairing import PairingWindow
from edgestudio.agent.trust.peers import PeerStore
from edgestudio.agent.trust.releases import ReleaseTrust as SignedReleases
from edgestudio.wire.identity import Identity

__all__ = ["AgentSettings", "ReleaseTrust", "Supervisor"]


class ReleaseTrust(Protocol):
    """What the supervisor asks of `agent.trust.releases`; it never parses signed metadata itself."""

    def stage(self, role: str, data: bytes, peer: str) -> None:
        """Keep the metadata file `role` for the next `resolve`; TrustError when it is over its size limit."""

    def resolve(self, target: str, now: float, peer: str) -> Mapping[str, Any]:
        """Refresh from what is staged, durably, and return the release manifest of `target`, as a JSON object.

        `now` is the time in Unix seconds that expiry is judged against, `peer` the fingerprint of the studio that
        signs. Raises TrustError.
        """

    def versions(self, peer: str) -> dict[str, int]:
        """Version of each trusted role of `peer`, 0 for what is not there yet."""

    def forget(self, peer: str) -> None:
        """Trust nothing from `peer` any more."""

    def metadata_age_s(self, now: float) -> float | None:
        """Seconds since the newest signed metadata was made, None when there is none."""


class Supervisor:
    """Owns the store, the install machine, the model hosts and the telemetry of one board.

    All coroutines run on one event loop. Errors are those of `wire.errors`; anything else is a bug.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.identity = Identity.load_or_create(settings.data_dir / "identity", settings.name)
        self.peers = PeerStore(settings.data_dir / "peers.json")
        self.trust: ReleaseTrust = SignedReleases(settings.data_dir / "tuf")
        self.clock = TrustClock(settings.data_dir / "clock")
        self.pairing = PairingWindow(self.identity.fingerprint, self.peers, self.emit_event)
        self.boot_id = ""
        self.is_simulated = settings.simulate is not None

    async def start(self) -> None:
        """Recover from whatever happened before, start the active model, the sensors and the telemetry."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop inferring, close the hosts, flush the spool."""
        raise NotImplementedError

    def hello(self) -> dict[str, Any]:
        """Body of GET /v1/hello: nothing that a stranger may not know."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """Body of GET /v1/info: runtimes, hardware, sensors with their quality."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Body of GET /v1/state: models with their slots, installs, phase, safe mode, throttling."""
        raise NotImplementedError

    async def stage_metadata(self, role: str, data: bytes, peer: str) -> None:
        """PUT /v1/tuf/{role}: keep metadata (role "release": the manifest) until an offer refers to it."""
        raise NotImplementedError

    async def offer(
        self, target: str, release: Mapping[str, Any] | None, key: str, peer: str
    ) -> dict[str, Any]:
        """POST /v1/installs: check the release and say which chunks are needed: {"id", "state", "need": {digest: [index]}}.

        `release` is the manifest for boards that were paired without signed metadata and None otherwise; `key` is
        the idempotency key, `peer` the fingerprint of who asks.
        """
        raise NotImplementedError

    def blob_status(self, digest: str) -> dict[str, Any]:
        """GET /v1/blobs/{digest}: {"digest", "complete", "size_bytes", "have": [index], "need": [index]}."""
        raise NotImplementedError

    def chunk_size(self, digest: str, index: int) -> int:
        """The exact size in bytes that chunk `index` of blob `digest` must have; DeviceError `not-offered` otherwise."""
        raise NotImplementedError

    async def receive_chunk(self, digest: str, index: int, data: bytes) -> None:
        """PUT /v1/blobs/{digest}/chunks/{index}; DeviceError `not-offered`, `wrong-size`, `wrong-hash`, `no-space`."""
        raise NotImplementedError

    async def finish(self, install_id: str) -> dict[str, Any]:
        """POST /v1/installs/{id}/finish: everything is there, go on; returns at once with the install's state."""
        raise NotImplementedError

    async def abort(self, install_id: str) -> dict[str, Any]:
        """POST /v1/installs/{id}/abort: give the install up; what runs keeps running."""
        raise NotImplementedError

    def install(self, install_id: str) -> dict[str, Any]:
        """GET /v1/installs/{id}: {"id", "model", "release", "state", "history", "reason", "active", "previous"}."""
        raise NotImplementedError

    async def rollback(self, model: str) -> dict[str, Any]:
        """POST /v1/slots/{model}/rollback: back to the previous release, said only after it answered its golden inputs."""
        raise NotImplementedError

    def history(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` records with a sequence above `after`, oldest first."""
        raise NotImplementedError

    def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        """Records (`win`, `evt`, `install`) as they happen; a slow reader loses the oldest and is told by a `gap` record."""
        raise NotImplementedError

    def acknowledge(self, boot: str, upto: int) -> None:
        """The studio has kept all records of `boot` up to sequence `upto`; they may be forgotten."""
        raise NotImplementedError

    async def infer(
        self, model: str, feeds: Mapping[str, np.ndarray[Any, Any]], *, deadline_ms: float | None = None
    ) -> dict[str, Any]:
        """POST /v1/infer: {"outputs": {name: ndarray}, "label", "index", "confidence", "stages_ms", "release"}.

        `feeds` are named input tensors, or {"input": raw item} that goes through the release's own pipeline when the
        model has no input of that name.
        """
        raise NotImplementedError

    async def bench(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """POST /v1/bench: latency of the active model in its host: keys of `bench` on the command line."""
        raise NotImplementedError

    def pause(self, model: str) -> dict[str, Any]:
        """Stop inferring on the release's own source; /v1/infer is still answered."""
        raise NotImplementedError

    def resume(self, model: str) -> dict[str, Any]:
        """Infer again on the release's own source."""
        raise NotImplementedError

    def open_pairing(self) -> str:
        """Open the pairing window and return the code that is shown on the board."""
        raise NotImplementedError

    def emit_event(self, name: str, **fields: Any) -> None:
        """Record the event `name` durably and send it to subscribers; the net layer reports security events so."""
        raise NotImplementedError
