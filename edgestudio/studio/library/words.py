"""What people say about a model of the library: its name, tags, version, note, and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgestudio.studio.library.facts import checked_facts
from edgestudio.studio.library.semantic_version import parse_version
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError


class ModelWords:
    """Checks what was said; keeping and publishing it is left to `_update`."""

    async def rename(self, sha256: str, name: str) -> ModelRow:
        """Give a model another name."""
        if not name.strip():
            raise InputError("A model needs a name.")
        return await self._update(sha256, name=name.strip())

    async def set_tags(self, sha256: str, tags: Iterable[str]) -> ModelRow:
        """Replace the tags of a model."""
        return await self._update(sha256, tags=tuple(dict.fromkeys(t.strip() for t in tags if t.strip())))

    async def set_version(self, sha256: str, version: str) -> ModelRow:
        """Give a model a semantic version ("" takes it away); raises InputError for anything else."""
        return await self._update(sha256, version=str(parse_version(version)) if version.strip() else "")

    async def set_note(self, sha256: str, note: str) -> ModelRow:
        """Replace the note that is kept beside a model."""
        return await self._update(sha256, note=note.strip())

    async def set_facts(self, sha256: str, facts: Mapping[str, Any]) -> ModelRow:
        """Replace what is said about how a model was made; raises InputError for what is no such fact."""
        return await self._update(sha256, facts=checked_facts(facts))

    async def set_words(
        self,
        sha256: str,
        *,
        name: str,
        tags: Iterable[str],
        version: str,
        note: str,
        facts: Mapping[str, Any],
    ) -> ModelRow:
        """Replace everything that is said about a model at once."""
        checked = checked_facts(facts)
        return await self._update(
            sha256, name=name, tags=tuple(tags), version=version, note=note, facts=checked
        )

    async def set_origin(
        self,
        sha256: str,
        *,
        parent: str | None,
        recipe: str | None,
        opened_from: str | None,
        steps: tuple[Mapping[str, Any], ...] = (),
    ) -> ModelRow:
        """Say where a model that was made elsewhere is from, and by which steps."""
        return await self._update(
            sha256, parent=parent, recipe=recipe, opened_from=opened_from, steps=tuple(steps)
        )

    async def _update(self, sha256: str, **facts: Any) -> ModelRow:
        raise NotImplementedError
