"""Opening, inspecting and comparing models, and the library that keeps them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgestudio.assets import resource
from edgestudio.model.compare.lineage import related
from edgestudio.model.copying import content_sha256
from edgestudio.model.library.library import Entry, Library
from edgestudio.model.links import followed
from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.early_row import EarlyRow
from edgestudio.studio.library.files import (
    companions,
    copy_model,
    keep_failing,
    path_or_none,
    problem_of,
    row_of,
    text_or_none,
)
from edgestudio.studio.library.follow import LibraryFollower
from edgestudio.studio.library.reading import ModelReader
from edgestudio.studio.library.words import ModelWords
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import EdgeStudioError, InputError, ModelError

# A file that hashes within this time is looked up before any worker is asked about it.
_QUICK_S = 0.5
_PREFIX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, slots=True)
class Supplies:
    """What is known to belong to a model: how input is made for it, and data of its kind."""

    pipeline: Path | None = None
    data: Path | None = None
    calibration: Path | None = None


class ModelService(ModelWords):
    """The models of the library as rows; every file is read in a worker, never here."""

    def __init__(self, bus: EventBus, jobs: JobService, library_dir: Path) -> None:
        self.rows: Ledger[ModelRow] = Ledger(bus, "models")
        self.library = Library(library_dir)
        self._jobs = jobs
        self._reader = ModelReader(jobs)
        self.following = LibraryFollower(self.rows, self.library)
        self._is_loaded = False

    async def start(self) -> None:
        """Show what the library holds."""
        if self._is_loaded:
            return
        self._is_loaded = True
        await self.following.begin()

    async def renew(self) -> None:
        """Inspect again what another version of this application read, one after the other."""
        entries = await asyncio.to_thread(
            lambda: [each for each in self.library.entries() if each.is_outdated]
        )
        for entry in entries:
            with contextlib.suppress(EdgeStudioError):  # removed meanwhile, or damaged: its row says so
                await self.reinspect(entry.sha256)

    async def open(
        self,
        path: Path,
        *,
        name: str | None = None,
        pipeline: Path | None = None,
        data: Path | None = None,
        calibration: Path | None = None,
    ) -> ModelRow:
        """Import a file or folder and inspect it; the row appears as soon as the content is known.

        Raises ModelError for what is no model, is damaged or changes while it is read.
        """
        await self.start()
        path = path.absolute()
        await self.require_file(path)
        name, path = name or path.stem, await asyncio.to_thread(followed, path)
        is_over = threading.Event()
        hashing = asyncio.ensure_future(asyncio.to_thread(content_sha256, path, lambda: not is_over.is_set()))
        try:
            await asyncio.wait({hashing}, timeout=_QUICK_S)
            supplies = Supplies(pipeline, data, calibration)
            known = await self._known(hashing, supplies)
            if known is not None:
                return known
            return await self._import(path, name, supplies, hashing)
        finally:
            is_over.set()
            await asyncio.gather(hashing, return_exceptions=True)

    async def open_sample(self) -> ModelRow:
        """Open the sample model with its pipeline and its labelled data."""
        try:
            model, pipeline, data, calibration = (
                resource("sample", name)
                for name in (
                    "digits.onnx",
                    "digits.pipeline.yaml",
                    "digits_test.npz",
                    "digits_calibration.npz",
                )
            )
        except FileNotFoundError as error:
            raise ModelError(f"The sample is missing: {error}", hint="Install EdgeStudio again.") from error
        return await self.open(model, name="digits", pipeline=pipeline, data=data, calibration=calibration)

    async def reinspect(self, sha256: str) -> ModelRow:
        """Inspect a model of the library once more."""
        entry = await self._entry(sha256)

        def receive(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            self.library.update(
                sha256,
                format=str(result["summary"].get("format") or entry.format),
                summary=result["summary"],
                graph=path_or_none(result.get("graph")),
                layout=path_or_none(result.get("layout")),
            )
            return result

        await self._reader.inspect(
            entry.path,
            layout=True,
            title=f"Inspect: {entry.name}",
            subject=sha256,
            receive=receive,
            again=lambda: self.reinspect(sha256),
        )
        return self.rows.put(row_of(await self._entry(sha256)))

    async def inspect(self, path: Path, sizes: Mapping[str, int] | None = None) -> dict[str, Any]:
        """What a file is, without importing it: the keys of `inspect` in docs/cli.md; `sizes` sets open dimensions."""
        await self.require_file(path)
        result = await self._reader.inspect(
            path.absolute(), layout=False, title=f"Inspect: {path.name}", sizes=sizes
        )
        return dict(result["summary"])

    async def diff(self, a: Path, b: Path) -> dict[str, Any]:
        """Structural and numeric difference: `added, removed, changed, identical`, as `model.compare.diff` tells them.

        Models of the library that come from one another are matched by their lineage too; `lineage` of the result
        are the recipes between them.
        """
        for path in (a, b):
            await self.require_file(path)
        await self.start()
        relation = related(await self._hash(a), await self._hash(b), self.rows.get)
        title = f"Compare: {a.name} and {b.name}"
        params = {
            "a": str(a.absolute()),
            "b": str(b.absolute()),
            "names": dict(relation.names if relation else {}),
        }
        result = await self._jobs.run("diff", params, title=title)
        return {**result, "lineage": None if relation is None else list(relation.recipes)}

    async def _hash(self, path: Path) -> str:
        """What the library calls the content of a file; of its own models without reading them."""
        for row in self.rows:
            if row.path == str(path):
                return row.sha256
        return await asyncio.to_thread(content_sha256, path)

    async def check(self, path: Path, target: str, *, failing: Path | None = None) -> dict[str, Any]:
        """Whether a model will run on a board profile, operator by operator.

        What does not run goes to `failing` as models of one operator each, graphs without weights for formats other
        than ONNX and TFLite: a folder, or one file when it is called so; `failing` of the result lists them.
        """
        await self.require_file(path)
        params = {"path": str(path.absolute()), "target": target}

        def receive(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            made = [Path(file) for file in result.get("failing") or ()]
            return {**result, "failing": keep_failing(made, failing) if failing else []}

        return await self._jobs.run("check", params, title=f"Check: {path.name} on {target}", receive=receive)

    async def remove(self, sha256: str) -> None:
        """Take a model out of the library; its variants stay."""
        await asyncio.to_thread(self.library.remove, sha256)
        self.rows.remove(sha256)

    async def set_aside(self, sha256: str) -> None:
        """As `remove`, but this studio can bring it back until it stops."""
        await asyncio.to_thread(self.library.set_aside, sha256)
        self.rows.remove(sha256)

    async def bring_back(self, sha256: str) -> ModelRow:
        """Undo `set_aside`."""
        return self.rows.put(row_of(await asyncio.to_thread(self.library.bring_back, sha256)))

    async def set_data(
        self,
        sha256: str,
        *,
        data: Path | None = None,
        pipeline: Path | None = None,
        calibration: Path | None = None,
    ) -> ModelRow:
        """Say with which data and pipeline a model is calibrated, evaluated and pushed."""
        for path in (data, pipeline, calibration):
            if path is not None:
                await self.require_file(path)
        facts = {
            name: str(path.absolute())
            for name, path in (("data", data), ("calibration", calibration))
            if path is not None
        }
        return await self._update(sha256, pipeline=pipeline, **facts)

    async def export(self, sha256: str, to: Path) -> Path:
        """Copy a model's file or folder to `to`, or into that folder, whole or not at all; returns where it is."""
        entry = await self._entry(sha256)
        return await asyncio.to_thread(copy_model, entry, to)

    def get(self, sha256: str) -> ModelRow:
        """The row with this hash; raises InputError when there is none."""
        row = self.rows.get(sha256)
        if row is None:
            raise InputError(f"There is no model {sha256[:12]} in the library.", code="no-model")
        return row

    def find(self, reference: str) -> ModelRow | None:
        """The row that a hash, a prefix of one, or a name means; None when none or several do."""
        exact = self.rows.get(reference)
        if exact is not None:
            return exact
        is_prefix = _PREFIX.fullmatch(reference) is not None
        found = [
            row for row in self.rows
            if row.name == reference or (is_prefix and row.sha256.startswith(reference))
        ]  # fmt: skip
        return found[0] if len(found) == 1 else None

    async def locate(self, reference: str) -> ModelRow:
        """The model that a path (which is opened), a hash prefix or a name means; raises ModelError."""
        row = await self.meant(reference)
        return row if row is not None else await self.open(Path(reference))

    async def meant(self, reference: str) -> ModelRow | None:
        """The model of the library that a name or hash prefix means, None for a path; raises ModelError for neither."""
        if reference and os.path.lexists(reference):
            await self.require_file(Path(reference))
            return None
        await self.start()
        row = self.find(reference)
        if row is None:
            raise ModelError(
                f"There is no file {reference!r}, and no model of that name or hash in the library.",
                hint="Check the path.",
                code="missing-file",
            )
        return row

    async def require_file(self, path: Path) -> None:
        """Raise ModelError unless something is there that may be read."""
        problem = await asyncio.to_thread(problem_of, path)
        if problem is not None:
            raise problem

    def take_variant(
        self,
        source: ModelRow,
        recipe: str,
        result: Mapping[str, Any],
        supplies: Supplies,
    ) -> ModelRow:
        """Move what a recipe made into the library; runs in a thread while the job's folder exists."""
        artifact = Path(result["artifact"])
        entry = self.following.add(
            artifact,
            name=f"{source.name} {recipe}",
            format=str(result.get("format") or source.format),
            pipeline=path_or_none(result.get("pipeline")) or supplies.pipeline,
            companions=companions(artifact, result),
            expected_sha256=result.get("sha256"),
            parent=source.sha256,
            recipe=recipe,
            data=text_or_none(supplies.data),
            calibration=text_or_none(supplies.calibration),
            verdicts=result.get("verdicts") or {},
            warnings=tuple(result.get("warnings") or ()),
            before=result.get("before"),
            after=result.get("after"),
            steps=tuple(result.get("steps") or ()),
        )
        return row_of(entry)

    async def show_variant(self, row: ModelRow) -> ModelRow:
        """Publish a new variant, then look into it as into any model."""
        self.rows.put(row)
        return await self.reinspect(row.sha256)

    async def _known(self, hashing: asyncio.Future[str], supplies: Supplies) -> ModelRow | None:
        """The row of a model that is in the library already, with what is newly said about it."""
        if not hashing.done():
            return None
        entry = await asyncio.to_thread(self.library.get, hashing.result())
        if entry is None or entry.graph_path is None:
            return None
        if supplies != Supplies():
            return await self.set_data(
                entry.sha256,
                data=supplies.data,
                pipeline=supplies.pipeline,
                calibration=supplies.calibration,
            )
        return self.rows.put(row_of(entry))

    async def _import(
        self, path: Path, name: str, supplies: Supplies, hashing: asyncio.Future[str]
    ) -> ModelRow:
        early = EarlyRow(self.rows, path, name, hashing, self._jobs.folder)
        entries: list[Entry] = []

        def receive(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            entry = self.following.add(
                path,
                name=name,
                format=str(result["summary"].get("format") or ""),
                graph=path_or_none(result.get("graph")),
                layout=path_or_none(result.get("layout")),
                pipeline=supplies.pipeline,
                companions=companions(path, result),
                expected_sha256=result.get("sha256") if path.is_file() else None,
                summary=result["summary"],
                data=text_or_none(supplies.data),
                calibration=text_or_none(supplies.calibration),
                opened_from=str(path),
            )
            entries.append(entry)
            return result

        try:
            await self._reader.inspect(
                path,
                layout=True,
                title=f"Open: {path.name}",
                on_partial=early.on_partial,
                receive=receive,
                again=lambda: self.open(path, name=name, **asdict(supplies)),
            )
        except BaseException:
            early.withdraw()
            raise
        row = self.rows.put(row_of(entries[0]))
        early.settle(row.sha256)
        return row

    async def _entry(self, sha256: str) -> Entry:
        entry = await asyncio.to_thread(self.library.get, sha256)
        if entry is None:
            raise InputError(f"There is no model {sha256[:12]} in the library.", code="no-model")
        return entry

    async def _update(self, sha256: str, **facts: Any) -> ModelRow:
        entry = await asyncio.to_thread(lambda: self.library.update(sha256, **facts))
        return self.rows.put(row_of(entry))
