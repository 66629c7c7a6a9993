"""Keeps one model answering: its line of work, its own source, restarts after crashes, and switching releases."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgestudio.agent.observe.windows import WindowBuilder
from edgestudio.agent.run.host import RUN_S, HostDiedError
from edgestudio.agent.run.keeper import Keeper, Observer
from edgestudio.agent.run.queue import BACKGROUND, NORMAL, Job, JobQueue
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.run.work import Work
from edgestudio.wire.errors import DeviceError, EdgeStudioError

if TYPE_CHECKING:
    from edgestudio.agent.observe.capture import CaptureRing
    from edgestudio.agent.run.live import LivePipeline

RATE_HZ = 10.0
MAX_RATE_HZ = 200.0
DEATHS = 3
DEATHS_WITHIN_S = 600.0
REVIVE_FIRST_S = 0.1
REVIVE_S = 30.0
INPUT_CODES = frozenset(
    {
        "bad-item",
        "bad-feed",
        "bad-tensor",
        "bad-image",
        "bad-sound",
        "bad-json",
        "bad-array",
        "pickle",
        "invalid-input",
    }
)
SOURCE_CODES = frozenset({"source-ended", "no-camera", "no-opencv", "no-file"})


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
        self.live: LivePipeline | None = None
        """What the release's pipeline asks of the agent beside inference."""
        self.prefers_lighter = False
        """By heat: the fallback's lighter model answers."""
        self.prefers_remote = False
        """By heat: the remote model answers, where its budget and the board's owner allow."""
        self._switching = asyncio.Lock()
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

    async def ask_work(
        self, work: Work, *, deadline_s: float | None, priority: int = NORMAL
    ) -> dict[str, Any]:
        """Have `work` done in its turn and return the answer; raises why there is none."""
        if self.serving is None and not self._tasks:
            raise no_model(self.model)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        await self.queue.put(work, priority=priority, deadline_s=deadline_s, answer=answer)
        return await answer

    async def offer_work(self, work: Work, *, priority: int = BACKGROUND) -> None:
        """Line `work` up; nobody waits for the answer."""
        await self.queue.put(work, priority=priority)

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
            if seat is None:
                continue
            jobs, batch = [job], seat.loaded.batch
            if int(batch.get("max_items", 1)) > 1:
                until = time.monotonic() + float(batch.get("max_wait_ms", 0.0)) / 1e3
                jobs += await self.queue.more(int(batch["max_items"]) - 1, until)
            await self._do(jobs, seat)

    async def _seat(self, job: Job) -> Seat | None:
        """Who answers; waits for a host that is being restarted, unless there is a fallback or nobody asked."""
        if self.serving is not None and self.serving.host.is_alive:
            return self.serving
        if self.live is not None and self.live.has_fallback and not job.work.is_passed_on:
            work = job.work if job.work.kind != "tick" else Work("sample")
            self._spawn(self._rescue(job, work, no_model(self.model)))
            return None
        if job.answer is None:
            return None
        try:
            await asyncio.wait_for(self._ready.wait(), self.deadline_s)
        except asyncio.TimeoutError:
            job.fail(no_model(self.model))
            return None
        return self.serving

    async def _do(self, jobs: list[Job], seat: Seat) -> None:
        taken = []
        for job in jobs:
            waited_ms = (time.monotonic() - job.entered) * 1e3
            sample, work = None, job.work
            if work.kind == "tick":
                try:
                    sample, work = seat.next_work()
                except EdgeStudioError as error:
                    self._failed(job, work, error)
                    continue
            live = None if self.observers else self._live_for(job, seat)  # a trial is about this model alone
            if live is not None and self.prefers_remote and live.may_ask_remote:
                self._spawn(self._aside(job, work, seat, waited_ms, live.remotely(work)))
            elif live is not None and self.prefers_lighter and live.has_lighter:
                self._spawn(self._aside(job, work, seat, waited_ms, live.lightened(work)))
            elif live is not None and live.is_overloaded(waited_ms):
                self._spawn(self._aside(job, work, seat, waited_ms, live.instead(work)))
            else:
                taken.append((job, sample, work, waited_ms))
        answers = await self._answers(seat, [work for _, _, work, _ in taken])
        for (job, sample, work, waited_ms), answer in zip(taken, answers, strict=True):
            if isinstance(answer, EdgeStudioError):
                self._failed(job, work, answer)
            else:
                self._answered(job, sample, answer, seat, waited_ms)

    async def _answers(self, seat: Seat, works: list[Work]) -> Sequence[dict[str, Any] | EdgeStudioError]:
        seat.host.slowdown = self.slowdown
        with_raw = self._wants_raw()
        try:
            if len(works) > 1:
                answers = await seat.host.batch(works, self.deadline_s, with_raw=with_raw)
                self.window.count("batches")
                self.window.count("batched", len(works))
                return answers
            return [await seat.host.work(work, self.deadline_s, with_raw=with_raw) for work in works]
        except EdgeStudioError as error:
            return [error] * len(works)

    def _wants_raw(self) -> bool:
        captures = self._keeper.captures
        wanted = captures is not None and captures.wants(self.model)
        return wanted or (self.live is not None and self.live.wants_raw)

    def _answered(
        self, job: Job, sample: int | None, answer: dict[str, Any], seat: Seat, queue_ms: float
    ) -> None:
        """The model's own answer: count it, judge it, keep it, and give it away or ask others first."""
        self.window.record(answer, queue_ms)
        for observer in self.observers:
            observer.observe(answer, sample=sample)
        answer["queue_ms"] = queue_ms
        answer["release"] = seat.manifest.counter
        answer["version"] = seat.manifest.version
        captures = self._keeper.captures
        if captures is not None and captures.wants(self.model):
            self._spawn(self._capture(captures, seat, dict(answer)))
        live = self._live_for(job, seat)
        if live is not None:
            live.note(answer)
            if live.doubts(answer):
                self._spawn(self._improve(job, live, answer))
                return
        self._settle(job, answer, live)

    def _live_for(self, job: Job, seat: Seat) -> LivePipeline | None:
        """Who acts on this answer and asks others about it: nobody for inputs that only rehearse."""
        is_rehearsal = job.work.kind == "tick" and not seat.offers_items
        return None if is_rehearsal or job.work.is_passed_on else self.live

    def _settle(self, job: Job, answer: dict[str, Any], live: LivePipeline | None) -> None:
        """The final answer: act on it, and hand it to whoever waits."""
        for key in ("feeds", "raw", "raw_kind", "rate_hz"):
            answer.pop(key, None)
        if live is not None:
            live.act(answer)
        if job.answer is not None and not job.answer.done():
            job.answer.set_result(answer)

    async def _capture(self, captures: CaptureRing, seat: Seat, answer: dict[str, Any]) -> None:
        if outcome := await captures.offer(self.model, seat, answer):
            self.window.count(outcome)

    async def _improve(self, job: Job, live: LivePipeline, answer: dict[str, Any]) -> None:
        own = {key: answer[key] for key in ("queue_ms", "release", "version")}
        self._settle(job, {**await live.improved(answer), **own}, live)

    async def _aside(
        self,
        job: Job,
        work: Work,
        seat: Seat,
        queue_ms: float,
        other: Coroutine[Any, Any, dict[str, Any] | None],
    ) -> None:
        """Somebody else answers, and the model itself only when nobody else does."""
        answer = await other
        if answer is None:
            try:
                answer = {**await seat.host.work(work, self.deadline_s), "degraded": True}
            except EdgeStudioError as error:
                self._failed(job, work, error)
                return
            self.window.count("degraded")
            self.window.record(answer, queue_ms)
        who = {"queue_ms": queue_ms, "release": seat.manifest.counter, "version": seat.manifest.version}
        self._settle(job, {**answer, **who}, self.live)

    def _failed(self, job: Job, work: Work, error: EdgeStudioError) -> None:
        if error.code in INPUT_CODES:  # what a caller or a sensor gave says nothing about the model
            self.window.count("invalid")
        elif error.code in SOURCE_CODES:
            self.window.count("source_failed")
            self._source_failed(error)
        else:
            self.window.errors += 1
            if isinstance(error, HostDiedError) and error.how == "timeout":
                self.window.timeouts += 1
            for observer in self.observers:
                observer.observe_error()
            if self.live is not None and self.live.has_fallback and not work.is_passed_on:
                self._spawn(self._rescue(job, work, error))
                return
        if job.answer is not None and not job.answer.done():
            job.answer.set_exception(error)

    async def _rescue(self, job: Job, work: Work, error: EdgeStudioError) -> None:
        answer = await self.live.rescued(work) if self.live is not None else None
        if answer is not None:
            self.window.fallbacks += 1
            self._settle(job, answer, self.live)
        elif job.answer is not None and not job.answer.done():
            job.answer.set_exception(error)

    def _source_failed(self, error: EdgeStudioError) -> None:
        if self.serving is not None and error.code == "source-ended":
            self.serving.is_at_end = True
            self._keeper.event("source.ended", "The source has come to its end.", model=self.model)

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
                text = f"{error.message}. {error.hint}".strip()
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
