"""What travels with a model: pipeline, golden inputs and outputs, baseline of confidences, samples to go on with."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.optimize.companions import carry
from edgestudio.optimize.datasets import DataSamples, pipeline_for
from edgestudio.optimize.evaluate import Evaluation, evaluate
from edgestudio.optimize.goldens import golden_of, stacks
from edgestudio.optimize.source_files import SAMPLES, source_files
from edgestudio.optimize.trial import Trial, opened
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.fallback import LighterModel
from edgestudio.runtime.pipeline.pipeline import Pipeline
from edgestudio.runtime.pipeline.sources import FolderSource, Limited
from edgestudio.runtime.recognise import recognise
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.baseline import baseline_of
from edgestudio.wire.errors import RecipeError
from edgestudio.wire.golden import MAX_SAMPLES as MAX_GOLDEN
from edgestudio.wire.progress import Progress

MAX_SAMPLES = 64
MAX_EVALUATED = 5000
_MAX_SAMPLES_BYTES = 16 << 20
_RATE_HZ = 10.0
SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite"}


def package_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry point: `{path, pipeline?, golden_data?, name, version}` to `files {role: path}` and facts.

    Roles: model and pipeline always, golden where the model runs; baseline and samples when there is data;
    `source` for what its own source reads, `weights-N` for files that the model keeps its weights in.
    Everything is computed from this very file with its real runtime. Raises ModelError, RecipeError, RefusedError.
    """
    path = Path(params["path"])
    given = Path(params["pipeline"]) if params.get("pipeline") else None
    data = Path(params["golden_data"]) if params.get("golden_data") else None
    progress.phase("open the model", 0.0)
    model_format = recognise(path)
    session = open_session(path)
    try:
        pipeline, notes = pipeline_for(session, given, data)
    finally:
        session.close()
    # Limits are signed with the release itself; the board's copy of the pipeline has no use for them.
    limits = pipeline.limits.model_dump() if pipeline.limits is not None else None
    pipeline, own = source_files(pipeline.model_copy(update={"limits": None}), given, out_dir)
    with opened(path, pipeline, data) as trial:
        evaluation = None
        if isinstance(trial.samples, DataSamples):
            limited = DataSamples(trial.samples.runner, Limited(trial.samples.source, MAX_EVALUATED))
            evaluation = evaluate(limited, progress, "run the data", (0.1, 0.8))
        progress.phase("write the files", 0.9)
        files = write_companions(trial, evaluation, out_dir, notes)
        files.update(own)
        files.update(lighter_files(trial.pipeline, given.parent if given else None, out_dir))
    files |= carry(path, model_format, out_dir / f"model{SUFFIXES.get(model_format, path.suffix)}")
    return {
        "files": {role: str(file) for role, file in files.items()},
        "name": str(params.get("name") or path.stem),
        "version": str(params.get("version") or ""),
        "format": model_format,
        "labels": pipeline.labels,
        "accuracy": evaluation.accuracy() if evaluation else None,
        "notes": notes,
        "limits": limits,
    }


def write_companions(
    trial: Trial, evaluation: Evaluation | None, out_dir: Path, notes: list[str]
) -> dict[str, Path]:
    """Write pipeline, golden and, where there is data, baseline and samples for `trial`'s model; role to path.

    `notes` gets what a board cannot check.
    """
    files = {"pipeline": out_dir / "pipeline.yaml"}
    chosen: list[int] = list(range(min(MAX_GOLDEN, len(trial.samples))))
    pipeline = trial.pipeline
    if isinstance(trial.samples, DataSamples) and evaluation is not None:
        known = [value for value in evaluation.confidences if math.isfinite(value)]
        if known:
            files["baseline"] = out_dir / "baseline.json"
            files["baseline"].write_text(json.dumps(baseline_of(known).to_dict()), encoding="utf-8")
        indices = representative(evaluation.confidences, MAX_SAMPLES)
        chosen = _spread(evaluation.predicted, indices, MAX_GOLDEN)
        samples = out_dir / SAMPLES
        if _write_samples(trial.samples, indices, samples):
            files["samples"] = samples
            if pipeline.source is None:
                source = FolderSource(kind="folder", path=samples.name, rate_hz=_RATE_HZ)
                pipeline = pipeline.model_copy(update={"source": source})
    if len(trial.samples):
        files["golden"] = out_dir / "golden.npz"
        golden_of(trial, chosen, notes).save(files["golden"])
    files["pipeline"].write_text(pipeline.to_yaml(), encoding="utf-8")
    return files


def lighter_files(pipeline: Pipeline, beside: Path | None, out_dir: Path) -> dict[str, Path]:
    """Copy the lighter models that `pipeline` falls back to, from beside its file; role to path.

    They are signed with the release as everything else in it. Raises RecipeError for one that is not there.
    """
    files: dict[str, Path] = {}
    for step in pipeline.fallback:
        if not isinstance(step, LighterModel) or step.file is None:
            continue
        source = (beside or Path()) / step.file
        if beside is None or not source.is_file():
            raise RecipeError(
                f"the pipeline falls back to {step.file}, and there is no such file beside it",
                hint="Put the lighter model into the pipeline file's folder.",
                code="no-file",
            )
        scan_model(source)
        files[f"lighter-{len(files)}"] = Path(shutil.copyfile(source, out_dir / step.file))
    return files


def representative(confidences: list[float], count: int) -> list[int]:
    """Places of `count` items whose confidences are spread as those of all: evenly over the sorted values.

    Whoever infers on these alone sees nearly the whole data's distribution, and so no drift from it.
    """
    if len(confidences) <= count:
        return list(range(len(confidences)))
    order = np.argsort(np.nan_to_num(np.asarray(confidences), nan=0.0), kind="stable")
    picks = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
    return sorted(int(order[pick]) for pick in picks)


def _spread(predicted: list[int], indices: list[int], count: int) -> list[int]:
    """Up to `count` of `indices`, taking turns between the predicted classes."""
    by_class: dict[int, list[int]] = {}
    for index in indices:
        by_class.setdefault(predicted[index], []).append(index)
    queues = [by_class[key] for key in sorted(by_class)]
    turns = [
        queue[turn]
        for turn in range(max(map(len, queues), default=0))
        for queue in queues
        if turn < len(queue)
    ]
    return sorted(turns[:count])


def _write_samples(samples: DataSamples, indices: list[int], path: Path) -> bool:
    """The raw items as an .npz with `x`, or with an array for each input, and `y`; False when they do not stack."""
    rows: dict[str, list[NDArray[Any]]] = {}
    labels: list[int | None] = []
    wanted, size = set(indices), 0
    for number, item in enumerate(islice(samples.items(), max(indices, default=-1) + 1)):
        if number not in wanted:
            continue
        parts = item.item if isinstance(item.item, Mapping) else {"x": item.item}
        if not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiub" for part in parts.values()):
            return False
        size += sum(part.nbytes for part in parts.values())
        if rows and size > _MAX_SAMPLES_BYTES:
            break
        for name, part in parts.items():
            rows.setdefault(name, []).append(part)
        labels.append(item.label)
    if not rows or not all(stacks(column) for column in rows.values()):
        return False
    arrays: dict[str, NDArray[Any]] = {name: np.stack(column) for name, column in rows.items()}
    if "y" not in arrays and all(label is not None for label in labels):
        arrays["y"] = np.asarray(labels, dtype=np.int64)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return True
