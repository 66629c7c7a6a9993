"""A model under test: its session, its pipeline and the data, opened together and closed together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.optimize.datasets import DataSamples, RandomSamples, open_data
from edgestudio.optimize.error import ErrorMeter
from edgestudio.optimize.step import Feeds
from edgestudio.runtime.backend import Session, TensorSpec, open_session
from edgestudio.runtime.pipeline.pipeline import Pipeline, Runner
from edgestudio.wire.errors import InputError

# Numerical error settles long before this many samples.
ERROR_SAMPLES, _FEW_SAMPLES = 32, 4
_ERROR_BUDGET_S = 2.0
_SAME_RELATIVE, _SAME_ABSOLUTE = 1e-3, 1e-5


@dataclass(frozen=True)
class Trial:
    """`samples` are the user's data through the pipeline, or noise of the right shape without data."""

    session: Session
    pipeline: Pipeline
    samples: DataSamples | RandomSamples

    @property
    def first(self) -> Feeds:
        """Inputs of the first sample."""
        return next(iter(self.samples.feeds(0, 1)))


@contextmanager
def opened(path: Path, pipeline: Pipeline | None, data: Path | None, *, threads: int = 1) -> Iterator[Trial]:
    """Open the model at `path`; raises ModelError, RecipeError. Without a pipeline the model's shapes suggest one."""
    session = open_session(path, threads=threads)
    try:
        chosen = pipeline or Pipeline.default_for(session.inputs, session.outputs)
        samples: DataSamples | RandomSamples
        if data is None:
            samples = RandomSamples(session)
        else:
            samples = DataSamples(Runner(session, chosen), open_data(session, chosen, data))
        yield Trial(session, chosen, samples)
    finally:
        session.close()


def is_comparable(a: Session, b: Session) -> bool:
    """True when both take the same inputs, but for element types, and give as many outputs."""
    return [_form(spec) for spec in a.inputs] == [_form(spec) for spec in b.inputs] and len(a.outputs) == len(
        b.outputs
    )


def is_random(trial: Trial) -> bool:
    """Whether the same input has one answer now and another one then."""
    if not len(trial.samples):
        return False
    feeds = trial.first
    once, again = trial.session.run(feeds), trial.session.run(feeds)
    return not all(is_same(array, again[name]) for name, array in once.items())


def is_same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two answers to one input are the same, but for what threads do that add up in another order."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    left, right = a.astype(np.float64), b.astype(np.float64)
    return bool(np.isclose(left, right, rtol=_SAME_RELATIVE, atol=_SAME_ABSOLUTE, equal_nan=True).all())


def error_between(a: Trial, b: Trial, limit: int = ERROR_SAMPLES) -> ErrorMeter | None:
    """Run both on the same samples; None when their inputs or outputs differ in shape, or are random."""
    if not is_comparable(a.session, b.session) or is_random(a):
        return None
    meter = ErrorMeter()
    started = time.perf_counter()
    for feeds, other in zip(islice(a.samples.feeds(), limit), islice(b.samples.feeds(), limit), strict=False):
        cast = other if isinstance(b.samples, DataSamples) else _cast(feeds, b.session.inputs)
        if not meter.add(_reals(a.session, a.session.run(feeds)), _reals(b.session, b.session.run(cast))):
            return None
        if meter.samples >= _FEW_SAMPLES and time.perf_counter() - started > _ERROR_BUDGET_S:
            break
    return meter if meter.samples else None


def _reals(session: Session, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs as the reals that quantised integers stand for."""
    affine = {spec.name: spec.quantization for spec in session.outputs}
    return {
        name: (array.astype(np.float32) - found.zero_point) * np.float32(found.scale)
        if (found := affine.get(name)) is not None and array.dtype.kind in "iu"
        else array
        for name, array in outputs.items()
    }


def _form(spec: TensorSpec) -> tuple[str, int]:
    return spec.name, len(spec.shape)


def _cast(feeds: Feeds, inputs: tuple[TensorSpec, ...]) -> Feeds:
    """The same reals for a model whose inputs have other element types, or are quantised."""
    cast = {}
    for spec in inputs:
        if spec.name not in feeds:
            raise InputError(f"the model has another input: {spec.name}")
        array = feeds[spec.name]
        if spec.dtype == "string" or array.dtype == np.dtype(spec.dtype):
            cast[spec.name] = array
            continue
        dtype = np.dtype(spec.dtype)
        if spec.quantization is not None and dtype.kind in "iu" and array.dtype.kind == "f":
            limits = np.iinfo(dtype)
            array = np.rint(array / spec.quantization.scale + spec.quantization.zero_point)
            array = np.clip(array, limits.min, limits.max)
        cast[spec.name] = array.astype(dtype)
    return cast
