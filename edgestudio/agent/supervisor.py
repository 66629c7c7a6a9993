"""The board's one entry point for the network layer: every call of the protocol ends in one method here."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from edgestudio import __version__
from edgestudio.agent import simulate
from edgestudio.agent.install.facts import BoardFacts
from edgestudio.agent.install.intake import Intake
from edgestudio.agent.install.ledger import Ledger
from edgestudio.agent.install.machine import InstallMachine
from edgestudio.agent.install.quarantine import let_go
from edgestudio.agent.install.steps import InstallSteps
from edgestudio.agent.killpoints import reach
from edgestudio.agent.observe.capture import CaptureRing
from edgestudio.agent.observe.recorder import Origin, Recorder
from edgestudio.agent.observe.reporter import Reporter
from edgestudio.agent.observe.sensors.bank import RealBank, SensorBank
from edgestudio.agent.run.models import BoardModels
from edgestudio.agent.run.queue import NORMAL
from edgestudio.agent.run.scratch import sweep_scratch
from edgestudio.agent.run.serving import Serving
from edgestudio.agent.run.spawn import walls
from edgestudio.agent.settings import AgentSettings
from edgestudio.agent.start_guard import QUICK_S, StartGuard
from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.fsops import DiskOps, FileOps
from edgestudio.agent.store.gc import FINISHED
from edgestudio.agent.store.state import InstallRow
from edgestudio.agent.trust.clock import TrustClock
from edgestudio.agent.trust.contract import ReleaseTrust
from edgestudio.agent.trust.pairing import PairingWindow
from edgestudio.agent.trust.peers import PeerStore
from edgestudio.agent.trust.releases import ReleaseTrust as SignedReleases
from edgestudio.agent.views import install_view, models_view, placement_view
from edgestudio.wire.api import API_VERSION
from edgestudio.wire.errors import EdgeStudioError, InstallError
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import ReleaseManifest

if TYPE_CHECKING:
    from edgestudio.agent.uplink import BoardUplink

__all__ = ["AgentSettings", "ReleaseTrust", "Supervisor"]

ROLLBACK_S = 300.0
BOARD_FILE = "board.yaml"
"""`runtime.board_policy.FILE_NAME`, which costs memory to import."""
MAX_THREADS = 4


class Supervisor:
    """Owns the store, the install machine, the model hosts and the telemetry of one board.

    All coroutines run on one event loop. Errors are those of `wire.errors`; anything else is a bug.
    """

    def __init__(self, settings: AgentSettings, ops: FileOps | None = None) -> None:
        self.settings = settings
        self.boot_id = secrets.token_hex(8)
        self.is_simulated = settings.simulate is not None
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.identity = Identity.load_or_create(settings.data_dir / "identity", settings.name)
        self.peers = PeerStore(settings.data_dir / "peers.json")
        self.trust: ReleaseTrust = SignedReleases(settings.data_dir / "tuf")
        self.clock = TrustClock(settings.data_dir / "clock")
        origin = Origin(
            self.identity.fingerprint,
            self.boot_id,
            self.is_simulated,
            lambda: self.clock.quality,
            self.clock.now,
        )
        self.recorder = Recorder(settings.data_dir / "spool", origin, self.peers.fingerprints)
        self.pairing = PairingWindow(self.identity.fingerprint, self.peers, self.emit_event)
        board = simulate.profile(settings.simulate) if settings.simulate else None
        self.facts = BoardFacts.of_this_board(settings.sysroot, board.hardware if board else None)
        self.store = BoardStore(ops or DiskOps(), settings.data_dir)
        threads = max(1, min(MAX_THREADS, self.facts.cores // 2))
        self.models = BoardModels(self.store, self.recorder.event, self._unfit, threads, self.facts.gpu)
        bank: SensorBank = RealBank(settings.sysroot, settings.data_dir, self.facts.hardware)
        if board is not None:
            bank = simulate.SimulatedBank(board, bank, self._cpu_seconds)
        self.reporter = Reporter(self.recorder, bank, self.models)
        self.captures = CaptureRing(self.store.ops, settings.data_dir / "captures", self.recorder.event)
        self.captures.sensors, self.captures.check_model = self._sensors, self.models.required
        self.captures.origin = lambda: (
            self.clock.now(),
            self.boot_id,
            self.identity.fingerprint,
            self.is_simulated,
        )
        self.models.captures = self.captures
        self.ledger = Ledger(self.store, self._install_changed)
        self.intake = Intake(self.store, self.facts, self.ledger)
        steps = InstallSteps(self.store, self.models, self.reporter.temperature_c)
        self.machine = InstallMachine(self.store, self.ledger, self.intake, steps)
        self.serving = Serving(self.store, self.models, self.emit_event)
        self.uplink: BoardUplink | None = None
        """Where records go beside the studios that are connected."""
        self._guard = StartGuard(self.store, self.emit_event)
        self._settled: asyncio.TimerHandle | None = None
        self._started = time.monotonic()
        self._walls: dict[str, Any] = {}

    async def start(self) -> None:
        """Recover from whatever happened before, start the active models, the sensors and the telemetry."""
        await asyncio.to_thread(self.store.open)
        self._walls = await walls()
        await asyncio.to_thread(sweep_scratch)
        await self._believe_signed_time()
        if self.store.verdict in ("previous", "lost"):
            self.emit_event(
                "store.recovered", text="The state file was damaged; the board recovered.", level="warning",
                used=self.store.verdict,
            )  # fmt: skip
        self._guard.count_start()
        self.emit_event("agent.started", text=f"The agent {__version__} started.", version=__version__)
        reach("started")
        self.reporter.start()
        await self.models.start()
        await self.machine.recover()
        self._settled = asyncio.get_running_loop().call_later(QUICK_S, self._guard.settle)
        if (self.settings.data_dir / BOARD_FILE).exists():  # reading it costs memory
            from edgestudio.agent.uplink import uplink_of

            about = (self.identity, self.boot_id, self.store.state.boots, self.recorder, self.peers)
            self.uplink = await uplink_of(self.settings.data_dir, *about, self.emit_event)

    async def stop(self) -> None:
        """Stop inferring, close the hosts, flush the spool. An open install goes on at the next start."""
        if self._settled is not None:
            self._settled.cancel()
        if self.uplink is not None:
            await self.uplink.stop()
        await self.machine.stop()
        await self.reporter.stop()
        await self.models.stop()
        self._guard.settle()
        self.emit_event("agent.stopped", text="The agent stopped.")
        self.recorder.close()

    # ------------------------------------------------------------------ what it says of itself

    def hello(self) -> dict[str, Any]:
        """Body of GET /v1/hello: nothing that a stranger may not know."""
        return {
            "api": [API_VERSION],
            "id": self.identity.fingerprint,
            "name": self.settings.name,
            "hardware": self.facts.hardware,
            "arch": self.facts.arch,
            "simulated": self.is_simulated,
            "boot": self.boot_id,
            "agent": __version__,
        }

    def info(self) -> dict[str, Any]:
        """Body of GET /v1/info: runtimes, hardware, sensors with their quality."""
        now = self.clock.now()
        return {
            **self.hello(),
            "runtimes": dict(self.facts.runtimes),
            **self.facts.resources(),
            "sensors": {name: reading.to_dict() for name, reading in self.reporter.readings.items()},
            "free_bytes": self.store.ops.free_bytes(self.settings.data_dir),
            "metadata_age_s": self.trust.metadata_age_s(now),
            "clock": self.clock.quality,
            "isolation": dict(self._walls),
            "placement": placement_view(self.models),
            "uptime_s": time.monotonic() - self._started,
            "rss_bytes": psutil.Process().memory_info().rss,
        }

    def state(self) -> dict[str, Any]:
        """Body of GET /v1/state: models with their slots, installs, phase, safe mode, throttling."""
        row = self.ledger.open_row
        newest = sorted(self.store.state.installs.values(), key=lambda item: item.started)[-10:]
        return {
            "boot": self.boot_id,
            "seq": self.recorder.last_seq,
            "simulated": self.is_simulated,
            "models": models_view(self.store, self.models),
            "phase": row.state if row else "IDLE",
            "install": row.id if row else None,
            "installs": [install_view(self.store, item) for item in newest],
            "safe_mode": self.store.state.safe_mode,
            "throttle": self.reporter.ladder.rung,
            "sensors": self._sensors(),
        }

    # ------------------------------------------------------------------ installs

    async def stage_metadata(self, role: str, data: bytes, peer: str) -> None:
        """PUT /v1/tuf/{role}: keep signed metadata (and, as role "release", the manifest) for an offer."""
        await asyncio.to_thread(self.trust.stage, role, data, peer)

    async def offer(
        self, target: str, release: Mapping[str, Any] | None, key: str, peer: str
    ) -> dict[str, Any]:
        """POST /v1/installs: check the release and say which chunks are needed.

        Returns the install with `need`: {digest: [chunk index]}. `release` is for callers inside the agent that
        have verified it already; a studio's is None and comes from its signed metadata. `key` is the idempotency
        key, `peer` the fingerprint of who asks.
        """
        self.clock.check_install()
        if release is None:
            release = await asyncio.to_thread(self.trust.resolve, target, self.clock.now(), peer)
            await self._believe_signed_time()
        row = await self.intake.offer(ReleaseManifest.from_dict(release), target, key, peer)
        return self._view(row)

    def blob_status(self, digest: str) -> dict[str, Any]:
        """GET /v1/blobs/{digest}: what the board has of a blob and what it still needs."""
        if self.store.blobs.has(digest):
            return {"digest": digest, "complete": True, "have": [], "need": []}
        spec = self.store.blobs.incoming(digest)
        return {
            "digest": digest,
            "complete": False,
            "size_bytes": spec.size_bytes,
            "have": self.store.blobs.received(digest),
            "need": self.store.blobs.missing(digest),
        }

    def chunk_size(self, digest: str, index: int) -> int:
        """Exact size in bytes that chunk `index` of blob `digest` must have; DeviceError `not-offered`."""
        return self.intake.chunk_size(digest, index)

    async def receive_chunk(self, digest: str, index: int, data: bytes) -> None:
        """PUT a chunk; DeviceError `not-offered`, `wrong-size`, `wrong-hash`, `no-space`."""
        await self.intake.receive(digest, index, data)

    async def finish(self, install_id: str) -> dict[str, Any]:
        """POST finish: everything is there, go on; the answer has `need` while chunks are missing."""
        return self._view(await self.machine.finish(install_id))

    async def abort(self, install_id: str) -> dict[str, Any]:
        """POST abort: give the install up; what runs keeps running."""
        return self._view(await self.machine.abort(install_id))

    def install(self, install_id: str) -> dict[str, Any]:
        """GET /v1/installs/{id}: state, history, reason, active, previous, rolled_back_to."""
        return self._view(self.ledger.row(install_id))

    async def rollback(self, model: str) -> dict[str, Any]:
        """Back to the previous release, said only after it answered its golden inputs; InstallError otherwise."""
        row = await self.machine.revert(model, "asked for by a person")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.machine.wait(), ROLLBACK_S)
        if row.state != "COMMITTED":
            raise InstallError(
                f"The board could not go back: {row.reason}", hint="What ran keeps running.", code="rollback"
            )
        return {**self._view(row), "reason": row.reason}

    def let_go(self, model: str, manifest: str, by: str) -> dict[str, Any]:
        """POST release: a person lets what failed here be tried again; DeviceError `not-quarantined`."""
        reason = let_go(self.store, model, manifest)
        text = f"{by} let a release of {model} out of quarantine. It was there because: {reason}"
        self.emit_event("quarantine.released", text=text, model=model, manifest=manifest, by=by)
        return {"model": model, "manifest": manifest, "reason": reason}

    # ------------------------------------------------------------------ records

    @property
    def first_seq(self) -> int:
        """Sequence of this boot's first record."""
        return self.recorder.first_seq

    def history(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` records with a sequence above `after`, oldest first."""
        return self.recorder.history(after, limit)

    def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        """Records (`win`, `evt`, `install`) from now on; a slow reader loses the oldest and gets a `gap`."""
        return self.recorder.subscribe()

    def acknowledge(self, desk: str, boot: str, upto: int) -> None:
        """The studio `desk` has kept all records of `boot` up to `upto`; once all have, they may be forgotten."""
        self.recorder.acknowledge(desk, boot, upto)

    def emit_event(self, name: str, **fields: Any) -> None:
        """Record an event durably and send it to subscribers; the net layer reports security events so."""
        text, level = str(fields.pop("text", "")), str(fields.pop("level", "info"))
        self.recorder.event(name, text, level=level, **fields)

    # ------------------------------------------------------------------ running

    async def infer(
        self,
        model: str,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        *,
        deadline_ms: float | None = None,
        priority: int = NORMAL,
    ) -> dict[str, Any]:
        """POST /v1/infer: outputs (arrays), label, index, confidence, stages_ms, queue_ms, release.

        `feeds` are named input tensors, or {"input": raw item} that goes through the release's own pipeline when the
        model has no input of that name.
        """
        return await self.serving.infer(model, feeds, deadline_ms=deadline_ms, priority=priority)

    async def bench(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """POST /v1/bench: latency of the active model in its host: keys of `bench` on the command line."""
        result = await self.serving.bench(options)
        result["environment"].update(
            hardware=self.facts.hardware, arch=self.facts.arch, simulated=self.is_simulated,
            sensors=self._sensors(),
        )  # fmt: skip
        return result

    def pause(self, model: str) -> dict[str, Any]:
        """Stop inferring on the release's own source; /v1/infer is still answered."""
        return self.serving.pause(model, is_paused=True)

    def resume(self, model: str) -> dict[str, Any]:
        """Infer again on the release's own source; a person's word that also ends safe mode."""
        return self.serving.resume(model)

    def open_pairing(self) -> str:
        """Open the pairing window and return the code that is shown on the board."""
        return self.pairing.open().code

    # ------------------------------------------------------------------ inside

    def _view(self, row: InstallRow) -> dict[str, Any]:
        return {**install_view(self.store, row), "need": self.intake.need(row)}

    def _install_changed(self, row: InstallRow) -> None:
        self.recorder.install(install_view(self.store, row))
        if row.state in FINISHED:
            is_good = row.state == "COMMITTED"
            name = "install.committed" if is_good else "install.failed"
            if row.rolled_back_to:
                name = "install.rolled_back"
            release = self.store.release_row(row.release)
            self.recorder.event(
                name, row.reason or f"{row.model} {row.version} runs.", level="info" if is_good else "error",
                model=row.model, release=release.counter if release else 0, install=row.id,
            )  # fmt: skip

    async def _unfit(self, model: str, release: str, reason: str) -> None:
        """The active release cannot serve any more: back to the previous one, or nothing at all."""
        version = (
            self.store.state.releases[release].version if release in self.store.state.releases else release
        )
        self.emit_event("model.unfit", text=f"{version}: {reason}.", level="error", model=model)
        try:
            await self.machine.revert(model, f"{version} was given up: {reason}", is_forced=True)
        except EdgeStudioError:
            self.models.safe_mode(f"{model} {version}: {reason}, and there is no earlier release")

    async def _believe_signed_time(self) -> None:
        """It is at least as late as when the newest metadata that is trusted here was signed."""
        if (signed := await asyncio.to_thread(self.trust.newest_signed)) is not None:
            self.clock.raise_floor(signed)

    def _sensors(self) -> dict[str, Any]:
        return {name: reading.to_record().to_wire() for name, reading in self.reporter.readings.items()}

    def _cpu_seconds(self) -> float:
        times = psutil.Process().cpu_times()
        hosts = [bay.serving.host.cpu_seconds() for bay in self.models.bays.values() if bay.serving]
        return float(times.user + times.system) + sum(hosts)
