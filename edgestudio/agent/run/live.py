"""What a pipeline asks of the agent beside inference: pushed items, actions, fallbacks, second opinions.

Imported only for a release whose pipeline asks for one of them: the documents cost memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgestudio.agent.run.host import HostDiedError, HostSpec, ModelHost
from edgestudio.agent.run.keeper import Neighbour, Surroundings
from edgestudio.agent.run.queue import PRIORITIES
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.run.work import Work, work_of
from edgestudio.runtime.board_policy import BoardPolicy, load_board_policy
from edgestudio.runtime.exchange.delivery import Deliveries
from edgestudio.runtime.exchange.intake import HttpIntake, MqttIntake
from edgestudio.runtime.exchange.remote import NOT_ASKED, RemoteAsker
from edgestudio.runtime.pipeline.fallback import DefaultAnswer, LastAnswer, LighterModel
from edgestudio.runtime.pipeline.live import HttpSource, MqttSource
from edgestudio.runtime.pipeline.pipeline import Pipeline, load_pipeline
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError
from edgestudio.wire.release import ROLE_PIPELINE

MAX_ASKING = 4
"""Questions to others that may be under way at once; an answer that would be one more stays as it is."""
LOCAL_S = 10.0
_PUBLIC = (
    "index", "label", "confidence", "margin", "top", "detections", "stages_ms", "queue_ms", "release", "version",
    "served", "degraded", "remote", "cached",
)  # fmt: skip
Answer = dict[str, Any]
Count = Callable[[str], None]


class LivePipeline:
    """The agent's part of one release's pipeline. `start` and `stop` bracket it; used from one event loop."""

    def __init__(self, model: str, seat: Seat, around: Surroundings, me: Neighbour, count: Count) -> None:
        self.model = model
        self.seat = seat
        self.port: int | None = None
        """Where an HTTP source listens."""
        self._around = around
        self._me = me
        self._count = count
        self._document = Pipeline()
        self._policy = BoardPolicy()
        self._deliveries: Deliveries | None = None
        self._intake: HttpIntake | MqttIntake | None = None
        self._remote: RemoteAsker | None = None
        self._lighter: dict[str, ModelHost] = {}
        self._last: tuple[float, Answer] | None = None
        self._asking = 0

    async def start(self) -> None:
        """Read the signed pipeline and the board's own policy; begin to listen and to deliver."""
        name = self.seat.manifest.files[ROLE_PIPELINE].name
        self._document = await asyncio.to_thread(load_pipeline, self.seat.folder / name)
        try:
            self._policy = await asyncio.to_thread(load_board_policy, self._around.folder)
        except EdgeStudioError as error:
            self._report("board.policy", error.in_full, level="warning")
        self._deliveries = Deliveries(self._document.actions, self._policy, self._report)
        self._deliveries.start()
        second = self._document.second_opinion
        if second.is_on and second.remote is not None:
            self._remote = RemoteAsker(second.remote, self._policy)
        for step in self._document.fallback:
            if isinstance(step, LighterModel) and step.file is not None:
                with contextlib.suppress(EdgeStudioError):
                    await self._lighter_host(step.file)
        await self._listen()

    async def stop(self) -> None:
        """Stop listening, delivering and asking."""
        for part in (self._intake, self._deliveries):
            if part is not None:
                await part.stop()
        if self._remote is not None:
            await self._remote.close()
        for host in self._lighter.values():
            with contextlib.suppress(EdgeStudioError, OSError):
                await host.close()

    def take_counts(self) -> dict[str, int]:
        """What the actions did since the last call."""
        counts = self._deliveries.take_counts() if self._deliveries else {}
        if isinstance(self._intake, MqttIntake) and self._intake.refused:
            counts["invalid"] = counts.get("invalid", 0) + self._intake.refused
            self._intake.refused = 0
        return counts

    # ------------------------------------------------------------------ results

    def act(self, answer: Mapping[str, Any]) -> None:
        """Do what the pipeline says with a final answer."""
        if self._deliveries is not None and self._document.actions:
            self._deliveries.offer(self.outcome(answer))

    def outcome(self, answer: Mapping[str, Any]) -> Answer:
        """An answer as it leaves the board: without arrays."""
        known = {key: answer[key] for key in _PUBLIC if key in answer}
        return {"model": self.model, **known, "is_accepted": bool(answer.get("accepted", True))}

    def note(self, answer: Mapping[str, Any]) -> None:
        """Remember the model's own newest answer."""
        if self._document.fallback:
            kept = {key: value for key, value in answer.items() if key not in ("feeds", "raw")}
            self._last = (time.monotonic(), kept)

    # ------------------------------------------------------------------ second opinions

    @property
    def wants_raw(self) -> bool:
        """Whether answers must bring along what led to them."""
        return self._document.second_opinion.is_on

    def doubts(self, answer: Mapping[str, Any]) -> bool:
        """Whether somebody else should be asked about this answer."""
        second = self._document.second_opinion
        if not second.is_on or second.confidence_below is None:
            return False
        confidence = answer.get("confidence")
        return confidence is not None and float(confidence) < second.confidence_below

    def is_overloaded(self, queue_ms: float) -> bool:
        """Whether an item has waited so long that somebody else should answer it."""
        second = self._document.second_opinion
        return second.is_on and second.waited_over_ms is not None and queue_ms > second.waited_over_ms

    async def improved(self, answer: Answer) -> Answer:
        """The better of `answer` and what others say; `degraded` when none of them could be asked."""
        other = await self._asked(answer, at_least=answer.get("confidence"))
        if other is None:
            answer["degraded"] = True
            self._count("degraded")
            return answer
        return other if (other.get("confidence") or 0.0) >= (answer.get("confidence") or 0.0) else answer

    async def instead(self, work: Work) -> Answer | None:
        """What others say of an item that waited too long; None when none of them answers."""
        try:
            prepared = await self.seat.host.prepare(work)
        except EdgeStudioError:
            return None
        return await self._asked(prepared, at_least=None)

    @property
    def may_ask_remote(self) -> bool:
        """Whether the release names a server and the board's owner allows it to be asked."""
        return self._remote is not None and self._policy.remote.is_allowed

    async def remotely(self, work: Work) -> Answer | None:
        """The server's answer on a hot board, else the lighter model's; None when there is neither."""
        if self._remote is None or self._asking >= MAX_ASKING:
            return await self.lightened(work)
        self._asking += 1
        try:
            answer = await self._ask_remote(self._remote, await self.seat.host.prepare(work))
        except EdgeStudioError:
            answer = None
        finally:
            self._asking -= 1
        return answer or await self.lightened(work)

    async def _asked(self, prepared: Mapping[str, Any], at_least: float | None) -> Answer | None:
        second = self._document.second_opinion
        if self._asking >= MAX_ASKING:
            return None
        self._asking += 1
        best: Answer | None = None
        try:
            if second.model is not None:
                best = await self._ask_neighbour(second.model, prepared)
            limit = second.confidence_below or at_least or 0.0
            if self._remote is not None and (best is None or (best.get("confidence") or 1.0) < limit):
                best = await self._ask_remote(self._remote, prepared) or best
        finally:
            self._asking -= 1
        return best

    async def _ask_neighbour(self, model: str, prepared: Mapping[str, Any]) -> Answer | None:
        neighbour = self._around.neighbour(model)
        if neighbour is None or neighbour is self._me:
            return None
        self._count("second_asked")
        try:
            answer = await neighbour.ask_work(work_of(prepared), deadline_s=LOCAL_S)
        except EdgeStudioError:
            self._count("second_failed")
            return None
        return {**answer, "served": f"model:{model}"}

    async def _ask_remote(self, remote: RemoteAsker, prepared: Mapping[str, Any]) -> Answer | None:
        before = remote.breaker.state
        try:
            outputs = _renamed(await remote.ask(prepared["feeds"]), self.seat)
            answer = await self.seat.host.work(Work("outputs", outputs))
        except EdgeStudioError as error:
            if error.code in NOT_ASKED:
                self._count("remote_left")
            else:
                self._count("remote_asked")
                self._count("remote_failed")
            if remote.breaker.state != before or error.code == "not-allowed":
                self._report("remote.failed", error.sentence, level="warning", code=error.code)
            return None
        self._count("remote_asked")
        self._count("remote_used")
        return {**answer, "served": "remote", "remote": True}

    # ------------------------------------------------------------------ fallbacks

    @property
    def has_fallback(self) -> bool:
        """Whether somebody answers when the model does not."""
        return bool(self._document.fallback)

    @property
    def has_lighter(self) -> bool:
        """Whether a hot board could serve a lighter model."""
        return any(isinstance(step, LighterModel) for step in self._document.fallback)

    async def rescued(self, work: Work) -> Answer | None:
        """The first answer of the fallback chain, marked `degraded`; None when it has none either."""
        for step in self._document.fallback:
            answer = await self._lighter_answer(step, work) if isinstance(step, LighterModel) else None
            if isinstance(step, LastAnswer) and self._last is not None:
                age_s = time.monotonic() - self._last[0]
                answer = {**self._last[1], "served": "last"} if age_s <= step.max_age_s else None
            elif isinstance(step, DefaultAnswer):
                answer = {
                    **step.model_dump(exclude={"kind"}),
                    "stages_ms": {},
                    "served": "default",
                    "outputs": {},
                }
            if answer is not None:
                self._count(f"fallback_{step.kind}")
                return {**answer, "degraded": True}
        return None

    async def lightened(self, work: Work) -> Answer | None:
        """The lighter model's answer on a hot board; None when there is none."""
        for step in self._document.fallback:
            answer = await self._lighter_answer(step, work) if isinstance(step, LighterModel) else None
            if answer is not None:
                self._count("fallback_model")
                return {**answer, "degraded": True}
        return None

    async def _lighter_answer(self, step: LighterModel, work: Work) -> Answer | None:
        try:
            if step.file is not None:
                answer = await (await self._lighter_host(step.file)).work(work)
                return {**answer, "served": f"file:{step.file}"}
            neighbour = self._around.neighbour(step.model or "")
            if neighbour is None or neighbour is self._me or work.kind == "sample":
                return None  # another model's samples are not this one's
            answer = await neighbour.ask_work(work.passed_on(), deadline_s=LOCAL_S)
            return {**answer, "served": f"model:{step.model}"}
        except EdgeStudioError:
            return None

    async def _lighter_host(self, file: str) -> ModelHost:
        host = self._lighter.get(file)
        if host is not None and host.is_alive:
            return host
        if file not in {item.name for item in self.seat.manifest.files.values()}:
            raise DeviceError(f"The release has no file {file}.", code="no-file")
        own = self.seat.host.spec
        path = self.seat.folder / file
        fresh = ModelHost(
            HostSpec(path, own.pipeline, own.source, None, own.threads, own.memory_bytes, hidden=own.hidden),
            self._lighter_died,
        )
        try:
            await fresh.start()
            await fresh.load()
        except EdgeStudioError:
            with contextlib.suppress(EdgeStudioError, OSError):
                await fresh.close()
            raise
        self._lighter[file] = fresh
        return fresh

    def _lighter_died(self, _: ModelHost, death: HostDiedError) -> None:
        self._report("fallback.died", death.message, level="warning")

    # ------------------------------------------------------------------ items that come by themselves

    async def _listen(self) -> None:
        source = self._document.source
        if isinstance(source, HttpSource):
            token = self._policy.secret(source.token) if source.token else self._own_token()
            http = HttpIntake(source, token, self._policy, self._take)
            await http.start()
            self._intake, self.port = http, http.port
            self._report("source.listening", f"Items are taken at port {http.port}.", port=http.port)
        elif isinstance(source, MqttSource):
            self._intake = MqttIntake(source, self._policy, self._offer, self._report)
            await self._intake.start()

    def _own_token(self) -> str:
        """A token that other programs on the board can read when they may read the agent's data."""
        folder = self._around.folder / "local"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{self.model}.token"
        with contextlib.suppress(OSError):
            if token := path.read_text(encoding="ascii").strip():
                return token
        token = secrets.token_urlsafe(24)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token)
        return token

    async def _take(self, data: bytes, kind: str, priority: str, deadline_s: float) -> Answer:
        answer = await self._me.ask_work(
            _payload(data, kind), deadline_s=deadline_s, priority=PRIORITIES[priority]
        )
        return self.outcome(answer)

    async def _offer(self, data: bytes, kind: str, priority: str) -> None:
        # Waiting for the answer here would make the broker's queue ours: it has no policy, ours has.
        await self._me.offer_work(_payload(data, kind), priority=PRIORITIES[priority])

    def _report(self, name: str, text: str, *, level: str = "info", **data: Any) -> None:
        self._around.event(name, text, level=level, model=self.model, **data)


def _payload(data: bytes, kind: str) -> Work:
    if not data:
        raise InputError("the payload is empty", code="bad-item")
    return Work("payload", {"input": np.frombuffer(data, np.uint8)}, {"payload": kind})


def _renamed(outputs: Mapping[str, Any], seat: Seat) -> dict[str, Any]:
    """A server's outputs under the model's own names: by name, or by place where it has as many."""
    names = [str(item["name"]) for item in seat.loaded.outputs]
    if set(names) <= set(outputs):
        return {name: outputs[name] for name in names}
    if len(names) != len(outputs):
        raise DeviceError("the remote model has other outputs than this one", code="remote-failed")
    return dict(zip(names, outputs.values(), strict=True))
