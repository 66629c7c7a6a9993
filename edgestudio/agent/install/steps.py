"""What an install does in each state: lay out, inspect, dry run, trial, settle, and the way back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from edgestudio.agent.install.engines import refuse_foreign
from edgestudio.agent.install.health import WARM_RUNS, HealthGate, over_budget
from edgestudio.agent.install.ledger import UnfitError
from edgestudio.agent.install.quarantine import put_away
from edgestudio.agent.install.room import available_bytes, fits
from edgestudio.agent.run.host import HostDiedError, ModelFailedError
from edgestudio.agent.run.models import BoardModels
from edgestudio.agent.run.opening import Progress
from edgestudio.agent.run.scanning import scan_in_child
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.state import InstallRow, ModelRow
from edgestudio.wire.errors import EdgeStudioError, InputError, InstallError
from edgestudio.wire.release import ROLE_MODEL

CHECK_EVERY_S = 0.25
JUDGE_EVERY_S = 1.0
TRIAL_GRACE_S = 60.0
DRY_DEADLINE_S = 30.0
Temperature = Callable[[], "float | None"]


class InstallSteps:
    """Implements `install.machine.Steps` with the store, the models and the thermometer of one board."""

    def __init__(
        self,
        store: BoardStore,
        models: BoardModels,
        temperature: Temperature,
        available: Callable[[], int] = available_bytes,
    ) -> None:
        self._store = store
        self._models = models
        self._temperature = temperature
        self._available = available
        self._is_making_room = False
        """What serves was closed, because the candidate does not fit into memory beside it."""
        self._candidate: Seat | None = None
        self._stand_by: Seat | None = None
        """What served before the trial; it stays loaded so that going back takes no time."""

    async def inspect(self, row: InstallRow) -> None:
        """See `machine.Steps`. Nothing opens the slot before the scan is done."""
        folder = await asyncio.to_thread(self._store.build_slot, row.release)
        manifest = self._store.manifest(row.release)
        model: Path = folder / manifest.files[ROLE_MODEL].name
        try:
            await scan_in_child(model, hidden=self._store.folder)
        except (ModelFailedError, InputError) as error:
            raise UnfitError(f"The model file was refused: {error.message}", code="hostile-model") from error
        refuse_foreign(model, manifest.requires)

    async def stage(self, row: InstallRow) -> None:
        """See `machine.Steps`."""
        await asyncio.to_thread(self._store.build_slot, row.release)

    async def build(self, row: InstallRow, progress: Progress) -> None:
        """See `machine.Steps`. Takes minutes for an engine; what serves goes on serving, unless memory is too short."""
        try:
            await self._models.prepare(row.release, progress, lambda: self._make_room(row))
        except HostDiedError as death:
            raise InstallError(death.message, hint="Push it again.", code="build-died") from death
        except (ModelFailedError, InputError) as error:
            raise UnfitError(
                f"It cannot be built for this board: {error.message}", code="build-failed"
            ) from error

    async def dry_run(self, row: InstallRow) -> None:
        """See `machine.Steps`. What serves goes on serving meanwhile, unless memory is too short for both."""
        await self._make_room(row)
        try:
            seat = await self._models.open(row.model, row.release)
        except (ModelFailedError, HostDiedError, InputError) as error:
            raise UnfitError(f"The model cannot be loaded: {error.message}", code="load-failed") from error
        self._candidate = seat
        if failure := await seat.check_golden():
            raise UnfitError(f"The dry run failed: {failure}.", code="golden-mismatch")
        if not row.is_revert:
            await self._warm_up(seat)

    async def trial(self, row: InstallRow) -> None:
        """See `machine.Steps`. Returns when the candidate has been healthy for long enough."""
        seat = self._candidate
        assert seat is not None
        limits = seat.manifest.limits
        gate = HealthGate(limits, seat.baseline, may_be_constant=seat.may_be_constant)
        bay = self._models.bay(row.model)
        bay.least_rate_hz = 1.5 * limits.trial_inferences / max(limits.trial_s, 1.0)
        bay.observers.append(gate)
        self._stand_by = bay.serve(seat)
        self._candidate, self._is_making_room = None, False
        try:
            await self._watch(seat, gate)
        finally:
            bay.observers.remove(gate)
            bay.least_rate_hz = 0.0

    async def settle(self, row: InstallRow) -> None:
        """See `machine.Steps`."""
        if self._candidate is not None:  # a revert: it was loaded and answered, and serves from here on
            self._stand_by = self._models.bay(row.model).serve(self._candidate)
            self._candidate, self._is_making_room = None, False
        await self._close_stand_by()
        serving = self._models.bay(row.model).serving
        if serving is not None:
            self._models.quicken(serving)

    async def restore(self, row: InstallRow) -> str:
        """See `machine.Steps`."""
        bay = self._models.bay(row.model)
        slots = self._store.state.models[row.model]
        await self.discard(row)
        back, self._stand_by = self._stand_by, None
        failed: Seat | None = None
        if bay.serving is not None and bay.serving.release == row.release:
            failed = bay.serve(back)
        elif back is None:
            back = bay.serving
        if failed is not None:
            await failed.close()
        for release in filter(None, (slots.active, slots.previous)):
            if release == row.release:
                continue
            if seat := await self._answering(row.model, release, back):
                bay.serve(seat)
                self._note_active(slots, release)
                return self._store.state.releases[release].version or release
            back = None
        bay.serve(None)
        if slots.active is not None:
            self._models.safe_mode(f"no release of {row.model} answers its golden inputs")
        return ""

    async def discard(self, row: InstallRow) -> None:
        """See `machine.Steps`."""
        seat, self._candidate = self._candidate, None
        if seat is not None:
            await seat.close()
        await self._wake(row)

    # ------------------------------------------------------------------ parts

    async def _make_room(self, row: InstallRow) -> None:
        """On a board that is short of memory the candidate is tried instead of what serves, not beside it."""
        bay = self._models.bays.get(row.model)
        available = self._available()
        if bay is None or bay.serving is None or fits(self._store.manifest(row.release), available):
            return
        self._models.event(
            "model.making_room",
            f"{row.model} pauses: {available / 2**20:,.0f} MiB are free, too little to try "
            f"{row.version or row.release} beside it.",
            level="warning", model=row.model, available_bytes=available,
        )  # fmt: skip
        self._is_making_room = True
        seat = bay.serve(None)
        if seat is not None:
            await seat.close()

    async def _wake(self, row: InstallRow) -> None:
        """What made room serves again, once it has answered its golden inputs."""
        if not self._is_making_room:
            return
        self._is_making_room = False
        active = self._store.state.models[row.model].active
        bay = self._models.bay(row.model)
        if active is None or bay.serving is not None:
            return
        seat = await self._answering(row.model, active, None)
        if seat is None:
            self._models.unfit(
                row.model, active, "it did not answer its golden inputs after it had made room"
            )
            return
        bay.serve(seat)
        text = f"{row.model} serves again after it had made room."
        self._models.event("model.resumed", text, model=row.model)

    async def _warm_up(self, seat: Seat) -> None:
        if not seat.has_source:
            return
        latencies: list[float] = []
        try:
            for _ in range(WARM_RUNS):
                _, answer = await seat.tick(DRY_DEADLINE_S)
                latencies.append(sum(answer["stages_ms"].values()))
                if not answer["finite"]:
                    raise UnfitError("The dry run failed: an answer is NaN or infinity.", code="not-finite")
        except (ModelFailedError, HostDiedError, InputError) as error:
            raise UnfitError(f"The dry run failed: {error.message}", code="dry-run-failed") from error
        if failure := over_budget(latencies, seat.manifest.limits):
            raise UnfitError(f"The dry run failed: {failure}.", code="over-budget")

    async def _watch(self, seat: Seat, gate: HealthGate) -> None:
        limits = gate.limits
        started = time.monotonic()
        judged = started
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            if seat.host.death is not None:
                raise UnfitError(f"The trial failed: {seat.host.death.message}", code="crashed")
            now = time.monotonic()
            if now - judged >= JUDGE_EVERY_S:
                judged = now
                failure = gate.check(rss_bytes=seat.host.rss_bytes(), temperature_c=self._temperature())
                if failure:
                    raise UnfitError(f"The trial failed: {failure}.", code="unhealthy")
            if gate.is_enough(now - started):
                failure = gate.check(rss_bytes=seat.host.rss_bytes(), temperature_c=self._temperature())
                if failure:
                    raise UnfitError(f"The trial failed: {failure}.", code="unhealthy")
                return
            if not seat.has_source and now - started >= limits.trial_s:
                return  # nothing to infer on came with the release; requests alone decided
            if now - started > 3 * limits.trial_s + TRIAL_GRACE_S:
                raise UnfitError(
                    f"The trial failed: {gate.inferences} of {limits.trial_inferences} inferences were done.",
                    code="too-few",
                )

    async def _answering(self, model: str, release: str, loaded: Seat | None) -> Seat | None:
        """A seat of `release` that answers its golden inputs: the loaded one, or a fresh one, or None."""
        if loaded is not None and loaded.release == release:
            if loaded.host.is_alive and not await loaded.check_golden():
                return loaded
            await loaded.close()
        try:
            seat = await self._models.open(model, release)
        except (EdgeStudioError, InstallError):
            return None
        if await seat.check_golden():
            await seat.close()
            return None
        return seat

    def _note_active(self, slots: ModelRow, release: str) -> None:
        if slots.active == release:
            return
        if slots.active is not None:  # the one that should serve cannot; it is not tried again
            put_away(
                slots, self._store.state.releases[slots.active], "it no longer answers its golden inputs"
            )
        slots.active, slots.previous = release, None

    async def _close_stand_by(self) -> None:
        seat, self._stand_by = self._stand_by, None
        if seat is not None:
            await seat.close()
