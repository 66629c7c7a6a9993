"""Carries results to where the pipeline's actions say; each action has a bounded line of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from edgestudio.runtime.board_policy import BoardPolicy
from edgestudio.runtime.exchange.senders import CommandSender, MqttSender, WebhookSender
from edgestudio.runtime.pipeline.actions import (
    CommandAction,
    LogAction,
    MqttAction,
    Trigger,
    WebhookAction,
)
from edgestudio.wire.errors import EdgeStudioError

Report = Callable[..., object]
"""report(name, text, *, level, **data): an event of the board."""


class Sender(Protocol):
    """Whatever takes results somewhere."""

    async def send(self, outcome: Mapping[str, Any]) -> None:
        """Take `outcome` there; EdgeStudioError when that fails."""

    async def close(self) -> None:
        """Let go of connections."""


class Deliveries:
    """All actions of one pipeline. Used from one event loop."""

    def __init__(self, actions: Sequence[Any], policy: BoardPolicy, report: Report) -> None:
        self._couriers = [Courier(action, _sender(action, policy, report), report) for action in actions]

    def start(self) -> None:
        """Begin to deliver."""
        for courier in self._couriers:
            courier.start()

    def offer(self, outcome: Mapping[str, Any]) -> None:
        """Line `outcome` up for every action whose condition it meets; returns at once."""
        for courier in self._couriers:
            courier.offer(outcome)

    def take_counts(self) -> dict[str, int]:
        """action_sent, action_failed, action_dropped and action_suppressed since the last call."""
        total: Counter[str] = Counter()
        for courier in self._couriers:
            total.update(courier.take_counts())
        return dict(total)

    async def stop(self) -> None:
        """Give up what waits and close everything."""
        await asyncio.gather(*(courier.stop() for courier in self._couriers))


class Courier:
    """One action: its condition, its line, its failures told once."""

    def __init__(self, action: Any, sender: Sender, report: Report) -> None:
        self._action = action
        self._sender = sender
        self._report = report
        self._trigger = Trigger(action.when)
        self._line: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(action.queue)
        self._counts: Counter[str] = Counter()
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"action-{self._action.kind}")

    def offer(self, outcome: Mapping[str, Any]) -> None:
        """Line up, or drop where the line is full."""
        if not self._trigger.holds(outcome):
            return
        try:
            self._line.put_nowait(outcome)
        except asyncio.QueueFull:
            self._counts["action_dropped"] += 1

    def take_counts(self) -> dict[str, int]:
        """See `Deliveries.take_counts`."""
        self._counts["action_suppressed"] += self._trigger.suppressed
        self._trigger.suppressed = 0
        counts, self._counts = +self._counts, Counter()
        return dict(counts)

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(EdgeStudioError, OSError):
            await self._sender.close()

    async def _run(self) -> None:
        while True:
            outcome = await self._line.get()
            try:
                await self._sender.send(outcome)
            except EdgeStudioError as error:
                self._counts["action_failed"] += 1
                self._note(error)
            else:
                self._counts["action_sent"] += 1
                self._note(None)

    def _note(self, error: EdgeStudioError | None) -> None:
        """A failure is told once, and once more when it is over: a dead receiver must not fill the record."""
        if error is not None and not self._is_failing:
            text = f"The action {self._action.kind} fails: {error.in_full}"
            self._report("action.failed", text, level="warning", kind=self._action.kind, code=error.code)
        if error is None and self._is_failing:
            self._report("action.works", f"The action {self._action.kind} works again.", level="info")
        self._is_failing = error is not None


class LogSender:
    """Makes an event of a result."""

    def __init__(self, action: LogAction, report: Report) -> None:
        self._action = action
        self._report = report

    async def send(self, outcome: Mapping[str, Any]) -> None:
        """Record the event."""
        confidence = outcome.get("confidence")
        words = {
            "label": str(outcome.get("label") if outcome.get("label") is not None else outcome.get("index")),
            "confidence": "unknown" if confidence is None else f"{confidence:.2f}",
            "index": str(outcome.get("index")),
            "model": str(outcome.get("model", "")),
        }
        text = self._action.text or "{label} ({confidence})"
        for name, word in words.items():  # not str.format: a document must not reach into objects
            text = text.replace("{" + name + "}", word)
        kept = {key: outcome.get(key) for key in ("label", "index", "confidence")}
        self._report("action.log", text, level=self._action.level, **kept)

    async def close(self) -> None:
        """Nothing to let go of."""


def _sender(action: Any, policy: BoardPolicy, report: Report) -> Sender:
    if isinstance(action, WebhookAction):
        return WebhookSender(action, policy)
    if isinstance(action, MqttAction):
        return MqttSender(action, policy)
    if isinstance(action, CommandAction):
        return CommandSender(action, policy)
    return LogSender(action, report)
