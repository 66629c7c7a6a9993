"""Models go to registries and come back: versioned, with the facts about them, opened like any other file."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgestudio.devices.publisher import plain_name
from edgestudio.studio.library.facts import ModelFacts, checked_facts, facts_of
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.library.semantic_version import in_order, parse_version
from edgestudio.studio.registry.address import open_registry
from edgestudio.studio.registry.artifact import Artifact, Listed, RegistryError, files_of, sha256_of
from edgestudio.studio.registry.lineage_file import LINEAGE_FILE, read_lineage, write_lineage
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError

_FIRST = "1.0.0"


class RegistryService:
    """Lists, publishes to and fetches from a folder, an OCI registry or an MLflow server."""

    def __init__(self, models: ModelService, work_dir: Path) -> None:
        self._models = models
        self._dir = work_dir

    async def models(self, address: str) -> list[Listed]:
        """What a registry has, with versions from oldest to newest; raises RegistryError, UsageError."""
        listed = await open_registry(address).models()
        return [Listed(each.name, tuple(in_order(each.versions))) for each in listed]

    async def publish(
        self, sha256: str, address: str, *, name: str | None = None, version: str | None = None
    ) -> dict[str, Any]:
        """Publish a model; returns `registry, reference, name, version, sha256`.

        Without a version the model's own is used, else the next one above those that are there. A version that
        exists is refused, as is one that is no semantic version.
        """
        row = self._models.get(sha256)
        called = plain_name(name or row.name)
        wanted = version or row.version
        chosen = str(parse_version(wanted)) if wanted else await self._next(address, called)
        entry = await asyncio.to_thread(self._models.library.get, sha256)
        if entry is None:
            raise InputError(f"There is no model {sha256[:12]} in the library.", code="no-model")
        files = await asyncio.to_thread(files_of, entry.path, entry.companions)
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._dir, prefix="published-"))
        try:
            lineage = await asyncio.to_thread(write_lineage, row.parent, row.steps, work)
            if lineage is not None:
                files.setdefault(LINEAGE_FILE, lineage)
            artifact = Artifact(called, chosen, files, describe(row))
            reference = await open_registry(address).publish(artifact)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, work, ignore_errors=True))
        if row.version != chosen:
            await self._models.set_version(sha256, chosen)
        return {
            "registry": address, "reference": reference, "name": called, "version": chosen, "sha256": sha256,
        }  # fmt: skip

    async def fetch(self, address: str, name: str, version: str | None = None) -> ModelRow:
        """Fetch a version, by default the newest, and open it as any file; raises RegistryError, ModelError."""
        registry = open_registry(address)
        chosen = version or await self._newest(address, name)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._dir, prefix="fetched-"))
        try:
            artifact = await registry.fetch(name, chosen, folder)
            files = dict(artifact.files)
            lineage = files.pop(LINEAGE_FILE, None) if len(files) > 1 else None
            artifact = replace(artifact, files=files)
            path = main_file(artifact, folder)
            said = str(artifact.facts.get("sha256") or "")
            if len(artifact.files) == 1 and said and await asyncio.to_thread(sha256_of, path) != said:
                raise RegistryError(
                    f"{name} {chosen} is not the model that it is described as.",
                    hint="Do not use it; publish it again.",
                    code="changed-file",
                )
            known = {row.sha256 for row in self._models.rows}
            row = await self._models.open(path, name=name.rpartition("/")[2])
            parent = artifact.facts.get("parent")
            steps = await asyncio.to_thread(read_lineage, lineage, parent) if lineage is not None else ()
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        return await self._take_over(row, artifact, steps, is_new=row.sha256 not in known)

    async def _take_over(
        self, row: ModelRow, artifact: Artifact, steps: tuple[Mapping[str, Any], ...], *, is_new: bool
    ) -> ModelRow:
        """What the registry says about a model; what is said here already stays."""
        facts = artifact.facts
        said = {key: facts[key] for key in ModelFacts.model_fields if facts.get(key)}
        try:
            said = checked_facts(said)
        except InputError:
            said = {}  # somebody else's words: not worth losing the model for
        row = await self._models.set_facts(row.sha256, {**said, **row.facts})
        if not row.version:
            try:
                row = await self._models.set_version(row.sha256, artifact.version)
            except InputError:
                row = await self._models.set_note(row.sha256, row.note or f"version {artifact.version}")
        tags = [tag for tag in facts.get("tags") or () if isinstance(tag, str)]
        row = await self._models.set_tags(row.sha256, (*row.tags, *tags))
        if isinstance(facts.get("note"), str) and not row.note:
            row = await self._models.set_note(row.sha256, facts["note"])
        if not is_new:
            return row
        parent, recipe = facts.get("parent"), facts.get("recipe")
        return await self._models.set_origin(
            row.sha256,
            parent=parent if isinstance(parent, str) else None,
            recipe=recipe if isinstance(recipe, str) else None,
            opened_from=None,
            steps=steps,
        )

    async def _next(self, address: str, name: str) -> str:
        """The version after the newest one that is there; a registry that is not there yet is empty."""
        try:
            sound = await self._versions(address, name)
        except RegistryError as error:
            if error.code != "not-found":
                raise
            sound = []
        return str(parse_version(sound[-1]).next_patch) if sound else _FIRST

    async def _newest(self, address: str, name: str) -> str:
        found = [each.versions for each in await self.models(address) if each.name == name]
        if not found or not found[0]:
            raise RegistryError(
                f"{name} is not in {address}.", hint="`registry list` says what is there.", code="not-found"
            )
        releases = [v for v in found[0] if "-" not in v]
        return (releases or list(found[0]))[-1]

    async def _versions(self, address: str, name: str) -> list[str]:
        found = [each.versions for each in await self.models(address) if each.name == name]
        return [version for version in (found[0] if found else ()) if _is_semantic(version)]


def describe(row: ModelRow) -> dict[str, Any]:
    """The facts that travel with a published model."""
    known: Mapping[str, Any] = facts_of(row)
    return {
        "sha256": row.sha256,
        "format": row.format,
        "parent": row.parent,
        "recipe": row.recipe,
        "steps": [{"pass": step.get("pass"), "options": step.get("options")} for step in row.steps],
        "tags": list(row.tags),
        "note": row.note,
        **known,
    }


def main_file(artifact: Artifact, folder: Path) -> Path:
    """The model itself among fetched files: the first one, or the folder that it is in."""
    first = next(iter(artifact.files))
    top, slash, _ = first.partition("/")
    return folder / top if slash else artifact.files[first]


def _is_semantic(version: str) -> bool:
    try:
        parse_version(version)
    except InputError:
        return False
    return True
