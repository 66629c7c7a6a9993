"""Opens a model the best way that this board has: chooses it, builds what it needs, and says when it was another."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from edgestudio.agent.killpoints import reach
from edgestudio.agent.run.host import LOAD_S, HostDiedError, HostSpec, ModelFailedError, ModelHost
from edgestudio.agent.store.derived import DerivedFile, DerivedStore
from edgestudio.runtime.choice import Choice
from edgestudio.runtime.derive import has_builder, key_of
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.release import (
    ROLE_BASELINE,
    ROLE_GOLDEN,
    ROLE_MODEL,
    ROLE_PIPELINE,
    ROLE_SAMPLES,
    ReleaseManifest,
)

BUILD_S = 3600.0
"""Building an engine takes minutes on a small board."""
BUILD_ADDRESS_SPACE_BYTES = 8 << 30
BESIDE_TIMES = 3
RESERVE_BYTES = 64 << 20
SLOW_LOAD_MS = 500.0
"""A model that loads faster gains nothing by what could be kept of it."""
DeathListener = Callable[[ModelHost, HostDiedError], None]
Progress = Callable[[str, float | None], None]
"""What is being done, and how much of it is done."""
MakeRoom = Callable[[], Awaitable[None]]
"""Whatever can pause for a while on a board that is short of memory, pauses."""
Report = Callable[..., object]
"""event(name, text, *, level, model, release, **data)."""


@dataclass(frozen=True)
class Identity:
    """What a derived file belongs to: the model by name and digest, and the digests of the files beside it."""

    model: str
    sha256: str
    size_bytes: int
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: ReleaseManifest) -> Identity:
        """Of a release; what only feeds or judges the model does not count."""
        apart = {ROLE_MODEL, ROLE_PIPELINE, ROLE_GOLDEN, ROLE_BASELINE, ROLE_SAMPLES}
        others = {file.name: file.sha256 for role, file in manifest.files.items() if role not in apart}
        file = manifest.files[ROLE_MODEL]
        return cls(manifest.model, file.sha256, manifest.size_bytes, others)


class Opener:
    """One per board. Builds one thing at a time, each in a process of its own that may be killed at any moment."""

    def __init__(self, store: DerivedStore, report: Report, gpu: dict[str, Any] | None) -> None:
        self.gpu = gpu
        self._store = store
        self._report = report
        self._building = asyncio.Lock()

    async def open(self, spec: HostSpec, what: Identity, on_death: DeathListener) -> ModelHost:
        """A host with the model loaded. Raises what the last way that there is says, when none works."""
        spec = dataclasses.replace(spec, readable=(self._store.folder,))
        host = await _started(spec, on_death)
        troubles: list[str] = []
        try:
            ways = await host.ask(_plan(spec), LOAD_S)
            troubles += ways["lacks"]
            choices = [Choice.from_dict(row) for row in ways["choices"]]
            for choice in choices[:-1]:
                failure = await self._failure(host, choice, what, ways["fed"])
                if failure is None:
                    return _noted(host, choice, troubles)
                troubles.append(f"{choice.accelerator} could not be used: {failure.message.rstrip('.')}")
                await close_quietly(host)
                host = await _started(spec, on_death)
            await self._load(host, choices[-1], what, ways["fed"])
            return _noted(host, choices[-1], troubles)
        except BaseException:
            await close_quietly(host)
            raise

    async def _failure(
        self, host: ModelHost, choice: Choice, what: Identity, fed: Mapping[str, Any]
    ) -> ModelFailedError | HostDiedError | None:
        try:
            await self._load(host, choice, what, fed)
        except (ModelFailedError, HostDiedError) as error:
            return error
        return None

    async def prepare(self, spec: HostSpec, what: Identity, progress: Progress, make_room: MakeRoom) -> None:
        """Build what the best way needs, before anything is loaded; ModelFailedError when no way is left without it."""
        if self.gpu is None:
            return  # what must be built, is built for a GPU
        host = await _started(spec, lambda *_: None)
        try:
            ways = await host.ask(_plan(spec), LOAD_S)
        finally:
            await close_quietly(host)
        choices = [Choice.from_dict(row) for row in ways["choices"]]
        for number, choice in enumerate(choices):
            if not choice.must_build:
                return
            key = key_of(what.sha256, what.others, choice, ways["fed"])
            try:
                known = await asyncio.to_thread(self._store.find, key)
                if known is not None and known.refused:  # a person pushes it again: it is tried again
                    await asyncio.to_thread(self._store.forget, key)
                if known is None or known.path is None:
                    await make_room()
                await self._derived(spec, choice, what, ways["fed"], progress)
                return
            except ModelFailedError:
                if number == len(choices) - 1:
                    raise

    async def quicken(self, host: ModelHost, what: Identity) -> None:
        """Keep what makes the next start of a slowly loading model faster, where its library has such a thing."""
        choice = Choice.from_dict(host.choice) if host.choice else None
        is_slow = host.loaded.load_ms >= SLOW_LOAD_MS and not host.loaded.placement.get("derived")
        if choice is None or choice.must_build or choice.accelerator != "cpu" or not is_slow:
            return
        if not has_builder(choice.backend) or not _has_room_beside(host):
            return
        key = key_of(what.sha256, what.others, choice, {})
        async with self._building:
            if await asyncio.to_thread(self._store.find, key) is not None:
                return
            with contextlib.suppress(EdgeStudioError):
                await self._build(host.spec, choice, what, key, {}, lambda *_: None)

    async def _load(self, host: ModelHost, choice: Choice, what: Identity, fed: Mapping[str, Any]) -> None:
        derived = await self._derived(host.spec, choice, what, fed, lambda *_: None)
        providers = (choice.provider,) if choice.provider and not choice.must_build else ()
        host.spec = dataclasses.replace(host.spec, backend=choice.backend, providers=providers)
        # ONNX Runtime's own way to TensorRT builds its engines while it loads.
        await host.load(BUILD_S if choice.accelerator == "tensorrt-ep" else LOAD_S, derived=derived)
        host.loaded.placement["derived"] = derived is not None

    async def _derived(
        self, spec: HostSpec, choice: Choice, what: Identity, fed: Mapping[str, Any], progress: Progress
    ) -> Path | None:
        """What is to be opened in the model's place; built now where nothing runs without it."""
        if not has_builder(choice.backend) or not (choice.must_build or choice.accelerator == "cpu"):
            return None
        key = key_of(what.sha256, what.others, choice, fed)
        found = await asyncio.to_thread(self._store.find, key)
        if not choice.must_build:
            return found.path if found else None
        async with self._building:
            found = await asyncio.to_thread(self._store.find, key)
            if found is None:
                found = await self._build(spec, choice, what, key, fed, progress)
        if found.path is None:
            raise ModelFailedError(
                found.refused, hint="Let the release run on cuda or cpu.", code="build-failed"
            )
        return found.path

    async def _build(
        self,
        spec: HostSpec,
        choice: Choice,
        what: Identity,
        key: Mapping[str, Any],
        fed: Mapping[str, Any],
        progress: Progress,
    ) -> DerivedFile:
        self._told(
            what, "model.building", f"{what.model} is built for {choice.backend} on this board.", choice
        )
        part = await asyncio.to_thread(self._store.begin, key, what.size_bytes)
        memory = BUILD_ADDRESS_SPACE_BYTES + 16 * what.size_bytes if spec.memory_bytes else 0
        builder = dataclasses.replace(spec, memory_bytes=memory, writable=(part.parent,))
        host = ModelHost(builder, lambda *_: None)
        host.on_progress = lambda told: progress(str(told.get("doing", "")), _fraction(told.get("fraction")))
        try:
            made = await _made(host, spec, choice, fed, part)
            if made["is_worth_keeping"] or choice.must_build:
                await asyncio.to_thread(self._store.keep, key, made["facts"])
            else:
                reason = "the model itself loads as fast"
                await asyncio.to_thread(self._store.refuse, key, reason, made["facts"])
        except ModelFailedError as error:
            await asyncio.to_thread(self._store.refuse, key, error.message)
            raise
        finally:
            await close_quietly(host)
            with contextlib.suppress(EdgeStudioError):
                self._store.drop(key)
        self._told(what, "model.built", f"{what.model} is built for {choice.backend}.", choice, made["facts"])
        found = await asyncio.to_thread(self._store.find, key)
        return found or DerivedFile(None, "what was built is gone")

    def _told(
        self, what: Identity, name: str, text: str, choice: Choice, facts: Mapping[str, Any] | None = None
    ) -> None:
        self._report(
            name, text, model=what.model, backend=choice.backend, version=choice.version, device=choice.device,
            **{key: round(value, 3) for key, value in (facts or {}).items() if isinstance(value, (int, float))},
        )  # fmt: skip


def _has_room_beside(host: ModelHost) -> bool:
    """Whether the model can be loaded again, twice, without anything being swapped or killed for it."""
    rss = host.rss_bytes() or 0
    return bool(psutil.virtual_memory().available >= RESERVE_BYTES + BESIDE_TIMES * rss)


async def _made(
    host: ModelHost, spec: HostSpec, choice: Choice, fed: Mapping[str, Any], part: Path
) -> dict[str, Any]:
    try:
        await host.start()
        if not fed:
            fed = (await host.ask({**_plan(spec), "with_shapes": True}, LOAD_S))["fed"]
        reach("work:BUILD")
        request = {
            "do": "derive", "model": str(spec.model), "choice": choice.to_dict(), "fed": dict(fed),
            "out": str(part), "threads": spec.threads, "gpu": spec.gpu,
        }  # fmt: skip
        return await host.ask(request, BUILD_S)
    except HostDiedError as death:
        raise BuildDiedError(
            f"Building for {choice.backend} ended the process that did it: {death.message}", how=death.how
        ) from death


class BuildDiedError(HostDiedError):
    """A build was killed or crashed; another try may succeed, so nothing is remembered."""

    code = "build-died"


async def _started(spec: HostSpec, on_death: DeathListener) -> ModelHost:
    host = ModelHost(spec, on_death)
    try:
        await host.start()
    except BaseException:
        await close_quietly(host)
        raise
    return host


async def close_quietly(host: ModelHost) -> None:
    """End a host whatever it says to that."""
    with contextlib.suppress(EdgeStudioError, OSError):
        await host.close()


def _plan(spec: HostSpec) -> dict[str, Any]:
    return {
        "do": "plan", "model": str(spec.model), "runtimes": list(spec.runtimes), "gpu": spec.gpu,
        "accelerators": list(spec.accelerators), "golden": str(spec.golden) if spec.golden else None,
        "pipeline": str(spec.pipeline) if spec.pipeline else None,
    }  # fmt: skip


def _noted(host: ModelHost, choice: Choice, troubles: list[str]) -> ModelHost:
    """The placement says which way it was, and raises the alarm about better ones that were meant."""
    placement = host.loaded.placement
    host.choice = choice.to_dict()
    placement.update(accelerator=choice.accelerator, backend=choice.backend, device=choice.device)
    told = [*troubles, *([str(placement["alarm"])] if placement.get("alarm") else [])]
    if troubles:
        total = sum(int(count) for count in (placement.get("counts") or {}).values())
        told.append(f"all {total} nodes run on {choice.accelerator}")
    placement["alarm"] = "; ".join(told) or None
    return host


def _fraction(value: Any) -> float | None:
    return min(1.0, max(0.0, float(value))) if isinstance(value, (int, float)) else None
