"""Takes releases in: checks an offer against this board before a byte is sent, then collects the chunks."""

from __future__ import annotations

import asyncio
import secrets
import time

from edgestudio.agent.install.facts import BoardFacts
from edgestudio.agent.install.ledger import ARRIVING, Ledger
from edgestudio.agent.killpoints import reach
from edgestudio.agent.store.board import BoardStore, release_row
from edgestudio.agent.store.gc import FINISHED
from edgestudio.agent.store.state import InstallRow, ModelRow
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InstallError
from edgestudio.wire.release import ReleaseManifest

RESERVE_BYTES = 64 << 20
RECEIVING_IDLE_S = 60.0


class Intake:
    """One release arrives at a time."""

    def __init__(
        self, store: BoardStore, facts: BoardFacts, ledger: Ledger, *, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        self._store = store
        self._facts = facts
        self._ledger = ledger
        self._reserve = reserve_bytes
        self._last_chunk = time.monotonic()
        self._lock = asyncio.Lock()

    async def offer(self, manifest: ReleaseManifest, target: str, key: str, peer: str) -> InstallRow:
        """Check a trusted release against this board and get ready to receive it; InstallError says why not."""
        async with self._lock, self._store.tidying:
            digest, release = await asyncio.to_thread(self._store.keep_manifest, manifest)
            if (known := self._known(release, key)) is not None:
                return known
            self._check(manifest, digest, release)
            await self._make_way(peer)
            state = self._store.state
            state.releases.setdefault(release, release_row(manifest, digest))
            model = state.models.setdefault(manifest.model, ModelRow())
            row = InstallRow(
                id=secrets.token_hex(8), model=manifest.model, release=release, version=manifest.version,
                target=target, key=key, peer=peer, state="", started=time.time(),
                active=model.active, previous=model.previous,
            )  # fmt: skip
            self._ledger.begin(row, "OFFERED")
            try:
                await asyncio.to_thread(self._begin, manifest)
                self._ledger.enter(row, "RECEIVING")
            except EdgeStudioError as error:
                await self.give_up(row, error)
                raise
            self._last_chunk = time.monotonic()
            return row

    def need(self, row: InstallRow) -> dict[str, list[int]]:
        """Chunks that must be sent, by blob; a chunk that two files share is asked for once."""
        if row.state not in ARRIVING:
            return {}
        need: dict[str, list[int]] = {}
        asked: set[str] = set()
        for file in self._store.manifest(row.release).files.values():
            wanted = [i for i in self._store.blobs.missing(file.sha256) if file.chunks[i] not in asked]
            asked.update(file.chunks[index] for index in wanted)
            if wanted:
                need[file.sha256] = wanted
        return need

    def chunk_size(self, digest: str, index: int) -> int:
        """Exact size in bytes of a chunk that may be sent; DeviceError `not-offered` for any other."""
        spec = self._store.blobs.incoming(digest)
        if not 0 <= index < len(spec.chunks):
            raise DeviceError("The release's file has no such chunk.", code="not-offered")
        return spec.chunk_bytes(index)

    async def receive(self, digest: str, index: int, data: bytes) -> None:
        """Keep one chunk of the open install."""
        self._last_chunk = time.monotonic()
        await asyncio.to_thread(self._store.blobs.receive, digest, index, data)
        reach("chunk")

    async def complete(self, row: InstallRow) -> bool:
        """Check the whole files of a release; False while chunks are missing, or when it was done before."""
        async with self._lock:
            if row.state != "RECEIVING":
                return False
            if await asyncio.to_thread(self._complete, row.release):
                return False
            self._ledger.enter(row, "VERIFIED")
            return True

    async def resume(self, row: InstallRow) -> None:
        """After a restart: chunks that arrived before are kept."""
        try:
            await asyncio.to_thread(self._begin, self._store.manifest(row.release))
        except EdgeStudioError as error:
            await self.give_up(row, error)

    async def give_up(self, row: InstallRow, error: EdgeStudioError) -> None:
        """End a transfer and free its space."""
        row.reason = error.sentence
        self._ledger.end(row, "FAILED")
        if row.release in self._store.state.releases:
            await asyncio.to_thread(self._discard, self._store.manifest(row.release))

    def _known(self, release: str, key: str) -> InstallRow | None:
        """An install that this offer repeats: by key, or the same release that is arriving or active."""
        rows = list(self._store.state.installs.values())
        for row in rows:
            if row.release == release and not row.is_revert:
                model = self._store.state.models.get(row.model)
                if row.state not in FINISHED or (
                    row.state == "COMMITTED" and model and model.active == release
                ):
                    return row
        return next((row for row in rows if key and row.key == key and row.release == release), None)

    def _check(self, manifest: ReleaseManifest, digest: str, release: str) -> None:
        model = self._store.state.models.get(manifest.model, ModelRow())
        if digest in model.quarantine:
            raise InstallError(
                f"This release failed here before: {model.quarantine[digest].rstrip('.')}.",
                hint="Release it from quarantine on the board, or push a corrected one.",
                code="quarantined",
            )
        if manifest.counter <= model.floor and model.active != release:
            raise InstallError(
                f"Release {manifest.counter} of {manifest.model} is not newer than {model.floor}, "
                "which this board has run.",
                hint="Sign it anew with a higher counter, or roll back on the board.",
                code="downgrade",
            )
        manifest.requires.check(
            hardware=self._facts.hardware,
            arch=self._facts.arch,
            runtimes=self._facts.runtimes,
            memory_bytes=self._facts.memory_bytes,
            gpu_matches=lambda wanted: self._facts.gpu is not None and self._facts.gpu.matches(wanted),
            gpu_name=self._facts.gpu.name if self._facts.gpu else "",
        )
        missing = {
            f.sha256: f.size_bytes for f in manifest.files.values() if not self._store.blobs.has(f.sha256)
        }
        needed = int((sum(missing.values()) + manifest.size_bytes) * 1.1) + self._reserve
        free = self._store.ops.free_bytes(self._store.folder)
        if free < needed:
            raise DeviceError(
                f"The board has {free / 2**20:,.0f} MiB free, and this release needs {needed / 2**20:,.0f} MiB.",
                hint="Remove models that are no longer used, or free space on the board.",
                code="no-space",
            )

    async def _make_way(self, peer: str) -> None:
        """A transfer that its own studio replaces, or that nobody feeds, gives way; any other one is in the way."""
        row = self._ledger.open_row
        if row is None:
            return
        is_idle = time.monotonic() - self._last_chunk > RECEIVING_IDLE_S
        if row.state in ARRIVING and (row.peer == peer or is_idle):
            await self.give_up(
                row, InstallError("Another release was pushed in its place.", code="superseded")
            )
            return
        self._ledger.refuse_while_busy()

    def _begin(self, manifest: ReleaseManifest) -> None:
        for file in manifest.files.values():
            self._store.blobs.begin(file)

    def _complete(self, release: str) -> dict[str, list[int]]:
        again = {}
        for file in self._store.manifest(release).files.values():
            if missing := self._store.blobs.complete(file.sha256):
                again[file.sha256] = missing
        return again

    def _discard(self, manifest: ReleaseManifest) -> None:
        for file in manifest.files.values():
            self._store.blobs.discard(file.sha256)
