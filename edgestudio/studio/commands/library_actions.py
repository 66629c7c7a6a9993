"""What the commands of the library do: names, tags, versions, notes, small edits, undo, registries, Netron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from edgestudio.studio.commands.commands import Selection
from edgestudio.studio.commands.context import CommandContext


class LibraryActions(CommandContext):
    """Each returns at once; the future of what goes on has a row, or a title of what was undone."""

    def rename(self, model: str | None = None, name: str | None = None) -> Future[Any] | None:
        """Give a model another name."""
        row = self._row(model)
        if row is None:
            return None
        said = name or self._window.ask_text("Rename", "Name of the model", row.name)
        return self._start(self._studio.edits.rename(row.sha256, said)) if said else None

    def set_tags(self, model: str | None = None, tags: Sequence[str] | None = None) -> Future[Any] | None:
        """Replace the tags of a model; asked for as one line with commas."""
        row = self._row(model)
        if row is None:
            return None
        if tags is None:
            said = self._window.ask_text("Tags", "Tags, separated by commas", ", ".join(row.tags))
            if said is None:
                return None
            tags = said.split(",")
        return self._start(self._studio.edits.set_tags(row.sha256, tags))

    def set_version(self, model: str | None = None, version: str | None = None) -> Future[Any] | None:
        """Give a model a semantic version; "" takes it away."""
        row = self._row(model)
        if row is None:
            return None
        if version is None:
            version = self._window.ask_text("Version", "Version, such as 1.2.0", row.version)
        return None if version is None else self._start(self._studio.edits.set_version(row.sha256, version))

    def note(self, model: str | None = None, note: str | None = None) -> Future[Any] | None:
        """Replace the note beside a model."""
        row = self._row(model)
        if row is None:
            return None
        if note is None:
            note = self._window.ask_text("Note", "Note about this model", row.note)
        return None if note is None else self._start(self._studio.edits.set_note(row.sha256, note))

    def set_facts(
        self, model: str | None = None, facts: Mapping[str, Any] | None = None
    ) -> Future[Any] | None:
        """Replace what is said about how a model was made: `training_date, dataset_version, metrics, tools`."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        if facts is None:
            self._window.show("model-facts")
            return None
        return self._start(self._studio.edits.set_facts(sha256, facts))

    def remove(self, model: str | None = None) -> Future[Any] | None:
        """Take a model out of the library; undo brings it back."""
        sha256 = self._model(model)
        return self._start(self._studio.edits.remove(sha256)) if sha256 else None

    def reveal(self, model: str | None = None) -> Future[Any] | None:
        """Show a model's file in the system's file manager."""
        sha256 = self._model(model)
        return self._start(self._studio.viewers.reveal(sha256)) if sha256 else None

    def open_in_netron(self, model: str | None = None) -> Future[Any] | None:
        """Show a model in Netron's own view."""
        sha256 = self._model(model)
        return self._start(self._studio.viewers.open_in_netron(sha256)) if sha256 else None

    def edit(
        self,
        model: str | None = None,
        steps: Sequence[Mapping[str, Any]] | None = None,
    ) -> Future[Any] | None:
        """Make an edited copy under its parent; `steps` as in a recipe: `[{"pass": …, "options": {…}}]`."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        if not steps:
            self._window.show("edit-model")
            return None
        return self._start(self._studio.edits.edit(sha256, steps))

    def undo(self) -> Future[Any]:
        """Take back what was done last; the future has its title, None when there was nothing."""
        return self._start(self._studio.edits.history.undo())

    def redo(self) -> Future[Any]:
        """Do again what was taken back last."""
        return self._start(self._studio.edits.history.redo())

    def can_undo(self, selection: Selection) -> bool:
        """True when something can be taken back."""
        return self._studio.edits.history.undo_title is not None

    def can_redo(self, selection: Selection) -> bool:
        """True when something can be done again."""
        return self._studio.edits.history.redo_title is not None

    def publish(
        self,
        model: str | None = None,
        registry: str | None = None,
        name: str | None = None,
        version: str | None = None,
    ) -> Future[Any] | None:
        """Publish a model to a registry: `{registry, reference, name, version}`."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        if registry is None:
            self._window.show("publish")
            return None
        return self._start(self._studio.registries.publish(sha256, registry, name=name, version=version))

    def import_registry(
        self, registry: str | None = None, name: str | None = None, version: str | None = None
    ) -> Future[Any] | None:
        """Fetch a model from a registry and open it; without a version the newest."""
        if registry is None or name is None:
            self._window.show("import-registry")
            return None
        return self._start(self._studio.registries.fetch(registry, name, version))
