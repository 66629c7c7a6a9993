"""What a user changes in the library, each change with its way back: words about a model, removals, small edits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from edgestudio.optimize import catalog
from edgestudio.optimize.recipe import Recipe, parse
from edgestudio.studio.library.edit_history import Change, EditHistory
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.optimizer import OptimizerService
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import RecipeError

T = TypeVar("T")


class EditService:
    """The same calls as the library's own, remembered in `history`."""

    def __init__(self, models: ModelService, optimizer: OptimizerService) -> None:
        self._models = models
        self._optimizer = optimizer
        self.history = EditHistory()

    async def rename(self, sha256: str, name: str) -> ModelRow:
        """Give a model another name."""
        old = self._models.get(sha256).name
        return await self._worded("Rename", sha256, self._models.rename, old, name)

    async def set_tags(self, sha256: str, tags: Iterable[str]) -> ModelRow:
        """Replace the tags of a model."""
        old = self._models.get(sha256).tags
        return await self._worded("Tags", sha256, self._models.set_tags, old, tuple(tags))

    async def set_version(self, sha256: str, version: str) -> ModelRow:
        """Give a model a semantic version; raises InputError for what is none."""
        old = self._models.get(sha256).version
        return await self._worded("Version", sha256, self._models.set_version, old, version)

    async def set_note(self, sha256: str, note: str) -> ModelRow:
        """Replace the note beside a model."""
        old = self._models.get(sha256).note
        return await self._worded("Note", sha256, self._models.set_note, old, note)

    async def set_facts(self, sha256: str, facts: Mapping[str, Any]) -> ModelRow:
        """Replace what is said about how a model was made."""
        old = dict(self._models.get(sha256).facts)
        return await self._worded("Facts", sha256, self._models.set_facts, old, dict(facts))

    async def remove(self, sha256: str) -> None:
        """Take a model out of the library; it can be brought back until the studio stops."""
        row = self._models.get(sha256)
        remove = partial(self._models.set_aside, sha256)
        await remove()
        back = partial(self._models.bring_back, sha256)
        self.history.record(Change(f"Remove {row.name}", back, remove))

    async def edit(self, sha256: str, steps: Sequence[Mapping[str, Any]]) -> ModelRow:
        """Make an edited model under its parent: steps of the passes that edit, as in a recipe.

        Raises RecipeError for another pass or wrong options, RefusedError when the result would not run.
        """
        recipe = edit_recipe(steps)
        known = {row.sha256 for row in self._models.rows}
        row = await self._optimizer.optimize(sha256, recipe)
        if row.sha256 not in known:
            remove = partial(self._models.set_aside, row.sha256)
            back = partial(self._models.bring_back, row.sha256)
            self.history.record(Change(recipe.title, remove, back))
        return row

    async def _worded(
        self, title: str, sha256: str, change: Callable[[str, T], Awaitable[ModelRow]], old: T, new: T
    ) -> ModelRow:
        name = self._models.get(sha256).name
        row = await change(sha256, new)
        undo, redo = partial(change, sha256, old), partial(change, sha256, new)
        self.history.record(Change(f"{title}: {name}", undo, redo))
        return row


def edit_recipe(steps: Sequence[Mapping[str, Any]]) -> Recipe:
    """The recipe of some small edits; raises RecipeError for a pass that does not edit."""
    specs = [catalog.spec(str(step.get("pass"))) for step in steps]
    if not specs:
        raise RecipeError("An edit needs at least one step.", hint="Say what to change.")
    for spec in specs:
        if not spec.is_edit:
            edits = ", ".join(each.id for each in catalog.specs() if each.is_edit)
            raise RecipeError(f"“{spec.title}” is no edit.", hint=f"Edits are {edits}.")
    name = specs[0].id if len(specs) == 1 else "edited"
    title = ", ".join(dict.fromkeys(spec.title for spec in specs))
    return parse({"name": name, "title": title, "steps": [dict(step) for step in steps]})
