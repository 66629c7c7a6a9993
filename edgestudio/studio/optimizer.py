"""Making variants of models: recipes, evaluation, benchmark, each in a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgestudio.optimize import catalog
from edgestudio.optimize import recipe as recipes
from edgestudio.optimize.recipe import Recipe
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.files import path_or_none, text_or_none
from edgestudio.studio.library.models import ModelService, Supplies
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError, RecipeError


class OptimizerService:
    """Runs recipes; a variant enters the library under its parent with both measured sides."""

    def __init__(self, jobs: JobService, models: ModelService) -> None:
        self._jobs = jobs
        self._models = models

    def recipes(self) -> list[dict[str, Any]]:
        """The built-in recipes as documents, each with `needs_data, available, reason`."""
        return [self._described(recipe) for recipe in recipes.builtins()]

    def passes(self) -> list[dict[str, Any]]:
        """The catalogue: `id, title, description, formats, needs_data, available, reason, options`."""
        return [catalog.describe(spec) for spec in catalog.specs()]

    def recipe(self, name_or_file: str, settings: Sequence[str] = ()) -> Recipe:
        """A recipe by name or file, with `pass.option=value` settings applied; raises RecipeError."""
        found = recipes.load(name_or_file)
        return recipes.override(found, settings) if settings else found

    async def optimize(
        self,
        model: str,
        recipe: str | Recipe | Mapping[str, Any],
        *,
        data: Path | None = None,
        pipeline: Path | None = None,
        calibration: Path | None = None,
    ) -> ModelRow:
        """Make a variant of the model with this hash; data and pipeline default to the model's own.

        Quantisation looks at `calibration`, else at the data that it is measured on. Raises RecipeError before
        anything starts when a pass is unavailable or lacks its data.
        """
        source = self._models.get(model)
        chosen = self.recipe(recipe) if isinstance(recipe, str) else recipes.parse(recipe)
        supplies = Supplies(
            pipeline or path_or_none(source.pipeline_path),
            data or path_or_none(source.data_path),
            calibration or (path_or_none(source.calibration_path) if data is None else None),
        )
        for step in chosen.steps:
            spec = catalog.spec(step.pass_id)
            reason = catalog.reason_unavailable(spec, source.format)
            if reason:
                raise RecipeError(
                    f"{spec.title} {reason}.", hint="edgestudio recipes lists what can run here."
                )
            if spec.needs_data and supplies.data is None and supplies.calibration is None:
                raise RecipeError(
                    f"{spec.title} needs data to calibrate with.",
                    hint="Give labelled or unlabelled data of the kind that the model will see.",
                    code="needs-data",
                )
        await self._require(supplies.pipeline, supplies.data, supplies.calibration)
        made: list[ModelRow] = []

        def receive(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            made.append(self._models.take_variant(source, chosen.name, result, supplies))
            return result

        await self._jobs.run(
            "optimize",
            {
                "path": source.path,
                "recipe": chosen.as_dict(),
                **{name: text_or_none(path) for name, path in asdict(supplies).items()},
            },
            title=f"{chosen.title or chosen.name}: {source.name}",
            subject=source.sha256,
            receive=receive,
            again=lambda: self.optimize(model, chosen, **asdict(supplies)),
        )
        return await self._models.show_variant(made[0])

    async def evaluate(
        self, model: str | Path, *, data: Path | None = None, pipeline: Path | None = None
    ) -> dict[str, Any]:
        """Accuracy on labelled data: `n, top1, per_class, confusion`."""
        path, row = await self._source(model)
        data = data or path_or_none(row.data_path if row else None)
        pipeline = pipeline or path_or_none(row.pipeline_path if row else None)
        if data is None:
            raise InputError(
                "There is no data to evaluate on.", hint="Give labelled data.", code="needs-data"
            )
        await self._require(data, pipeline)
        return await self._jobs.run(
            "evaluate",
            {"path": str(path), "data": str(data), "pipeline": text_or_none(pipeline)},
            title=f"Evaluate: {row.name if row else path.name}",
            subject=row.sha256 if row else None,
            again=lambda: self.evaluate(model, data=data, pipeline=pipeline),
        )

    async def bench(
        self,
        model: str | Path,
        *,
        profile: bool = False,
        soak_minutes: float = 0.0,
        data: Path | None = None,
        pipeline: Path | None = None,
    ) -> dict[str, Any]:
        """Honest latency on this machine, on `data` or noise: the keys of `bench` in docs/cli.md."""
        path, row = await self._source(model)
        await self._require(data, pipeline)
        return await self._jobs.run(
            "bench",
            {
                "path": str(path),
                "profile": profile,
                "soak_minutes": soak_minutes,
                "data": text_or_none(data),
                "pipeline": text_or_none(pipeline),
            },
            title=f"Benchmark: {row.name if row else path.name}",
            subject=row.sha256 if row else None,
            again=lambda: self.bench(
                model, profile=profile, soak_minutes=soak_minutes, data=data, pipeline=pipeline
            ),
        )

    async def _source(self, model: str | Path) -> tuple[Path, ModelRow | None]:
        """Where a model's file is, and its row when it is one of the library; raises InputError."""
        if isinstance(model, str):
            row = self._models.get(model)
            return Path(row.path), row
        await self._models.require_file(model)
        return model.absolute(), None

    async def _require(self, *paths: Path | None) -> None:
        for path in paths:
            if path is not None:
                await self._models.require_file(path)

    @staticmethod
    def _described(recipe: Recipe) -> dict[str, Any]:
        reasons = [catalog.reason_unavailable(catalog.spec(step.pass_id)) for step in recipe.steps]
        reason = next((reason for reason in reasons if reason), "")
        return {
            **recipe.as_dict(),
            "needs_data": recipe.needs_data,
            "available": not reason,
            "reason": reason or None,
        }
