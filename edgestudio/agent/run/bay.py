"""Keeps one model answering: its own source, restarts after crashes, and switching from one release to the next."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from edgestudio.agent.run.dispatch import Dispatcher
from edgestudio.agent.run.host import HostDiedError
from edgestudio.agent.run.keeper import Keeper
from edgestudio.agent.run.queue import BACKGROUND
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.run.work import Work
from edgestudio.wire.errors import DeviceError, EdgeStudioError

RATE_HZ = 10.0
MAX_RATE_HZ = 200.0
DEATHS = 3
DEATHS_WITHIN_S = 600.0
REVIVE_FIRST_S = 0.1
REVIVE_S = 30.0


class ModelBay(Dispatcher):
    """Serves one model. `serve` switches to another release between two requests; none is lost."""

    def __init__(self, model: str, keeper: Keeper, *, is_paused: bool = False) -> None:
        super().__init__(model, keeper)
        self.is_paused = is_paused
        """By a person."""
        self.is_halted = False
        """By heat."""
        self.rate_factor = 1.0
        self.least_rate_hz = 0.0
        """What a trial needs, whatever the release's own rate."""
        self._switching = asyncio.Lock()
        self._deaths: deque[float] = deque(maxlen=DEATHS)

    def start(self) -> None:
        """Begin to take work."""
        for work in (self._dispatch(), self._feed()):
            self._spawn(work)

    async def stop(self) -> None:
        """Fail what waits, close the host."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.queue.drain(DeviceError("The agent is stopping.", code="stopping"))
        if self.live is not None:
            await self.live.stop()
            self.live = None
        if self.serving is not None:
            await self.serving.close()
            self.serving = None

    def serve(self, seat: Seat | None) -> Seat | None:
        """From now on `seat` answers; returns the one that did, which finishes the request it has."""
        before, self.serving = self.serving, seat
        if seat is None:
            self._ready.clear()
        else:
            self._ready.set()
            self.window.record_load(seat.loaded.load_ms)
            self._apply_queue(seat.loaded.queue)
            if seat.loaded.source_problem:
                self._keeper.event(
                    "source.failed", seat.loaded.source_problem, level="warning", model=self.model
                )
        self._spawn(self._go_live())
        return before

    def died(self, seat: Seat, death: HostDiedError) -> None:
        """A host that this bay opened ended by itself."""
        self._keeper.event(
            "model.died", death.message, level="error", model=self.model, release=seat.manifest.counter,
            how=death.how, details=death.details[-500:],
        )  # fmt: skip
        if seat is not self.serving:
            return
        self._ready.clear()
        self._deaths.append(time.monotonic())
        recent = [at for at in self._deaths if time.monotonic() - at < DEATHS_WITHIN_S]
        if self.observers:
            return  # on trial: the gate decides, and one death is enough
        if len(recent) >= DEATHS:
            self._deaths.clear()
            self.serving = None
            self._spawn(self._discard(seat))
            self._keeper.unfit(self.model, seat.release, f"it died {DEATHS} times within 10 minutes")
            return
        self._spawn(self._revive(seat, REVIVE_FIRST_S * 10 ** (len(recent) - 1)))

    @property
    def rate_hz(self) -> float:
        """How often an item of the release's own source is offered now."""
        own = (self.serving.loaded.rate_hz if self.serving else None) or RATE_HZ
        return min(MAX_RATE_HZ, max(own, self.least_rate_hz)) * self.rate_factor

    # ------------------------------------------------------------------ source and pipeline

    async def _feed(self) -> None:
        """Offer the release's own items at its rate; a slow model drops some instead of falling behind."""
        due = time.monotonic()
        while True:
            due = max(due + 1.0 / max(self.rate_hz, 0.01), time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            seat = self.serving
            if seat is None or not seat.has_source:
                continue
            if self.observers or (seat.offers_items and not (self.is_paused or self.is_halted)):
                await self.queue.put(Work("tick"), priority=BACKGROUND)

    async def _go_live(self) -> None:
        """Let the agent's part of the pipeline follow the release that serves."""
        async with self._switching:
            seat, live = self.serving, self.live
            if seat is not None and live is not None and live.seat.release == seat.release:
                live.seat = seat  # the same release in a new host
                return
            if live is not None:
                self.live = None
                self.window.counts.update(live.take_counts())
                await live.stop()
            if seat is None or not seat.loaded.is_live:
                return
            from edgestudio.agent.run.live import LivePipeline

            fresh = LivePipeline(self.model, seat, self._keeper, self, self.window.count)
            self.live = fresh
            try:
                await fresh.start()
            except EdgeStudioError as error:
                text = error.in_full
                self._keeper.event("source.failed", text, level="warning", model=self.model)

    def _apply_queue(self, policy: Mapping[str, Any]) -> None:
        self.queue.capacity = int(policy.get("size", self.queue.capacity))
        self.queue.policy = policy.get("when_full", self.queue.policy)
        deadline_ms = policy.get("deadline_ms")
        self.queue.default_deadline_s = float(deadline_ms) / 1e3 if deadline_ms else None

    # ------------------------------------------------------------------ restarts

    async def _revive(self, seat: Seat, delay_s: float) -> None:
        await asyncio.sleep(min(delay_s, REVIVE_S))
        await seat.close()
        try:
            fresh = await self._keeper.reopen(self.model, seat.release)
        except EdgeStudioError as error:
            if self.serving is seat:
                self.serving = None
                self._keeper.unfit(self.model, seat.release, f"it cannot be started again: {error.message}")
            return
        if self.serving is not seat:  # switched meanwhile
            await fresh.close()
            return
        self.serve(fresh)
        self._keeper.event(
            "model.restarted", "The model answers again.", model=self.model, release=seat.manifest.counter
        )

    async def _discard(self, seat: Seat) -> None:
        await seat.close()
