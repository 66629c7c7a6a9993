"""The agent's side of a model host: starts the child, asks it, kills it at the deadline, says how it died."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from edgestudio.agent.run.channel import Arena, Array, frame
from edgestudio.agent.run.link import HostLink
from edgestudio.agent.run.loaded import Loaded
from edgestudio.agent.run.scratch import scratch_of
from edgestudio.agent.run.spawn import cause_of_death, environment
from edgestudio.agent.run.work import Work
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.processes import start_process

READY_S = 30.0
LOAD_S = 120.0
RUN_S = 10.0
CLOSE_S = 1.0


class HostDiedError(DeviceError):
    """The model's process ended or was killed; `how` is a short word for telemetry."""

    code = "model-died"

    def __init__(self, message: str, *, how: str, details: str = "") -> None:
        super().__init__(message, hint="The agent restarts the model by itself.", details=details)
        self.how = how


class ModelFailedError(DeviceError):
    """The model's process answered that it could not do what was asked, and lives."""

    code = "model-error"


@dataclass(frozen=True)
class HostSpec:
    """What a host opens: paths in a read-only slot, and how much it may use."""

    model: Path
    pipeline: Path | None = None
    source: Path | None = None
    backend: str | None = None
    threads: int = 1
    memory_bytes: int = 0
    providers: tuple[str, ...] = ()
    """Accelerators to try before the processor."""
    golden: Path | None = None
    """Whose shapes an engine is built for."""
    runtimes: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    """What the release allows and names; see `wire.release.Requirements`."""
    gpu: dict[str, Any] | None = None
    """The board's NVIDIA GPU, None when it has none."""
    hidden: Path | None = None
    """The agent's folder: of it the child sees the model's own folder and `readable` alone."""
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    """Where it may write, beside devices and a folder for the moment."""

    def walls(self) -> list[str]:
        """The child's arguments that say which files it may open."""
        secret = os.environ.get("CREDENTIALS_DIRECTORY")  # systemd's, where the agent has some
        hidden = [str(self.hidden)] * (self.hidden is not None) + [secret] * bool(secret)
        hide = [part for folder in hidden for part in ("--hide", str(folder))]
        read = [part for folder in (self.model.parent, *self.readable) for part in ("--read", str(folder))]
        return hide + read + [part for folder in self.writable for part in ("--write", str(folder))]


class ModelHost:
    """One child process. Requests queue on a lock: a model runs one inference at a time.

    `on_death` is called once, with the reason, when the child ends without being asked to.
    """

    def __init__(self, spec: HostSpec, on_death: Callable[[ModelHost, HostDiedError], None]) -> None:
        self.spec = spec
        self.loaded = Loaded()
        self.choice: dict[str, Any] = {}
        """The way that it runs here; see `runtime.choice.Choice`."""
        self.slowdown = 1.0
        self.on_progress: Callable[[Mapping[str, Any]], None] = lambda told: None
        """Hears of a build: {doing, fraction}."""
        self.open_network = ""
        """Why the child still has a network; "" when it has none."""
        self.open_files = ""
        """Why the child can still open the board's other files; "" when it cannot."""
        self.death: HostDiedError | None = None
        self._on_death = on_death
        self._closing = False
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stats: psutil.Process | None = None
        self._link: HostLink | None = None
        self._arenas: tuple[Arena, Arena] | None = None
        self._tail: deque[str] = deque(maxlen=30)
        self._watchers: list[asyncio.Task[None]] = []
        self._killed_because = ""
        self._request_id = 0

    @property
    def is_alive(self) -> bool:
        """Whether the child can be asked."""
        return self.death is None and not self._closing and self._link is not None

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the child and wait until it is confined and listening; HostDiedError when it does not come up."""
        ours, theirs = socket.socketpair()
        inbox, outbox = Arena.create(), Arena.create()
        self._arenas = (inbox, outbox)
        handles = (theirs.fileno(), inbox.handle, outbox.handle)
        ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answer = ready
        try:
            self._process = await start_process(
                sys.executable, "-m", "edgestudio.agent.run.worker",
                "--link", str(handles[0]), "--inbox", str(handles[1]), "--outbox", str(handles[2]),
                "--memory-bytes", str(self.spec.memory_bytes), "--parent", str(os.getpid()),
                *(["--with-gpu"] if self.spec.gpu else []), *self.spec.walls(),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE, pass_fds=handles, start_new_session=True,
                cwd="/", env=environment(),
            )  # fmt: skip
        except BaseException:
            ours.close()  # what nobody took over yet
            raise
        finally:
            theirs.close()
        with contextlib.suppress(psutil.Error):
            self._stats = psutil.Process(self._process.pid)
        loop = asyncio.get_running_loop()
        self._link = HostLink(ours, self._received, self.spec.threads)
        await self._link.open()
        self._watchers = [
            loop.create_task(self._read_tail(), name="host-stderr"),
            loop.create_task(self._wait(), name="host-wait"),
        ]
        missing = await self._await_answer(ready, READY_S)
        self.open_network, self.open_files = str(missing.get("open_network")), str(missing.get("open_files"))

    async def load(self, deadline_s: float = LOAD_S, *, derived: Path | None = None) -> Loaded:
        """Open the model, or what was `derived` from it, in the child; ModelFailedError when it cannot be opened."""
        spec = self.spec
        answer = await self._ask(
            {
                "do": "load", "model": str(spec.model), "backend": spec.backend, "threads": spec.threads,
                "providers": list(spec.providers), "derived": _text(derived), "pipeline": _text(spec.pipeline),
                "source": _text(spec.source),
            },
            deadline_s,
        )  # fmt: skip
        names = [item.name for item in fields(Loaded)]
        self.loaded = Loaded(**{name: answer[name] for name in names})
        return self.loaded

    async def ask(self, request: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        """A request without tensors, such as `plan` and `derive`; see `worker.Worker`."""
        return await self._ask(dict(request), deadline_s)

    async def run(self, feeds: Mapping[str, Array], deadline_s: float = RUN_S) -> dict[str, Any]:
        """The bare model: {"outputs": {name: array}, "infer_ms"}."""
        return await self._ask({"do": "run"}, deadline_s, feeds)

    async def work(self, work: Work, deadline_s: float = RUN_S, *, with_raw: bool = False) -> dict[str, Any]:
        """Work through the pipeline: outputs, index, label, confidence, margin, stages_ms, finite, mark, cached.

        A "sample" comes without outputs. `with_raw` adds `outputs`, `feeds` and `raw` arrays and their `raw_kind`.
        """
        return await self._ask(
            {**work.request(), "do": work.kind, "with_raw": with_raw}, deadline_s, work.arrays
        )

    async def feeds(self, feeds: Mapping[str, Array], deadline_s: float = RUN_S) -> dict[str, Any]:
        """Prepared tensors through the model and the pipeline's interpretation; as `work`."""
        return await self.work(Work("feeds", feeds), deadline_s)

    async def prepare(self, work: Work, deadline_s: float = RUN_S) -> dict[str, Any]:
        """What the model would be fed for `work`, without running it: `feeds`, `raw`, `raw_kind`."""
        request = {**work.request(), "do": "prepare"}
        return await self._ask(request, deadline_s, work.arrays)

    async def batch(
        self, works: Sequence[Work], deadline_s: float = RUN_S, *, with_raw: bool = False
    ) -> list[dict[str, Any] | ModelFailedError]:
        """Several works in one inference where that is possible; an answer or the reason for each."""
        request = {"do": "batch", "with_raw": with_raw, "entries": [work.request() for work in works]}
        answer = await self._ask(request, deadline_s, groups=[work.arrays or {} for work in works])
        with self._believing():
            answers = list(answer["answers"])
            if len(answers) != len(works):
                raise ValueError("fewer answers than questions")
            return [failure_of(item) if "error" in item else self._arrays_of(item) for item in answers]
        raise await self._death_of(self._killed_because)

    def rss_bytes(self) -> int | None:
        """Resident memory of the child, None when it is gone."""
        try:
            return int(self._stats.memory_info().rss) if self._stats else None
        except psutil.Error:
            return None

    def cpu_seconds(self) -> float:
        """CPU time that the child has used so far; 0 when it is gone."""
        try:
            times = self._stats.cpu_times() if self._stats else None
        except psutil.Error:
            return 0.0
        return float(times.user + times.system) if times else 0.0

    def kill(self, because: str) -> None:
        """SIGKILL to the child and all that it started."""
        if self._process is None or self._process.returncode is not None:
            return
        self._killed_because = self._killed_because or because
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let the request in flight finish, then end the child; returns when it is gone."""
        async with self._turn:
            self._closing = True
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            try:
                if self._watchers:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(asyncio.shield(self._watchers[1]), CLOSE_S)
            finally:
                # When the loop ends, the watchers are cancelled with everything else: the child is reaped all the same.
                self.kill("closed")
                await asyncio.gather(*self._watchers, return_exceptions=True)
                await self._process.wait()
                # asyncio would let go of the child's pipe in its next turn, which a loop that ends does not have.
                getattr(self._process, "_transport").close()  # noqa: B009 - it has no public name
        for arena in self._arenas or ():
            arena.close()
        self._arenas = None

    # ------------------------------------------------------------------ asking

    async def _ask(
        self,
        request: dict[str, Any],
        deadline_s: float,
        feeds: Mapping[str, Array] | None = None,
        *,
        groups: Sequence[Mapping[str, Array]] = (),
    ) -> dict[str, Any]:
        async with self._turn:
            if self.death is not None:
                raise self.death
            if self._link is None or self._arenas is None or self._closing:
                raise HostDiedError("The model's process has been closed.", how="closed")
            self._request_id += 1
            request["id"] = self._request_id
            request["slow"] = self.slowdown
            request["cpu_s"] = (deadline_s + 5.0) * max(1, self.spec.threads) * 2
            if feeds is not None:
                request["tensors"] = self._arenas[0].write(feeds)
            if groups:
                layouts = self._arenas[0].write_groups(groups)
                for entry, layout in zip(request["entries"], layouts, strict=True):
                    entry["tensors"] = layout
            future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._answer = future
            self._link.send(frame(request))
            answer = await self._await_answer(future, deadline_s)
            with self._believing():
                if answer.get("id") != self._request_id:
                    raise ValueError("an answer to another request")
                if "error" in answer:
                    raise failure_of(answer)
                return self._arrays_of(answer)
        raise await self._death_of(self._killed_because)

    @contextlib.contextmanager
    def _believing(self) -> Iterator[None]:
        """Kill a child whose answer is not what an honest one sends; what follows the block is then reached."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self.kill("it broke the protocol")

    def _arrays_of(self, answer: dict[str, Any]) -> dict[str, Any]:
        assert self._arenas is not None
        if "tensors" in answer:
            answer["outputs"] = self._arenas[1].read(answer.pop("tensors"), copy=True)
        for name in ("feeds", "raw"):
            if name in answer:
                answer[name] = self._arenas[1].read(answer[name], copy=True)
        return answer

    async def _await_answer(
        self, future: asyncio.Future[dict[str, Any]], deadline_s: float
    ) -> dict[str, Any]:
        because = f"it did not answer within {deadline_s:g} s"
        alarm = asyncio.get_running_loop().call_later(deadline_s, self._too_late, future, because)
        try:
            return await (self._link.result(future) if self._link is not None else future)
        except asyncio.CancelledError:
            # The answer to a request that nobody waits for would be taken for the next one's.
            self.kill("its request was cancelled")
            raise
        finally:
            alarm.cancel()
            self._answer = None

    def _too_late(self, answer: asyncio.Future[dict[str, Any]], because: str) -> None:
        """Kill the child, but not for an answer that was there and that a busy loop only now came to read."""
        if not answer.done():
            self.kill(because)

    async def _death_of(self, because: str) -> HostDiedError:
        await asyncio.gather(self._watchers[1], return_exceptions=True)
        return self.death or HostDiedError(f"The model's process ended: {because}.", how="killed")

    def _received(self, messages: list[dict[str, Any]] | None) -> None:
        """Messages of the child; None when it sent what no honest child sends."""
        if messages is None:
            self.kill("it broke the protocol")
            return
        for message in messages:
            if isinstance(message.get("progress"), Mapping):
                self.on_progress(message["progress"])
                continue
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(message)

    # ------------------------------------------------------------------ watching

    async def _read_tail(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # a line without end; the tail is only a courtesy
            async for line in self._process.stderr:
                self._tail.append(line.decode(errors="replace").rstrip()[:300])

    async def _wait(self) -> None:
        assert self._process is not None
        code = await self._process.wait()
        shutil.rmtree(scratch_of(self._process.pid), ignore_errors=True)
        if self._link is not None:
            self._link.close()
        if self._closing:
            return
        how, message = cause_of_death(code, self._killed_because)
        self.death = HostDiedError(message, how=how, details="\n".join(self._tail))
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self.death)
        self._on_death(self, self.death)


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def failure_of(answer: Mapping[str, Any]) -> ModelFailedError:
    """The error that an answer of the child carries."""
    error = answer["error"]
    return ModelFailedError(str(error["message"]), hint=str(error["hint"]), code=str(error["code"]))
