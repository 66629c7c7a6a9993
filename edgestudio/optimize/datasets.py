"""The user's data as a model's inputs, streamed item by item, and which pipeline makes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.optimize.step import Feeds
from edgestudio.runtime.backend import Session
from edgestudio.runtime.made_up import made_up
from edgestudio.runtime.pipeline.pipeline import Pipeline, Runner, load_pipeline
from edgestudio.runtime.pipeline.postprocess import ClassifyOutput, is_one_score
from edgestudio.runtime.pipeline.preprocess import ImageInput
from edgestudio.runtime.pipeline.sources import Item, Source, open_source
from edgestudio.wire.errors import InputError, ModelError

# Without data: enough to see an error, few enough to be quick.
RANDOM_SAMPLES = 16
# Guessing the scale of the pixels looks at this many labelled items.
_GUESS_ITEMS = 200
_GUESS_MARGIN = 0.003


class DataSamples:
    """Items of a source, prepared by a runner's pipeline; one is in memory at a time."""

    def __init__(self, runner: Runner, source: Source) -> None:
        self.runner, self.source = runner, source

    def __len__(self) -> int:
        return len(self.source)

    def items(self) -> Iterator[Item]:
        """The raw items with their labels."""
        return iter(self.source)

    def feeds(self, start: int = 0, stop: int | None = None) -> Iterator[Feeds]:
        """Prepared inputs of items `start` to `stop`."""
        for item in islice(self.source, start, stop):
            yield self.prepared(item)

    def prepared(self, item: Item) -> Feeds:
        """The inputs of one item; InputError names it."""
        try:
            return self.runner.prepare(item.item)
        except InputError as error:
            raise InputError(f"{item.name}: {error.message}", hint=error.hint, code=error.code) from error


class RandomSamples:
    """Seeded noise of the model's shapes, for models without data: enough to compare, not to calibrate.

    Sizes that the model leaves open are tried until it runs; where it never does, there are no samples and
    `reason` says why.
    """

    def __init__(self, session: Session, count: int = RANDOM_SAMPLES) -> None:
        self._count, self.reason = count, ""
        try:
            self._made_up = made_up(session)
        except ModelError as error:
            self._count, self.reason = 0, error.message

    def __len__(self) -> int:
        return self._count

    def feeds(self, start: int = 0, stop: int | None = None) -> Iterator[Feeds]:
        """Inputs of samples `start` to `stop`, the same on every call."""
        for seed in range(start, self._count if stop is None else min(stop, self._count)):
            yield self._made_up.feeds(seed)


def classes_of(session: Session, pipeline: Pipeline) -> int | None:
    """How many classes the model tells apart; None when its output is no classification."""
    if not isinstance(pipeline.postprocess, ClassifyOutput):
        return None
    specs = {spec.name: spec for spec in session.outputs}
    name = pipeline.postprocess.output
    spec = specs[name] if name in specs else session.outputs[0]
    shape = spec.shape
    if is_one_score(spec) and pipeline.postprocess.activation in ("sigmoid", "none"):
        return 2
    sizes = [size for size in shape[1:] if isinstance(size, int) and size > 1]
    # Where the file leaves the number open, the declared names say it.
    return sizes[0] if len(sizes) == 1 else len(pipeline.labels) or None


def open_data(session: Session, pipeline: Pipeline, data: Path, limit: int | None = None) -> Source:
    """The items at `data` as this pipeline reads them; raises RecipeError."""
    return open_source(
        data,
        labels=pipeline.labels,
        raw=pipeline.raw_layout(session.inputs),
        classes=classes_of(session, pipeline),
        inputs=pipeline.fed(session.inputs),
        limit=limit,
    )


def pipeline_for(session: Session, path: Path | None, data: Path | None) -> tuple[Pipeline, list[str]]:
    """The given pipeline, or the one that the model suggests, with notes on what was assumed.

    With labelled data the scale of the pixels is not guessed blindly: of the usual ones that is taken under
    which the model answers best, the simplest where they are equal.
    """
    if path is not None:
        return load_pipeline(path), []
    plain = Pipeline.default_for(session.inputs, session.outputs)
    if data is None:
        return plain, []
    first = next(iter(open_data(session, plain, data, limit=1)))
    suggested = Pipeline.default_for(session.inputs, session.outputs, first.item)
    notes = ["no pipeline was given: the inputs are made as the model's shapes suggest"]
    source = open_data(session, suggested, data, limit=_GUESS_ITEMS)
    candidates = list(_scales(suggested))
    if len(candidates) < 2 or not source.is_labelled or classes_of(session, suggested) is None:
        return suggested, notes
    scores = [_score(session, candidate, source) for _, candidate in candidates]
    best = int(np.argmax(scores))
    if scores[best] < scores[0] + _GUESS_MARGIN:
        best = 0
    words, chosen = candidates[best]
    notes.append(
        f"pixels are fed as {words}: {scores[best]:.0%} of {len(source)} labelled items are right so"
    )
    return chosen, notes


def _scales(pipeline: Pipeline) -> Iterator[tuple[str, Pipeline]]:
    """The pipeline with each usual scale of pixels, as in words and as a document."""
    document = pipeline.preprocess[0] if len(pipeline.preprocess) == 1 else None
    if not isinstance(document, ImageInput):
        yield "they are", pipeline
        return
    yield "0 to 1" if not document.mean else "the quantised input suggests", pipeline
    if document.mean or document.scale != 1 / 255:
        return
    for words, changes in (
        ("0 to 255", {"scale": 1.0}),
        ("-1 to 1", {"scale": 1 / 127.5, "mean": [1.0]}),
    ):
        changed: Any = document.model_copy(update=changes)
        yield words, pipeline.model_copy(update={"preprocess": [changed]})


def _score(session: Session, pipeline: Pipeline, source: Source) -> float:
    runner = Runner(session, pipeline)
    try:
        hits = [runner.process(item.item).index == item.label for item in source]
    except InputError:
        return 0.0
    return float(np.mean(hits)) if hits else 0.0
