"""All models of the board: which release of each serves, and what happens when one keeps dying."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from edgestudio.agent.observe.capture import CaptureRing
from edgestudio.agent.run.bay import ModelBay
from edgestudio.agent.run.dispatch import no_model
from edgestudio.agent.run.host import HostDiedError
from edgestudio.agent.run.opening import Identity, MakeRoom, Opener, Progress
from edgestudio.agent.run.seat import Seat, host_spec
from edgestudio.agent.store.board import BoardStore
from edgestudio.runtime.gpu import Gpu
from edgestudio.wire.errors import DeviceError, EdgeStudioError

Report = Callable[..., object]
"""event(name, text, *, level, model, release, **data)."""
Unfit = Callable[[str, str, str], Awaitable[None]]
"""Called with model, release id and reason when the serving release died too often."""


class BoardModels:
    """The bays by model name. Knows nothing of installs; `on_unfit` is who decides what runs instead."""

    def __init__(
        self,
        store: BoardStore,
        report: Report,
        on_unfit: Unfit,
        threads: int,
        gpu: Gpu | None = None,
    ) -> None:
        self.bays: dict[str, ModelBay] = {}
        self.threads = threads
        self.folder = store.folder
        self.captures: CaptureRing | None = None
        self.opener = Opener(store.derived, report, gpu.to_dict() if gpu else None)
        self._store = store
        self._report = report
        self._on_unfit = on_unfit
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Serve every active release, mended from its blobs where the disk damaged it."""
        for model in list(self._store.state.models):
            if self._store.state.models[model].active is not None and not self._store.state.safe_mode:
                await self._start_model(model)

    async def stop(self) -> None:
        """Close everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(bay.stop() for bay in self.bays.values()))
        self.bays.clear()

    def bay(self, model: str) -> ModelBay:
        """The bay of `model`, made on first use."""
        if model not in self.bays:
            row = self._store.state.models.get(model)
            self.bays[model] = ModelBay(model, self, is_paused=bool(row and row.paused))
            self.bays[model].start()
        return self.bays[model]

    def neighbour(self, model: str) -> ModelBay | None:
        """See `keeper.Keeper`."""
        bay = self.bays.get(model)
        return bay if bay is not None and bay.serving is not None else None

    def required(self, model: str) -> ModelBay:
        """The bay of `model`, or the only one when no model is named; DeviceError `no-model`."""
        serving = [name for name, bay in self.bays.items() if bay.serving is not None]
        name = model or (serving[0] if len(serving) == 1 else "")
        if name not in self.bays:
            raise no_model(model)
        return self.bays[name]

    async def open(self, model: str, release: str, threads: int | None = None) -> Seat:
        """Load `release` in a new host of its own, beside whatever serves."""
        folder = await asyncio.to_thread(self._store.build_slot, release)
        manifest = await asyncio.to_thread(self._store.manifest, release)
        died = self.bay(model).died
        seat = await Seat.open(release, manifest, folder, threads or self.threads, died, self.opener)
        self.note_placement(model, seat)
        return seat

    async def prepare(self, release: str, progress: Progress, make_room: MakeRoom) -> None:
        """Build what the laid out `release` needs to run here; ModelFailedError says why that cannot be.

        `make_room` is called where there is something to build, before it is begun.
        """
        folder = await asyncio.to_thread(self._store.build_slot, release)
        manifest = await asyncio.to_thread(self._store.manifest, release)
        spec = host_spec(manifest, folder, self.threads, self.opener.gpu)
        await self.opener.prepare(spec, Identity.of(manifest), progress, make_room)

    def quicken(self, seat: Seat) -> None:
        """In the background, keep what makes the next start of a slowly loading model faster."""
        work = self.opener.quicken(seat.host, Identity.of(seat.manifest))
        task = asyncio.get_running_loop().create_task(work, name="quicken")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note_placement(self, model: str, seat: Seat) -> None:
        """Nodes that silently went to the processor instead of the accelerator that was asked for are told."""
        if alarm := seat.loaded.placement.get("alarm"):
            text = f"{model} does not run where it was meant to: {alarm}."
            release = seat.manifest.counter
            self.event("placement.fallback", text, level="warning", model=model, release=release)

    async def reopen(self, model: str, release: str) -> Seat:
        """See `keeper.Keeper`."""
        return await self.open(model, release)

    def event(self, name: str, text: str, *, level: str = "info", model: str = "", **data: Any) -> None:
        """See `keeper.Keeper`."""
        self._report(name, text, level=level, model=model, **data)

    def unfit(self, model: str, release: str, reason: str) -> None:
        """See `keeper.Keeper`."""
        task = asyncio.get_running_loop().create_task(self._decide(model, release, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def has_previous(self, model: str) -> bool:
        """Whether there is an earlier release to go back to."""
        row = self._store.state.models.get(model)
        return row is not None and row.previous is not None

    def safe_mode(self, reason: str) -> None:
        """Serve nothing from now on, and say so loudly. Stays reachable; a new commit or a resume ends it."""
        self._store.state.safe_mode = reason
        try:
            self._store.save()
        except DeviceError:
            reason = f"{reason} (and the disk cannot keep that)"
        for bay in self.bays.values():
            seat = bay.serve(None)
            if seat is not None:
                task = asyncio.get_running_loop().create_task(seat.close())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._report("agent.safe_mode", f"Safe mode: {reason}.", level="error")

    async def _decide(self, model: str, release: str, reason: str) -> None:
        await self._on_unfit(model, release, reason)

    async def _start_model(self, model: str) -> None:
        row = self._store.state.models[model]
        assert row.active is not None
        try:
            seat = await self.open(model, row.active)
        except EdgeStudioError as error:
            await self._on_unfit(model, row.active, f"it cannot be started: {error.message}")
            return
        failure = await seat.check_golden()
        if failure:
            await seat.close()
            await self._on_unfit(model, row.active, failure)
            return
        self.bay(model).serve(seat)


__all__ = ["BoardModels", "HostDiedError"]
