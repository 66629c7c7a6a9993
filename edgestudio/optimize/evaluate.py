"""Accuracy on labelled data, with its uncertainty, and the confidences behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.optimize.conversion_notes import ConversionNotes
from edgestudio.optimize.datasets import DataSamples, classes_of, open_data, pipeline_for
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.pipeline import Pipeline, Runner
from edgestudio.wire.errors import RecipeError
from edgestudio.wire.progress import Progress

_Z95 = 1.959964


@dataclass
class Evaluation:
    """What a model answered, item by item: class (-1 = none), label (-1 = unknown), confidence (NaN = none)."""

    predicted: list[int] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Items with a label."""
        return sum(label >= 0 for label in self.expected)

    @property
    def top1(self) -> float | None:
        """Share of labelled items whose class is right; None without labels."""
        pairs = [(a, b) for a, b in zip(self.predicted, self.expected, strict=True) if b >= 0]
        return sum(a == b for a, b in pairs) / len(pairs) if pairs else None

    def accuracy(self) -> dict[str, Any] | None:
        """`top1, n` and the 95 % interval by Wilson's formula; None without labels."""
        top1 = self.top1
        if top1 is None:
            return None
        return {"top1": top1, "n": self.n, "ci95": list(wilson(top1, self.n))}

    def confusion(self, classes: int) -> list[list[int]]:
        """Rows are true classes, columns predicted ones."""
        table = np.zeros((classes, classes), dtype=int)
        for predicted, expected in zip(self.predicted, self.expected, strict=True):
            if 0 <= predicted < classes and 0 <= expected < classes:
                table[expected, predicted] += 1
        rows: list[list[int]] = table.tolist()
        return rows


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n (E. B. Wilson, 1927)."""
    if n == 0:
        return 0.0, 1.0
    centre = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2)) / (1 + _Z95**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def evaluate(samples: DataSamples, progress: Progress, phase: str, span: tuple[float, float]) -> Evaluation:
    """Run every item; progress moves from `span[0]` to `span[1]` of the job."""
    result, converted = Evaluation(), ConversionNotes(samples.runner)
    total = max(1, len(samples))
    every = max(1, total // 50)
    for number, item in enumerate(samples.items()):
        answer = samples.runner.process_feeds(samples.prepared(item))
        converted.see(item.item)
        result.predicted.append(-1 if answer.index is None else answer.index)
        result.expected.append(-1 if item.label is None else item.label)
        result.confidences.append(math.nan if answer.confidence is None else answer.confidence)
        if number % every == 0:
            progress.phase(phase, span[0] + (span[1] - span[0]) * number / total)
    if converted.text:
        result.warnings.append(f"{converted.text}.")
    return result


def evaluate_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry point: `{path, data, pipeline?}` to `n, top1, ci95, per_class, confusion, labels,
    notes, warnings`.

    Raises RecipeError for data without labels or a model that classifies nothing.
    """
    progress.phase("load", 0.0)
    session = open_session(Path(params["path"]))
    if not params.get("data"):
        raise RecipeError(
            "Accuracy needs labelled data.",
            hint="Give `--data` a folder per class, or an .npz with x and y.",
        )
    try:
        data = Path(params["data"])
        pipeline, notes = pipeline_for(session, _path(params.get("pipeline")), data)
        source = open_data(session, pipeline, data)
        classes = require_classes(classes_of(session, pipeline), is_labelled=source.is_labelled)
        result = evaluate(DataSamples(Runner(session, pipeline), source), progress, "evaluate", (0.05, 1.0))
    finally:
        session.close()
    return report(result, pipeline, source.classes, classes) | {"notes": notes, "warnings": result.warnings}


def require_classes(classes: int | None, *, is_labelled: bool) -> int:
    """The number of classes; raises RecipeError when there is nothing to score."""
    if classes is None:
        raise RecipeError(
            "This model's output is no classification, so it has no top-1 accuracy.",
            hint="Name the output with class scores in the pipeline: `postprocess: {kind: classify, output: …}`.",
            code="not-a-classifier",
        )
    if not is_labelled:
        raise RecipeError(
            "The data has no labels, so accuracy cannot be measured.",
            hint="Use one sub-folder per class, an .npz with `y`, or a labels.csv.",
            code="no-labels",
        )
    return classes


def report(result: Evaluation, pipeline: Pipeline, names: list[str], classes: int) -> dict[str, Any]:
    """The keys of `evaluate` in docs/cli.md; classes by name where names are known."""
    labels = (pipeline.labels or names)[:classes]
    labels += [str(index) for index in range(len(labels), classes)]
    confusion = result.confusion(classes)
    per_class = {}
    for index, row in enumerate(confusion):
        seen = sum(1 for label in result.expected if label == index)
        if seen:
            per_class[labels[index]] = {"n": seen, "recall": row[index] / seen}
    accuracy = result.accuracy() or {"top1": None, "n": 0, "ci95": None}
    return {**accuracy, "per_class": per_class, "confusion": confusion, "labels": labels}


def _path(value: Any) -> Path | None:
    return Path(value) if value else None
