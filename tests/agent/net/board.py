"""A board that is real up to its supervisor: real identity, trust, server and blobs; the install ends at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.agent.net.server import AgentServer
from edgestudio.agent.observe.capture import CaptureRing
from edgestudio.agent.settings import AgentSettings
from edgestudio.agent.store.blobs import BlobStore
from edgestudio.agent.store.fsops import DiskOps
from edgestudio.agent.supervisor import Supervisor
from edgestudio.agent.trust.clock import TrustClock
from edgestudio.agent.trust.pairing import PairingWindow
from edgestudio.agent.trust.peers import PeerStore
from edgestudio.agent.trust.releases import ReleaseTrust
from edgestudio.wire.errors import DeviceError, InstallError
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import ReleaseManifest


class PlainSupervisor(Supervisor):
    """Answers everything that the network asks, without running a model."""

    def __init__(self, settings: AgentSettings) -> None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.is_simulated = True
        self.boot_id = "boot-1"
        self.identity = Identity.load_or_create(settings.data_dir / "identity", settings.name)
        self.peers = PeerStore(settings.data_dir / "peers.json")
        self.trust: Any = ReleaseTrust(settings.data_dir / "tuf")
        self.clock = TrustClock(settings.data_dir / "clock")
        self.events: list[dict[str, Any]] = []
        self.pairing = PairingWindow(self.identity.fingerprint, self.peers, self.emit_event)
        self.captures = CaptureRing(DiskOps(), settings.data_dir / "captures", lambda *_, **__: None)
        self.blobs = BlobStore(DiskOps(), settings.data_dir / "blobs")
        self.blobs.prepare()
        self.installs: dict[str, dict[str, Any]] = {}
        self.manifests: dict[str, ReleaseManifest] = {}
        self.records: list[dict[str, Any]] = []
        self.listeners: list[asyncio.Queue[dict[str, Any]]] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.floor: dict[str, int] = {}

    def hello(self) -> dict[str, Any]:
        return {"hardware": "pi5", "arch": "aarch64"}

    def info(self) -> dict[str, Any]:
        return {"runtimes": ["onnxruntime"]}

    def state(self) -> dict[str, Any]:
        return {"models": {model: {"floor": floor} for model, floor in self.floor.items()}}

    async def stage_metadata(self, role: str, data: bytes, peer: str) -> None:
        self.trust.stage(role, data, peer)

    async def offer(
        self, target: str, release: Mapping[str, Any] | None, key: str, peer: str
    ) -> dict[str, Any]:
        manifest = ReleaseManifest.from_dict(
            await asyncio.to_thread(self.trust.resolve, target, self.clock.now(), peer)
        )
        manifest.requires.check(
            hardware="pi5", arch="aarch64", runtimes={"onnxruntime": 1}, memory_bytes=2**32
        )
        if manifest.counter <= self.floor.get(manifest.model, 0):
            raise InstallError("This release is older than what ran here.", code="downgrade")
        for file in manifest.files.values():
            await asyncio.to_thread(self.blobs.begin, file)
        install_id = f"i{len(self.installs)}"
        self.manifests[install_id] = manifest
        self.installs[install_id] = {"id": install_id, "state": "RECEIVING", "history": [], "reason": ""}
        return {"id": install_id, "state": "RECEIVING", "need": self._need(manifest)}

    def _need(self, manifest: ReleaseManifest) -> dict[str, list[int]]:
        need = {f.sha256: self.blobs.missing(f.sha256) for f in manifest.files.values()}
        return {digest: chunks for digest, chunks in need.items() if chunks}

    def blob_status(self, digest: str) -> dict[str, Any]:
        return {"digest": digest, "complete": self.blobs.has(digest), "have": self.blobs.received(digest)}

    def chunk_size(self, digest: str, index: int) -> int:
        spec = self.blobs.incoming(digest)
        if index >= len(spec.chunks):
            raise DeviceError("There is no such chunk.", code="not-offered")
        return spec.chunk_bytes(index)

    async def receive_chunk(self, digest: str, index: int, data: bytes) -> None:
        await asyncio.to_thread(self.blobs.receive, digest, index, data)

    async def finish(self, install_id: str) -> dict[str, Any]:
        self.install(install_id)
        manifest = self.manifests[install_id]
        for file in manifest.files.values():
            await asyncio.to_thread(self.blobs.complete, file.sha256)
        need = self._need(manifest)
        if need:
            return {**self.installs[install_id], "need": need}
        self.floor[manifest.model] = manifest.counter
        steps = ["VERIFIED", "INSPECTED", "STAGED", "DRYRUN", "TRIAL", "COMMITTED"]
        self.installs[install_id].update(
            state="COMMITTED", history=[{"state": s, "at": time.time()} for s in steps]
        )
        return self.installs[install_id]

    async def abort(self, install_id: str) -> dict[str, Any]:
        self.install(install_id)["state"] = "FAILED"
        return self.install(install_id)

    def install(self, install_id: str) -> dict[str, Any]:
        if install_id not in self.installs:
            raise DeviceError("There is no such install.", code="unknown-install")
        return self.installs[install_id]

    async def rollback(self, model: str) -> dict[str, Any]:
        raise DeviceError(f"No model {model} runs here.", code="unknown-model")

    def let_go(self, model: str, manifest: str, by: str) -> dict[str, Any]:
        raise DeviceError(f"No release of {model} is in quarantine.", code="not-quarantined")

    @property
    def first_seq(self) -> int:
        return 1

    def history(self, after: int, limit: int) -> list[dict[str, Any]]:
        return [r for r in self.records if r["seq"] > after][:limit]

    def record(self, kind: str = "win", **fields: Any) -> None:
        record = {"v": 1, "k": kind, "boot": self.boot_id, "seq": len(self.records) + 1, **fields}
        self.records.append(record)
        for queue in self.listeners:
            queue.put_nowait(record)

    def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.listeners.append(queue)

        async def read() -> AsyncIterator[dict[str, Any]]:
            try:
                while True:
                    yield await queue.get()
            finally:
                self.listeners.remove(queue)

        return read()

    def acknowledge(self, desk: str, boot: str, upto: int) -> None:
        self.acknowledged.append((desk, boot, upto))

    async def infer(
        self,
        model: str,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        *,
        deadline_ms: float | None = None,
        priority: int = 1,
    ) -> dict[str, Any]:
        return {"outputs": {name: array * 2 for name, array in feeds.items()}, "label": "x"}

    async def bench(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"options": dict(options)}

    def pause(self, model: str) -> dict[str, Any]:
        return {"model": model, "paused": True}

    def resume(self, model: str) -> dict[str, Any]:
        return {"model": model, "paused": False}

    def emit_event(self, name: str, **fields: Any) -> None:
        self.events.append({"name": name, **fields})


@contextlib.asynccontextmanager
async def running(data_dir: Path, port: int = 0) -> AsyncIterator[tuple[PlainSupervisor, AgentServer]]:
    """A board that listens on loopback and is not announced."""
    supervisor = PlainSupervisor(AgentSettings(data_dir, "bench board", "127.0.0.1", port))
    server = AgentServer(supervisor, announce=False)
    await server.start()
    try:
        yield supervisor, server
    finally:
        await server.stop()
