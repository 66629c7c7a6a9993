"""Making variants of models: recipes, evaluation, benchmark, each in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.studio.jobs import JobService
from edgestudio.studio.models import ModelService
from edgestudio.studio.rows import ModelRow


class OptimizerService:
    """Runs recipes; a variant enters the library under its parent with both measured sides."""

    def __init__(self, jobs: JobService, models: ModelService) -> None:
        self._jobs = jobs
        self._models = models

    def recipes(self) -> list[dict[str, Any]]:
        """The known recipes as documents: `name, title, description, steps, available, reason, needs_data`."""
        raise NotImplementedError

    def passes(self) -> list[dict[str, Any]]:
        """The catalogue: `id, title, description, available, reason, needs_data, options` (a JSON schema)."""
        raise NotImplementedError

    def recipe(self, name_or_file: str, settings: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A recipe by name or file, with `pass.option` settings applied; raises RecipeError."""
        raise NotImplementedError

    async def optimize(
        self,
        model: str,
        recipe: str | Mapping[str, Any],
        *,
        data: Path | None = None,
        pipeline: Path | None = None,
    ) -> ModelRow:
        """Make a variant of the model with this hash; data and pipeline default to the model's own."""
        raise NotImplementedError

    async def evaluate(
        self, model: str | Path, *, data: Path | None = None, pipeline: Path | None = None
    ) -> dict[str, Any]:
        """Accuracy on labelled data: `n, top1, per_class, confusion`."""
        raise NotImplementedError

    async def bench(
        self, model: str | Path, *, profile: bool = False, soak_minutes: float = 0.0
    ) -> dict[str, Any]:
        """Honest latency on this machine: the keys of `bench` in docs/cli.md."""
        raise NotImplementedError
