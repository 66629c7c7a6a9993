"""Keeps one model answering: its line of work, its own source, restarts after crashes, and switching releases."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from edgestudio.agent.observe.windows import WindowBuilder
from edgestudio.agent.run.channel import Array
from edgestudio.agent.run.host import RUN_S, HostDiedError
from edgestudio.agent.run.queue import BACKGROUND, NORMAL, Job, JobQueue
from edgestudio.agent.run.seat import Seat
from edgestudio.wire.errors import DeviceError, EdgeStudioError

RATE_HZ = 10.0
MAX_RATE_HZ = 200.0
DEATHS = 3
DEATHS_WITHIN_S = 600.0
REVIVE_FIRST_S = 0.1
REVIVE_S = 30.0


class Observer(Protocol):
    """Whoever judges what the bay serves, such as the health gate of a trial."""

    def observe(self, answer: Mapping[str, Any], *, sample: int | None = None) -> None:
        """One answer was given."""

    def observe_error(self) -> None:
        """One request was not answered."""


class Keeper(Protocol):
    """What a bay tells and asks the supervisor."""

    async def reopen(self, model: str, release: str) -> Seat:
        """Load `release` again in a new host."""

    def event(self, name: str, text: str, *, level: str = "info", model: str = "", **data: Any) -> None:
        """Record something that happened."""

    def unfit(self, model: str, release: str, reason: str) -> None:
        """The serving release died too often: go back to the one before."""


class ModelBay:
    """Serves one model. `serve` switches to another release between two requests; none is lost."""

    def __init__(self, model: str, keeper: Keeper, *, is_paused: bool = False) -> None:
        self.model = model
        self.queue = JobQueue()
        self.window = WindowBuilder()
        self.serving: Seat | None = None
        self.is_paused = is_paused
        """By a person."""
        self.is_halted = False
        """By heat."""
        self.rate_factor = 1.0
        self.least_rate_hz = 0.0
        """What a trial needs, whatever the release's own rate."""
        self.slowdown = 1.0
        self.observers: list[Observer] = []
        self.deadline_s = RUN_S
        self._keeper = keeper
        self._ready = asyncio.Event()
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._tasks: set[asyncio.Task[None]] = set()

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

    async def ask(
        self, kind: str, feeds: Mapping[str, Array], *, deadline_s: float | None, priority: int = NORMAL
    ) -> dict[str, Any]:
        """Have `feeds` inferred in turn: kind "feeds" (named tensors) or "item" (one raw item under "input")."""
        if self.serving is None and not self._tasks:
            raise no_model(self.model)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        await self.queue.put((kind, feeds), priority=priority, deadline_s=deadline_s, answer=answer)
        return await answer

    @property
    def rate_hz(self) -> float:
        """How often an item of the release's own source is offered now."""
        own = (self.serving.loaded.rate_hz if self.serving else None) or RATE_HZ
        return min(MAX_RATE_HZ, max(own, self.least_rate_hz)) * self.rate_factor

    # ------------------------------------------------------------------ work

    async def _dispatch(self) -> None:
        while True:
            job = await self.queue.get()
            seat = await self._seat(job)
            if seat is not None:
                await self._do(job, seat)

    async def _seat(self, job: Job) -> Seat | None:
        """Who answers; waits for a host that is being restarted, unless nobody asked for this job."""
        if self.serving is not None and self.serving.host.is_alive:
            return self.serving
        if job.answer is None:
            return None
        try:
            await asyncio.wait_for(self._ready.wait(), self.deadline_s)
        except asyncio.TimeoutError:
            job.fail(no_model(self.model))
            return None
        return self.serving

    async def _do(self, job: Job, seat: Seat) -> None:
        queue_ms = (time.monotonic() - job.entered) * 1e3
        kind, feeds = job.work
        seat.host.slowdown = self.slowdown
        sample: int | None = None
        try:
            if kind == "tick":
                sample, answer = await seat.tick(self.deadline_s)
            elif kind == "item":
                answer = await seat.host.item(feeds["input"], self.deadline_s)
            else:
                answer = await seat.host.feeds(feeds, self.deadline_s)
        except EdgeStudioError as error:
            self._failed(job, error, is_input=error.code in {"bad-item", "bad-feed", "bad-tensor"})
            return
        self.window.record(answer, queue_ms)
        for observer in self.observers:
            observer.observe(answer, sample=sample)
        if job.answer is not None and not job.answer.done():
            answer["queue_ms"] = queue_ms
            answer["release"] = seat.manifest.counter
            answer["version"] = seat.manifest.version
            job.answer.set_result(answer)

    def _failed(self, job: Job, error: EdgeStudioError, *, is_input: bool) -> None:
        if not is_input:  # what a caller sent wrongly says nothing about the model
            self.window.errors += 1
            if isinstance(error, HostDiedError) and error.how == "timeout":
                self.window.timeouts += 1
            for observer in self.observers:
                observer.observe_error()
        if job.answer is not None and not job.answer.done():
            job.answer.set_exception(error)

    async def _feed(self) -> None:
        """Offer the release's own items at its rate; a slow model drops some instead of falling behind."""
        due = time.monotonic()
        while True:
            due = max(due + 1.0 / max(self.rate_hz, 0.01), time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            wanted = self.observers or not (self.is_paused or self.is_halted)
            if wanted and self.serving is not None and self.serving.has_source:
                await self.queue.put(("tick", None), priority=BACKGROUND)

    def _apply_queue(self, policy: Mapping[str, Any]) -> None:
        self.queue.capacity = int(policy.get("size", self.queue.capacity))
        self.queue.policy = policy.get("when_full", self.queue.policy)
        if policy.get("deadline_ms"):
            self.queue.default_deadline_s = float(policy["deadline_ms"]) / 1e3

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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def no_model(model: str) -> DeviceError:
    """Nothing answers for `model`."""
    return DeviceError(
        f"No release of {model or 'any model'} is running on this board.",
        hint="Push one, or look at the board's events for why it stopped.",
        code="no-model",
    )
