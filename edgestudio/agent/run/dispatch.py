"""Takes one model's work from its line and sees that it is answered: by the model, or by whoever stands in for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
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
STAND_INS = 8
"""How much work others do at a time: they may be slower than the source, and what waits for them must not grow.

Twice as much as may be asked of a server at once: the model itself goes on with the rest.
"""
SOURCE_CODES = frozenset({"source-ended", "no-camera", "no-opencv", "no-file"})


class Dispatcher:
    """Answers the work of one model with whatever serves at the moment; who serves is the bay's business."""

    def __init__(self, model: str, keeper: Keeper) -> None:
        self.model = model
        self.queue = JobQueue()
        self.window = WindowBuilder()
        self.serving: Seat | None = None
        self.slowdown = 1.0
        self.observers: list[Observer] = []
        self.deadline_s = RUN_S
        self.live: LivePipeline | None = None
        """What the release's pipeline asks of the agent beside inference."""
        self.prefers_lighter = False
        """By heat: the fallback's lighter model answers."""
        self.prefers_remote = False
        """By heat: the remote model answers, where its budget and the board's owner allow."""
        self._keeper = keeper
        self._ready = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._elsewhere: set[asyncio.Task[None]] = set()
        """Work that others do at the moment."""

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
            await self._room()
            self._spawn_elsewhere(self._rescue(job, work, no_model(self.model)))
            return None
        if job.answer is None:
            return None
        allowed_s = self.deadline_s
        if self.serving is not None and job.deadline is not None:
            # It is started again, and a slow board may load for longer than it ever answers: the asker's word counts.
            allowed_s = job.deadline - time.monotonic()
        try:
            await asyncio.wait_for(self._ready.wait(), allowed_s)
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
            other = None
            if live is not None and self.prefers_remote and live.may_ask_remote:
                other = live.remotely
            elif live is not None and self.prefers_lighter and live.has_lighter:
                other = live.lightened
            elif live is not None and live.is_overloaded(waited_ms):
                other = live.instead
            if other is not None:
                await self._room()
                self._spawn_elsewhere(self._aside(job, work, seat, waited_ms, other(work)))
            else:
                taken.append((job, sample, work, waited_ms))
        answers = await self._answers(seat, [work for _, _, work, _ in taken])
        for (job, sample, work, waited_ms), answer in zip(taken, answers, strict=True):
            if isinstance(answer, EdgeStudioError):
                await self._room()
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
                if self._has_room:
                    self._spawn_elsewhere(self._improve(job, live, answer))
                    return
                answer["degraded"] = True
                self.window.count("degraded")
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
                self._spawn_elsewhere(self._rescue(job, work, error))
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _spawn_elsewhere(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._spawn(work)
        self._elsewhere.add(task)
        task.add_done_callback(self._elsewhere.discard)

    @property
    def _has_room(self) -> bool:
        return len(self._elsewhere) < STAND_INS

    async def _room(self) -> None:
        """Wait until others have room for one more; meanwhile what waits is in the bounded line, and may be dropped."""
        while not self._has_room:
            await asyncio.wait(self._elsewhere, return_when=asyncio.FIRST_COMPLETED)


def no_model(model: str) -> DeviceError:
    """Nothing answers for `model`."""
    return DeviceError(
        f"No release of {model or 'any model'} is running on this board.",
        hint="Push one, or look at the board's events for why it stopped.",
        code="no-model",
    )
