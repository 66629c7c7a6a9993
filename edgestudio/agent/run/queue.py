"""The bounded line in front of a model: priorities, deadlines, and a stated policy for when it is full."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from edgestudio.wire.errors import DeviceError

Policy = Literal["drop-oldest", "drop-newest", "block"]

CAPACITY = 4
URGENT, NORMAL, BACKGROUND = 0, 1, 2
PRIORITIES = {"urgent": URGENT, "normal": NORMAL, "background": BACKGROUND}


@dataclass(order=True)
class Job:
    """Something to infer. `deadline` is on `time.monotonic`; None waits for ever."""

    priority: int
    number: int
    work: Any = field(compare=False)
    entered: float = field(compare=False, default_factory=time.monotonic)
    deadline: float | None = field(compare=False, default=None)
    answer: asyncio.Future[Any] | None = field(compare=False, default=None)

    def fail(self, error: DeviceError) -> None:
        """Tell whoever waits, if anyone does."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)


class JobQueue:
    """At most `capacity` jobs wait. Served by priority, then by age; used from one event loop."""

    def __init__(self, capacity: int = CAPACITY, policy: Policy = "drop-oldest") -> None:
        self.capacity = capacity
        self.policy: Policy = policy
        self.default_deadline_s: float | None = None
        self.dropped = 0
        self.expired = 0
        self.peak = 0
        self._heap: list[Job] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._heap)

    async def put(
        self,
        work: Any,
        *,
        priority: int = NORMAL,
        deadline_s: float | None = None,
        answer: asyncio.Future[Any] | None = None,
    ) -> None:
        """Line `work` up, or drop it or an older job of no higher priority, as the policy says."""
        allowed_s = self.default_deadline_s if deadline_s is None else deadline_s
        deadline = None if allowed_s is None else time.monotonic() + allowed_s
        job = Job(priority, next(self._numbers), work, deadline=deadline, answer=answer)
        async with self._changed:
            while len(self._heap) >= self.capacity and self.policy == "block":
                if await self._no_room_until(deadline):
                    self.expired += 1
                    job.fail(_too_late())
                    return
            heapq.heappush(self._heap, job)
            if len(self._heap) > self.capacity:
                self._drop()
            self.peak = max(self.peak, len(self._heap))
            self._changed.notify_all()

    async def get(self) -> Job:
        """The next job that is still worth doing; waits for one."""
        async with self._changed:
            while True:
                while not self._heap:
                    await self._changed.wait()
                job = heapq.heappop(self._heap)
                self._changed.notify_all()
                if job.deadline is None or time.monotonic() < job.deadline:
                    return job
                self.expired += 1
                job.fail(_too_late())

    async def more(self, count: int, until: float) -> list[Job]:
        """Up to `count` further jobs, waiting for them until the moment `until` on `time.monotonic`."""
        jobs: list[Job] = []
        while len(jobs) < count:
            if not self._heap:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    break
                await asyncio.sleep(min(left_s, 0.0005))
                continue
            jobs.append(await self.get())
        return jobs

    def take_counts(self) -> tuple[int, int, int]:
        """(dropped, expired, most jobs that waited) since the last call."""
        counts = (self.dropped, self.expired, self.peak)
        self.dropped = self.expired = 0
        self.peak = len(self._heap)
        return counts

    def drain(self, error: DeviceError) -> None:
        """Fail everything that waits."""
        jobs, self._heap = self._heap, []
        for job in jobs:
            job.fail(error)

    async def _no_room_until(self, deadline: float | None) -> bool:
        """Wait for a change; True when `deadline` passed first."""
        if deadline is None:
            await self._changed.wait()
            return False
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return len(self._heap) >= self.capacity
        return False

    def _drop(self) -> None:
        """One job too many: of the lowest priority that waits, the oldest or the newest goes."""
        lowest = max(job.priority for job in self._heap)
        candidates = [job for job in self._heap if job.priority == lowest]
        victim = (min if self.policy == "drop-oldest" else max)(candidates, key=lambda job: job.number)
        self._heap.remove(victim)
        heapq.heapify(self._heap)
        self.dropped += 1
        victim.fail(
            DeviceError(
                "The board is busy: the line in front of the model is full.",
                hint="Ask less often, or try again in a moment.",
                code="busy",
            )
        )


def _too_late() -> DeviceError:
    return DeviceError(
        "The request's deadline passed while it waited for the model.",
        hint="Ask less often, or allow more time.",
        code="deadline",
    )
