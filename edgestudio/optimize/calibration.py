"""The calibration doctor: whether the data can carry a quantisation, said before time is spent on it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgestudio.optimize.conversion_notes import ConversionNotes
from edgestudio.optimize.datasets import DataSamples, open_data, pipeline_for
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.pipeline import Runner
from edgestudio.wire.errors import InputError
from edgestudio.wire.progress import Progress

Severity = Literal["ok", "note", "warning"]
# Between 100 and 500 samples ranges settle; below 20 they are chance.
FEW, TOO_FEW, ENOUGH = 100, 20, 2000
MAX_EXAMINED = 2000
_IMBALANCE, _DUPLICATES = 5.0, 0.05
# Pixels that were divided by 255 twice stay below this.
_FAINT = 0.01
# Reasons that are shown of items that cannot be used.
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `name` is a stable word, `text` the finding, `remedy` what to do."""

    name: str
    severity: Severity
    text: str
    remedy: str = ""


def examine(samples: DataSamples, progress: Progress | None = None) -> list[Finding]:
    """Look at up to 2,000 items: how many, duplicates, balance of classes, range and shape of what the model gets."""
    seen: Counter[bytes] = Counter()
    labels: Counter[int] = Counter()
    low, high, constant, count = np.inf, -np.inf, 0, 0
    shapes: Counter[tuple[int, ...]] = Counter()
    unfit: list[str] = []
    converted = ConversionNotes(samples.runner)
    for item in islice(samples.source.readable(lambda _, error: unfit.append(error.message)), MAX_EXAMINED):
        if progress is not None and count % 50 == 0:
            progress.phase("examine the data", count / max(1, min(len(samples), MAX_EXAMINED)))
        try:
            feeds = samples.prepared(item)
        except InputError as error:
            unfit.append(error.in_full)
            continue
        converted.see(item.item)
        main = max(feeds.values(), key=lambda array: array.size)
        count += 1
        seen[hashlib.blake2b(np.ascontiguousarray(main).tobytes(), digest_size=16).digest()] += 1
        shapes[main.shape] += 1
        if item.label is not None:
            labels[item.label] += 1
        if main.size:
            low, high = min(low, float(main.min())), max(high, float(main.max()))
            constant += bool(main.size > 1 and main.min() == main.max())
    findings = [_unfit(unfit, count)] if unfit else []
    findings += [
        _amount(len(samples) - len(unfit)), _duplicates(seen, count), _balance(labels, samples.source.classes),
        _range(low, high, samples),
    ]  # fmt: skip
    if converted.text:
        findings.append(
            Finding("converted", "warning", converted.text, "Check that this is the data of this model.")
        )
    if len(shapes) > 1:
        findings.append(
            Finding(
                "shape",
                "note",
                f"{len(shapes)} different input shapes occur",
                "Ranges are taken over all of them.",
            )
        )
    if constant:
        findings.append(
            Finding(
                "constant",
                "warning",
                f"{constant} of {count} items hold one value throughout",
                "Remove blank items.",
            )
        )
    return findings


def doctor_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry point: `{path, data, pipeline?}` to `findings, notes`."""
    session = open_session(Path(params["path"]))
    try:
        data = Path(params["data"])
        given = Path(params["pipeline"]) if params.get("pipeline") else None
        pipeline, notes = pipeline_for(session, given, data)
        samples = DataSamples(Runner(session, pipeline), open_data(session, pipeline, data))
        return {"findings": [asdict(finding) for finding in examine(samples, progress)], "notes": notes}
    finally:
        session.close()


def _unfit(reasons: list[str], count: int) -> Finding:
    """Items that no model could be fed, with the first reasons."""
    more = f", and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return Finding(
        "unfit",
        "warning",
        f"{len(reasons)} of {count + len(reasons)} items cannot be used: {'; '.join(reasons[:_SHOWN])}{more}",
        "Remove or repair them: recipes and measurements stop at the first one.",
    )


def _amount(count: int) -> Finding:
    if count < TOO_FEW:
        return Finding("amount", "warning", f"only {count} items: ranges will be chance", "Use 100 to 500.")
    if count < FEW:
        return Finding("amount", "note", f"{count} items are few", "100 to 500 give ranges that hold.")
    if count > ENOUGH:
        return Finding(
            "amount", "ok", f"{count} items: more than calibration can use; the first ones are taken"
        )
    return Finding("amount", "ok", f"{count} items are enough")


def _duplicates(seen: Counter[bytes], count: int) -> Finding:
    doubles = count - len(seen)
    if count and doubles / count > _DUPLICATES:
        return Finding(
            "duplicates", "warning", f"{doubles} of {count} items are copies of another",
            "They count several times in the ranges; remove them.",
        )  # fmt: skip
    return Finding("duplicates", "ok", f"{doubles} copies among {count} items")


def _balance(labels: Counter[int], names: list[str]) -> Finding:
    if not labels:
        return Finding("balance", "note", "the data has no labels, so the balance of classes is unknown")
    expected = len(names) or max(labels) + 1
    missing = expected - len(labels)
    most, least = max(labels.values()), min(labels.values())
    if missing:
        return Finding(
            "balance",
            "warning",
            f"{missing} of {expected} classes do not occur",
            "Add some items of every class.",
        )
    if most > _IMBALANCE * least:
        return Finding(
            "balance", "note", f"classes have {least} to {most} items", "Take about as many of each class."
        )
    return Finding("balance", "ok", f"{expected} classes with {least} to {most} items each")


def _range(low: float, high: float, samples: DataSamples) -> Finding:
    if not np.isfinite(low):
        return Finding("range", "warning", "no item has a usable value", "Check the data and the pipeline.")
    text = f"the model is fed values from {low:.4g} to {high:.4g}"
    if low == high:
        return Finding("range", "warning", text, "Every item is blank; check the data and the pipeline.")
    is_float = any(spec.dtype.startswith("float") for spec in samples.runner.session.inputs)
    if is_float and low >= -_FAINT and high <= _FAINT:
        return Finding(
            "range",
            "warning",
            text,
            "That is next to nothing: data that is scaled already is probably divided by 255 again. "
            "Set `scale: 1.0` in the pipeline.",
        )
    if is_float and high > 2 and low >= 0 and high <= 255:
        return Finding(
            "range",
            "note",
            text,
            "Most models want 0 to 1; if this one does, set `scale: 0.00392157` in the pipeline.",
        )
    return Finding("range", "ok", text)
