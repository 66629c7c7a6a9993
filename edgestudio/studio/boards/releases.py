"""From a model of the library to a signed release: packed in a worker, described and signed here."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestudio.devices.publisher import Publisher, Release, plain_name
from edgestudio.studio.boards.preflight import runtimes_for
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.files import path_or_none, text_or_none
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.release import HealthLimits, Requirements


@dataclass(frozen=True, slots=True)
class Package:
    """The files of a release by role, in a folder of its own that `discard` removes."""

    folder: Path
    files: Mapping[str, Path]
    notes: tuple[str, ...] = ()
    """What was assumed, and what the board cannot check."""
    limits: HealthLimits | None = None
    """What the pipeline says that the release must keep; None for the defaults."""

    def baseline(self) -> dict[str, Any] | None:
        """The confidences that the model had on its data, None when there was none."""
        file = self.files.get("baseline")
        return None if file is None else json.loads(file.read_text(encoding="utf-8"))

    async def discard(self) -> None:
        """Remove the folder."""
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


class ReleaseMaker:
    """Packs and signs; the worker that packs never sees the keys."""

    def __init__(self, jobs: JobService, models: ModelService, jobs_dir: Path, publisher_dir: Path) -> None:
        self._jobs = jobs
        self._models = models
        self._dir = jobs_dir
        self.publisher = Publisher(publisher_dir)

    def slot(self, model: ModelRow) -> str:
        """What a model is called on boards: by its source, so that a variant follows it in the same place."""
        root = model
        seen = {root.sha256}
        while root.parent is not None and root.parent not in seen:
            parent = self._models.rows.get(root.parent)
            if parent is None:
                break
            seen.add(parent.sha256)
            root = parent
        return plain_name(root.name)

    async def package(
        self, model: ModelRow, slot: str, pipeline: Path | None, golden: Path | None
    ) -> Package:
        """Run the model in a worker and keep what travels with it; the caller discards the package."""
        pipeline = pipeline or path_or_none(model.pipeline_path)
        golden = golden or path_or_none(model.data_path)
        for path in (pipeline, golden):
            if path is not None:
                await self._models.require_file(path)
        kept: list[Package] = []

        def receive(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            folder = Path(tempfile.mkdtemp(dir=self._dir, prefix=f"{out_dir.name}-release-"))
            files = {}
            for role, text in result["files"].items():
                files[role] = folder / Path(text).name
                shutil.move(text, files[role])
            given = result.get("limits")
            limits = None if given is None else HealthLimits.from_dict(given)
            kept.append(Package(folder, files, tuple(map(str, result.get("notes") or ())), limits))
            return result

        await self._jobs.run(
            "package",
            {
                "path": model.path,
                "pipeline": text_or_none(pipeline),
                "golden_data": text_or_none(golden),
                "name": slot,
                "version": model.version,
            },
            title=f"Package: {model.name}",
            subject=model.sha256,
            receive=receive,
        )
        return kept[0]

    async def sign(
        self, model: ModelRow, slot: str, package: Package, floor: int, requires: Requirements
    ) -> Release:
        """A signed release with a counter above `floor`."""
        return await asyncio.to_thread(
            lambda: self.publisher.publish(
                slot,
                package.files,
                version=model.version,
                requires=requires,
                limits=package.limits,
                parent=model.parent,
                note=model.recipe or "",
                floor=floor,
            )
        )


def requirements(model: ModelRow, accelerators: Sequence[str], gpu: Sequence[str]) -> Requirements:
    """What a release of the model asks of a board: a library that opens it, and what else was asked for."""
    runtimes = runtimes_for(model.format)
    return Requirements(runtimes=runtimes, accelerators=tuple(accelerators), gpu=tuple(gpu))
