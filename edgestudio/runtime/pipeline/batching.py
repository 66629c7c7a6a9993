"""Several items in one inference, where the model leaves its batch size open; each gets its own answer or error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from edgestudio.runtime.backend import Array
from edgestudio.runtime.pipeline.pipeline import Result, Runner
from edgestudio.wire.errors import EdgeStudioError, ModelError


def can_batch(runner: Runner) -> bool:
    """Whether every input and output has an open first size and no answer depends on the one before."""
    changing = [spec for spec in runner.session.inputs if spec.name not in runner.constants]
    fixed = [spec for spec in runner.session.inputs if spec.name in runner.constants]
    specs = [*changing, *runner.session.outputs]
    is_open = all(spec.shape and not isinstance(spec.shape[0], int) for spec in specs)
    # A constant with a batch of its own would have to grow with it; nobody can say whether that is meant.
    return bool(changing) and is_open and not runner.has_memory and all(
        not spec.shape or isinstance(spec.shape[0], int) for spec in fixed
    )  # fmt: skip


def process_batch(runner: Runner, prepared: Sequence[tuple[Mapping[str, Array], float]]) -> list[Any]:
    """A Result, or the EdgeStudioError, for each of `prepared` (feeds, milliseconds spent preparing them).

    Feeds that are remembered are not run again, and feeds of differing shapes run apart. The time of one
    inference is shared out among its items. Raises ModelError when the model itself fails.
    """
    answers: list[Any] = [None] * len(prepared)
    groups: dict[Any, list[int]] = {}
    keys: dict[int, bytes] = {}
    for index, (feeds, pre_ms) in enumerate(prepared):
        if runner.cache is not None:
            keys[index] = runner.cache.key(feeds)
            known = runner.cache.get(keys[index])
            if known is not None:
                answers[index] = _interpreted(runner, known, pre_ms, 0.0, is_cached=True)
                continue
        shape = tuple((name, feeds[name].shape[1:], feeds[name].dtype.str) for name in sorted(feeds))
        groups.setdefault(shape, []).append(index)
    for members in groups.values():
        started = perf_counter()
        rows = _run(runner, [prepared[index][0] for index in members])
        infer_ms = (perf_counter() - started) * 1000 / len(members)
        for index, outputs in zip(members, rows, strict=True):
            if runner.cache is not None:
                runner.cache.put(keys[index], outputs)
            answers[index] = _interpreted(runner, outputs, prepared[index][1], infer_ms)
    return answers


def _run(runner: Runner, batch: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    if len(batch) == 1:
        return [runner.infer(batch[0])]
    feeds = {
        name: batch[0][name] if name in runner.constants else np.concatenate([feeds[name] for feeds in batch])
        for name in batch[0]
    }
    sizes = [next(len(f[name]) for name in f if name not in runner.constants) for f in batch]
    outputs = runner.infer(feeds)
    if any(len(array) != sum(sizes) for array in outputs.values()):
        raise ModelError(
            "the model does not answer row by row",
            hint="Switch `batch` off in the pipeline.",
            code="no-batch",
        )
    ends = np.cumsum(sizes).tolist()
    return [
        {name: array[end - size : end] for name, array in outputs.items()}
        for end, size in zip(ends, sizes, strict=True)
    ]


def _interpreted(
    runner: Runner, outputs: Mapping[str, Array], pre_ms: float, infer_ms: float, *, is_cached: bool = False
) -> Result | EdgeStudioError:
    try:
        return runner.interpret(outputs, pre_ms=pre_ms, infer_ms=infer_ms, is_cached=is_cached)
    except EdgeStudioError as error:
        return error
