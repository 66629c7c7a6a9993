"""Measures a variant beside what it was made from: size, latency, accuracy, error, and what that means in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.optimize import latency
from edgestudio.optimize.datasets import DataSamples, classes_of
from edgestudio.optimize.evaluate import Evaluation, evaluate
from edgestudio.optimize.package import MAX_EVALUATED, write_companions
from edgestudio.optimize.trial import Trial, error_between, is_comparable, is_random, opened
from edgestudio.runtime.pipeline.pipeline import Pipeline
from edgestudio.runtime.pipeline.sources import Limited
from edgestudio.wire.baseline import histogram, wasserstein
from edgestudio.wire.progress import Progress

_EXACT = {"max_abs": 0.0, "cosine": 1.0, "sqnr_db": None, "agreement": 1.0}
# From this Wasserstein distance on a threshold on confidence decides visibly otherwise.
_SHIFT = 0.05
# Shares of the measuring: error, accuracy before, accuracy after, latency, files.
_ERROR, _BEFORE, _AFTER, _LATENCY = 0.1, 0.35, 0.6, 0.9


@dataclass
class Outcome:
    """Both sides with `size_bytes, latency_ms, accuracy, error`; verdicts in words; files that go with the variant."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form; `pipeline` and `golden` are also among `files`, by role."""
        files = {role: str(path) for role, path in self.files.items()}
        return {
            "before": self.before,
            "after": self.after,
            "verdicts": self.verdicts,
            "pipeline": files["pipeline"],
            "golden": files.get("golden"),
            "files": files,
        }


def measure(
    source: Path,
    artifact: Path,
    pipeline: Pipeline | None,
    data: Path | None,
    out_dir: Path,
    progress: Progress,
    span: tuple[float, float],
    threads: int,
) -> Outcome:
    """Measure `artifact` beside `source` on the user's data (noise without); writes its companions to `out_dir`."""

    def at(share: float) -> float:
        return span[0] + (span[1] - span[0]) * share

    outcome = Outcome()
    with (
        opened(source, pipeline, data, threads=threads) as a,
        opened(artifact, pipeline, data, threads=threads) as b,
    ):
        progress.phase("compare the answers", at(0))
        meter = error_between(a, b)
        is_classifier = classes_of(b.session, b.pipeline) is not None
        outcome.before["error"] = _EXACT | {"n": meter.samples} if meter else None
        outcome.after["error"] = meter.as_dict() if meter else None
        if meter and not is_classifier:
            outcome.before["error"]["agreement"] = outcome.after["error"]["agreement"] = None
        if data is None:
            outcome.notes.append("error and latency were measured on noise: no data was given")
        first = _accuracy(a, progress, "accuracy before", (at(_ERROR), at(_BEFORE)))
        second = _accuracy(b, progress, "accuracy after", (at(_BEFORE), at(_AFTER)))
        outcome.before["accuracy"] = first.accuracy() if first else None
        outcome.after["accuracy"] = second.accuracy() if second else None
        outcome.notes.extend(warning.rstrip(".") for warning in (second.warnings if second else ()))
        if first is not None and second is not None:
            _confidence(first, second, outcome)
        progress.phase("latency", at(_AFTER))
        _latency(
            a, b, (source, artifact), threads, outcome,
            lambda share: progress.phase("latency", at(_AFTER + (_LATENCY - _AFTER) * share)),
        )  # fmt: skip
        if not is_comparable(a.session, b.session):
            outcome.notes.append("inputs or outputs changed, so the answers cannot be compared")
        elif meter is None and is_random(a):
            outcome.notes.append(
                "the same input does not always have the same answer: no error can be measured"
            )
        progress.phase("write what goes with it", at(_LATENCY))
        outcome.files = write_companions(b, second, out_dir, outcome.notes)
    outcome.before["size_bytes"], outcome.after["size_bytes"] = source.stat().st_size, artifact.stat().st_size
    if first is not None and second is not None and first.n:
        outcome.verdicts["accuracy"] = _accuracy_sentence(first, second, outcome)
    return outcome


def _latency(
    a: Trial,
    b: Trial,
    paths: tuple[Path, Path],
    threads: int,
    outcome: Outcome,
    tick: Callable[[float], None],
) -> None:
    outcome.before["latency_ms"] = outcome.after["latency_ms"] = None
    if not len(a.samples) or not len(b.samples):
        reason = getattr(a.samples, "reason", "") or getattr(b.samples, "reason", "")
        outcome.warnings.append(f"Nothing was measured, because {reason or 'there is no data'}")
        return
    compared = latency.compare(*paths, (a.first, b.first), threads=threads, tick=tick)
    outcome.before["latency_ms"], outcome.after["latency_ms"] = compared.first_ms, compared.second_ms
    outcome.verdicts["latency"] = compared.sentence
    if not compared.is_inside_noise and compared.speedup < 1:
        outcome.warnings.append(f"The variant is {compared.sentence}.")


def _accuracy(trial: Trial, progress: Progress, phase: str, span: tuple[float, float]) -> Evaluation | None:
    """Run the data through the pipeline; None without data or where the model classifies nothing."""
    if not isinstance(trial.samples, DataSamples) or classes_of(trial.session, trial.pipeline) is None:
        return None
    limited = DataSamples(trial.samples.runner, Limited(trial.samples.source, MAX_EVALUATED))
    progress.phase(phase, span[0])
    return evaluate(limited, progress, phase, span)


def _confidence(first: Evaluation, second: Evaluation, outcome: Outcome) -> None:
    """Whether the variant is as sure of its answers: thresholds set for the source may not fit it any more."""
    sides = [np.asarray([c for c in side.confidences if 0 <= c <= 1]) for side in (first, second)]
    if not all(len(side) for side in sides):
        return
    moved = wasserstein(histogram(sides[0]), histogram(sides[1]))
    outcome.before["confidence"], outcome.after["confidence"] = (float(side.mean()) for side in sides)
    change = outcome.after["confidence"] - outcome.before["confidence"]
    if moved >= _SHIFT:
        text = f"confidences moved by {moved:.2f} (mean {change:+.2f}): check thresholds that rely on them"
        outcome.verdicts["confidence"] = text
        outcome.warnings.append(f"The {text}.")
    else:
        outcome.verdicts["confidence"] = f"confidences as before (moved by {moved:.3f})"


def _accuracy_sentence(first: Evaluation, second: Evaluation, outcome: Outcome) -> str:
    """The change with McNemar's view: only items that one model gets right and the other wrong tell them apart."""
    rows = zip(first.predicted, second.predicted, first.expected, strict=True)
    pairs = [(a == label, b == label) for a, b, label in rows if label >= 0]
    lost = sum(a and not b for a, b in pairs)
    won = sum(b and not a for a, b in pairs)
    change = (won - lost) / len(pairs)
    counts = f"{lost} lost, {won} won of {len(pairs)} items"
    # (|lost - won| - 1)^2 / (lost + won) above 3.84 is significant at 5 % (McNemar, 1947, with Edwards' correction).
    is_noise = lost + won == 0 or (abs(lost - won) - 1) ** 2 / (lost + won) < 3.84 or abs(lost - won) <= 1
    if is_noise:
        return f"no change in accuracy beyond the noise ({counts})"
    if change < 0:
        outcome.warnings.append(f"Accuracy fell by {-change * 100:.1f} % ({counts}).")
    return f"accuracy {'rose' if change > 0 else 'fell'} by {abs(change) * 100:.1f} % ({counts})"
