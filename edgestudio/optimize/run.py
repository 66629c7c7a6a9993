"""Runs a recipe on a copy of a model: step by step, each checked against its parent, then measured."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edgestudio.model.compare.lineage import renamed
from edgestudio.model.reading import read_model
from edgestudio.optimize import catalog, recipe
from edgestudio.optimize.catalog import PassSpec
from edgestudio.optimize.datasets import DataSamples, pipeline_for
from edgestudio.optimize.error import ErrorMeter
from edgestudio.optimize.outcome import measure
from edgestudio.optimize.package import SUFFIXES
from edgestudio.optimize.step import StepContext, StepReport
from edgestudio.optimize.trial import error_between, opened
from edgestudio.runtime import environment
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.format_names import format_title
from edgestudio.runtime.pipeline.pipeline import Pipeline, Runner, parse_pipeline
from edgestudio.runtime.recognise import recognise
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.errors import InputError, ModelError, RefusedError
from edgestudio.wire.progress import Progress, Share

# A clean-up must not change answers: below this the graph is taken as it was.
_CLEAN_SQNR_DB = 60.0
_ODD_COSINE = 0.9
# Above this share of the old size a recipe has not done what it was chosen for.
_HARDLY = 0.95
# Fields of a pipeline that name an input or output of the model.
_TENSOR_FIELDS = frozenset({"input", "output", "from_output", "boxes", "scores"})
# Share of the whole job by phase: steps, then measuring.
_READ, _STEPS = 0.05, 0.5
# Share of a step in which the pass works; the rest checks its result.
_APPLIED = 0.6


@dataclass(frozen=True)
class Planned:
    """One step that will run: the pass, its checked options, and whether the recipe left it implicit."""

    spec: PassSpec
    options: BaseModel
    is_implicit: bool = False


@dataclass
class Work:
    """The state of a run: the artifact so far and what it is compared with.

    `reference` is the source, or the result of the last edit, since an edit changes answers on purpose.
    """

    folder: Path
    model_format: str
    pipeline: Pipeline | None
    data: Path | None
    calibration: Path | None
    threads: int
    current: Path
    reference: Path


def optimize_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry point: `{path, recipe, data?, pipeline?, calibration?, threads?}` to the keys of `optimize`
    in docs/cli.md, and `verdicts, warnings, notes, files, recipe, environment`.

    Works in `out_dir` alone; the source is only read. Raises ModelError, RecipeError, RefusedError.
    """
    source = Path(params["path"])
    document = (
        recipe.parse(params["recipe"])
        if not isinstance(params["recipe"], str)
        else recipe.load(params["recipe"])
    )
    progress.phase("read the model", 0.0)
    model_format, parent = recognise(source), _sha256(source)
    scan_model(source)
    plan = planned(document, model_format)
    threads = int(params.get("threads") or 1)
    data, given = _path(params.get("data")), _path(params.get("pipeline"))
    pipeline, notes = _pipeline(source, given, data)
    with tempfile.TemporaryDirectory(dir=out_dir, prefix="work-") as folder:
        work = Work(
            Path(folder),
            model_format,
            pipeline,
            data,
            _path(params.get("calibration")) or data,
            threads,
            source,
            source,
        )
        steps = []
        for number, step in enumerate(plan):
            start, width = _READ + (_STEPS - _READ) * number / len(plan), (_STEPS - _READ) / len(plan)
            steps.append(run_step(work, step, number, Share(progress, start, start + width)))
        if _sha256(source) != parent:
            raise RefusedError(
                "The model file changed while it was read.", hint="Start again with a finished file."
            )
        artifact = out_dir / f"{source.stem}.{document.name}{SUFFIXES[model_format]}"
        shutil.move(work.current, artifact)
        reference = work.reference if work.reference != work.current else artifact
        outcome = measure(reference, artifact, work.pipeline, data, out_dir, progress, (_STEPS, 1.0), threads)
    warnings = [warning for step in steps for warning in step["report"]["warnings"]] + outcome.warnings
    size = source.stat().st_size
    if any(step.spec.is_lossy for step in plan):
        warnings += _size_warnings(size, outcome.after["size_bytes"])
    outcome.before["size_bytes"] = size
    outcome.verdicts["size"] = f"{outcome.after['size_bytes'] / size * 100:.0f} % of the size before"
    return {
        "artifact": str(artifact),
        "sha256": _sha256(artifact),
        "format": model_format,
        "parent": parent,
        "recipe": document.as_dict(),
        "steps": steps,
        "warnings": list(dict.fromkeys(warnings)),
        "notes": notes + outcome.notes,
        "environment": environment.describe(threads),
        **outcome.as_dict(),
    }


def _size_warnings(before: int, after: int) -> list[str]:
    if after >= before:
        return [f"The file did not get smaller: {before:,} to {after:,} bytes."]
    if after > _HARDLY * before:
        return [f"The file is hardly smaller: {before:,} to {after:,} bytes."]
    return []


def planned(document: recipe.Recipe, model_format: str) -> list[Planned]:
    """The steps in order, the clean-up put before the first pass that expects it; refuses before anything runs."""
    if model_format not in SUFFIXES:
        raise RefusedError(
            f"Recipes run on ONNX and TFLite models, not on {format_title(model_format)}.",
            hint="Convert the model first.",
            code="format",
        )
    steps: list[Planned] = []
    is_clean = model_format != "onnx"
    for step in document.steps:
        spec = catalog.spec(step.pass_id)
        catalog.runner(spec, model_format)
        if spec.id == "canonicalise":
            is_clean = True
        elif not spec.is_edit and not is_clean:
            clean = catalog.spec("canonicalise")
            catalog.runner(clean, model_format)
            steps.append(Planned(clean, catalog.options_model(clean)(), is_implicit=True))
            is_clean = True
        steps.append(Planned(spec, catalog.options_model(spec).model_validate(step.options)))
    return steps


def run_step(work: Work, step: Planned, number: int, progress: Progress) -> dict[str, Any]:
    """Run one step on `work.current`, check what came out, and make it the current one; returns its record."""
    spec, started = step.spec, time.perf_counter()
    before = _sha256(work.current)
    target = work.folder / f"{number}-{spec.id}{SUFFIXES[work.model_format]}"
    report, meter = _checked(work, step, target, progress)
    warnings = list(report.warnings)
    if meter is not None and not meter.is_finite and not meter.is_reference_finite:
        warnings.append(
            "the model itself answers NaN or infinity on some of these inputs; the variant on others"
        )
    elif meter is not None and not meter.is_finite:
        raise RefusedError(
            f"After “{spec.title}” the model answers NaN or infinity where it gave numbers before.",
            hint="Keep the layers that overflow in float, or choose another recipe.",
            code="not-finite",
        )
    cosine = meter.difference.cosine if meter is not None else None
    if cosine is not None and cosine < _ODD_COSINE:
        warnings.append(
            f"the answers changed a lot (cosine {cosine:.3f}): measure accuracy before using this"
        )
    names = renamed(read_model(work.current).main, read_model(target).main, report.names)
    work.current = target
    if spec.is_edit:
        work.reference = target
        work.pipeline = _fitting(target, work.pipeline, getattr(step.options, "names", {}))
    progress.log(f"{spec.title}: {report.sentence}")
    return {
        "pass": spec.id,
        "title": spec.title,
        "options": step.options.model_dump(mode="json"),
        "is_implicit": step.is_implicit,
        "seconds": round(time.perf_counter() - started, 3),
        "parent": before,
        "sha256": _sha256(target),
        "size_bytes": target.stat().st_size,
        "report": report.as_dict() | {"warnings": warnings},
        "error": meter.as_dict() if meter is not None else None,
        "names": names,
        "tools": _tools(spec, work.model_format),
    }


def _checked(
    work: Work, step: Planned, target: Path, progress: Progress
) -> tuple[StepReport, ErrorMeter | None]:
    """The step's report and the error of its result; a clean-up that breaks the graph leaves it as it was."""
    progress.phase(step.spec.title, 0.0)
    report = _apply(work, step, target, Share(progress, 0.0, _APPLIED))
    if step.spec.is_edit:
        return report, None
    plain = step if step.spec.is_lossy else _without_simplifying(step)
    try:
        progress.phase("check the result", _APPLIED)
        meter = _gate(work, target)
        if step.spec.is_lossy or meter is None or meter.difference.sqnr_db >= _CLEAN_SQNR_DB:
            return report, meter
        why = "changed the answers"
    except RefusedError:
        if plain.options == step.options:
            raise
        why = "broke the graph"
    progress.log(f"simplifying {why}: the graph is taken as it was")
    return _apply(work, plain, target, Share(progress, _APPLIED, 1.0)), _gate(work, target)


def _apply(work: Work, step: Planned, target: Path, progress: Progress) -> StepReport:
    function = catalog.runner(step.spec, work.model_format)
    with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
        if not step.spec.needs_data or work.calibration is None:
            return function(
                work.current, target, step.options, StepContext(Path(scratch), None, progress, work.threads)
            )
        with opened(work.current, work.pipeline, work.calibration, threads=work.threads) as trial:
            samples = trial.samples if isinstance(trial.samples, DataSamples) else None
            context = StepContext(Path(scratch), samples, progress, work.threads)
            return function(work.current, target, step.options, context)


def _gate(work: Work, target: Path) -> ErrorMeter | None:
    """Check and load the step's result and run it beside the reference; raises RefusedError when it does not run."""
    if work.model_format == "onnx":
        from edgestudio.optimize.passes.canonical import loads

        reason = loads(target)
        if reason:
            raise RefusedError(f"The result does not load: {reason}", code="does-not-load")
    try:
        with (
            opened(work.reference, work.pipeline, work.data, threads=work.threads) as a,
            opened(target, work.pipeline, work.data, threads=work.threads) as b,
        ):
            return error_between(a, b)
    except ModelError as error:
        raise RefusedError(
            f"The result does not run: {error.message}", hint=error.hint, code="does-not-run"
        ) from error


def _without_simplifying(step: Planned) -> Planned:
    options = (
        step.options.model_copy(update={"simplify": False})
        if "simplify" in type(step.options).model_fields
        else step.options
    )
    return Planned(step.spec, options, step.is_implicit)


def _pipeline(source: Path, given: Path | None, data: Path | None) -> tuple[Pipeline, list[str]]:
    session = open_session(source, is_scanned=True)
    try:
        pipeline, notes = pipeline_for(session, given, data)
        Runner(session, pipeline)  # a pipeline of another model is refused before anything is made
        return pipeline, notes
    finally:
        session.close()


def _fitting(target: Path, pipeline: Pipeline | None, names: Mapping[str, str]) -> Pipeline | None:
    """The pipeline for the edited model, with `names` renamed; None, which means a new default, when it is
    of inputs or outputs that are gone."""
    if pipeline is None:
        return None
    fitting = parse_pipeline(_renamed(pipeline.model_dump(mode="json", exclude_none=True), names))
    session = open_session(target)
    try:
        Runner(session, fitting)
    except InputError:
        return None
    finally:
        session.close()
    return fitting


def _renamed(document: Any, names: Mapping[str, str]) -> Any:
    """The document with new names wherever a field refers to a tensor."""
    if isinstance(document, list):
        return [_renamed(each, names) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        key: names.get(value, value)
        if key in _TENSOR_FIELDS and isinstance(value, str)
        else _renamed(value, names)
        for key, value in document.items()
    }


def _tools(spec: PassSpec, model_format: str) -> dict[str, str]:
    packages = [need.module.replace("_", "-") for need in spec.needs.get(model_format, ())]
    return _versions(("edgestudio", *packages))


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _path(value: Any) -> Path | None:
    return Path(value) if value else None
