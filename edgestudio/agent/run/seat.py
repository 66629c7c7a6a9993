"""One release, loaded in a host of its own: it can answer its golden inputs, be warmed up, and be closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.agent.install.health import golden_failure, is_constant
from edgestudio.agent.run.channel import Array
from edgestudio.agent.run.host import HostDiedError, HostSpec, ModelHost
from edgestudio.agent.run.loaded import Loaded
from edgestudio.agent.run.opening import Identity, Opener, close_quietly
from edgestudio.agent.run.work import Work
from edgestudio.wire.baseline import Baseline
from edgestudio.wire.errors import EdgeStudioError, InputError
from edgestudio.wire.golden import Golden
from edgestudio.wire.histogram import ConfidenceHistogram
from edgestudio.wire.release import (
    ROLE_BASELINE,
    ROLE_GOLDEN,
    ROLE_MODEL,
    ROLE_PIPELINE,
    ROLE_SAMPLES,
    ReleaseManifest,
)

ADDRESS_SPACE_BYTES = 4 << 30
"""What a runtime reserves besides the model: address space, not memory."""
DeathListener = Callable[["Seat", HostDiedError], None]


@dataclass
class Seat:
    """A release with its host. `release` is the id of its slot."""

    release: str
    manifest: ReleaseManifest
    folder: Path
    host: ModelHost
    golden: Golden | None = None
    baseline: ConfidenceHistogram | None = None
    ticks: int = field(default=0)
    is_at_end: bool = False
    """Its own source has given all that it had."""

    @classmethod
    async def open(
        cls,
        release: str,
        manifest: ReleaseManifest,
        folder: Path,
        threads: int,
        on_death: DeathListener,
        opener: Opener,
    ) -> Seat:
        """Start a host and load the release in it; raises what the model or the host says."""
        spec = host_spec(manifest, folder, threads, opener.gpu)
        seats: list[Seat] = []
        golden, baseline = await asyncio.to_thread(_companions, paths_of(manifest, folder))
        host = await opener.open(
            spec, Identity.of(manifest), lambda _, death: on_death(seats[0], death) if seats else None
        )
        seat = cls(release, manifest, folder, host, golden, baseline)
        seats.append(seat)
        return seat

    @property
    def loaded(self) -> Loaded:
        """What the host said about the model."""
        return self.host.loaded

    @property
    def may_be_constant(self) -> bool:
        """Whether its expected answers are all the same."""
        return self.golden is not None and is_constant(self.golden)

    async def check_golden(self) -> str:
        """Ask every golden input; why the answers are wrong, "" when they are right or there are none."""
        if self.golden is None:
            return ""
        answers: list[Mapping[str, Array]] = []
        try:
            for feeds, _ in self.golden:
                answers.append((await self.host.run(feeds))["outputs"])
        except EdgeStudioError as error:
            return f"it does not answer its golden inputs: {error.message}"
        return await asyncio.to_thread(golden_failure, self.golden, answers, self.manifest.limits)

    def next_work(self) -> tuple[int, Work]:
        """The next item of its own source, or of its golden inputs: (number of the item, work)."""
        self.ticks += 1
        if self.loaded.is_stream and not self.is_at_end:
            return self.ticks, Work("sample")
        if self.loaded.samples:
            index = self.ticks % self.loaded.samples
            return index, Work("sample", index=index)
        if self.golden is None:
            raise InputError("The release came without anything to infer on.", code="no-source")
        return self._golden_work(self.golden)

    def _golden_work(self, golden: Golden) -> tuple[int, Work]:
        index = self.ticks % len(golden)
        return index, Work("feeds", {name: array[index] for name, array in golden.inputs.items()})

    async def tick(self, deadline_s: float) -> tuple[int, dict[str, Any]]:
        """Infer once to try or to measure: (number of the item, answer). A stream is not used up by that."""
        if self.loaded.is_stream and self.golden is not None:
            self.ticks += 1
            index, work = self._golden_work(self.golden)
        else:
            index, work = self.next_work()
        return index, await self.host.work(work, deadline_s)

    @property
    def has_source(self) -> bool:
        """Whether `tick` has anything to infer on."""
        return self.loaded.is_stream or bool(self.loaded.samples) or self.golden is not None

    @property
    def offers_items(self) -> bool:
        """Whether it has a source to go on with outside trials: none that ended, is broken, or comes by itself."""
        broken = bool(self.loaded.source_problem) or self.is_at_end
        return self.has_source and not broken and not self.loaded.is_pushed

    async def close(self) -> None:
        """Let the request in flight finish and end the host."""
        await close_quietly(self.host)


def paths_of(manifest: ReleaseManifest, folder: Path) -> dict[str, Path]:
    """Where each of the release's files is, by role."""
    return {role: folder / file.name for role, file in manifest.files.items()}


def host_spec(manifest: ReleaseManifest, folder: Path, threads: int, gpu: dict[str, Any] | None) -> HostSpec:
    """What a host of the release opens, and how much it may use."""
    paths = paths_of(manifest, folder)
    return HostSpec(
        model=paths[ROLE_MODEL],
        pipeline=paths.get(ROLE_PIPELINE),
        source=paths.get(ROLE_SAMPLES),
        threads=threads,
        memory_bytes=ADDRESS_SPACE_BYTES + 6 * manifest.files[ROLE_MODEL].size_bytes,
        golden=paths.get(ROLE_GOLDEN),
        runtimes=manifest.requires.runtimes,
        accelerators=manifest.requires.accelerators,
        gpu=gpu,
        hidden=folder.parents[2],  # DATA/slots/MODEL/RELEASE
    )


def _companions(paths: Mapping[str, Path]) -> tuple[Golden | None, ConfidenceHistogram | None]:
    golden = Golden.load(paths[ROLE_GOLDEN]) if ROLE_GOLDEN in paths else None
    if ROLE_BASELINE not in paths:
        return golden, None
    try:
        document = json.loads(paths[ROLE_BASELINE].read_bytes())
        counts = Baseline.from_dict(document).counts
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("The release's baseline cannot be read.", code="bad-baseline") from error
    histogram = ConfidenceHistogram(len(counts))
    histogram.counts = [int(count) for count in counts]
    return golden, histogram
