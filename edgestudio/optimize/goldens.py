"""Golden inputs: some samples with the answers that the model itself gives, which a board has to repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.optimize.step import Feeds
from edgestudio.optimize.trial import Trial, is_same
from edgestudio.wire.errors import RefusedError
from edgestudio.wire.golden import Golden

_MAX_BYTES = 4 << 20
Outputs = dict[str, NDArray[Any]]


def golden_of(trial: Trial, indices: list[int], notes: list[str]) -> Golden:
    """The samples at `indices` with their answers, up to 4 MiB.

    Each sample is run twice: an output that differs is random, cannot be checked on a board, and is left out with a
    note. Raises RefusedError where there is nothing that a board could be sent.
    """
    inputs: dict[str, list[NDArray[Any]]] = {}
    outputs: dict[str, list[NDArray[Any]]] = {}
    random: set[str] = set()
    size = 0
    wanted = set(indices)
    for number, feeds in enumerate(trial.samples.feeds(0, max(wanted, default=-1) + 1)):
        if number not in wanted:
            continue
        _require_numbers(feeds)
        answers, again = trial.session.run(feeds), trial.session.run(feeds)
        random |= {name for name, array in answers.items() if not is_same(array, again[name])}
        size += sum(array.nbytes for array in (*feeds.values(), *answers.values()))
        if inputs and size > _MAX_BYTES:
            break
        for name, array in feeds.items():
            inputs.setdefault(name, []).append(array)
        for name, array in answers.items():
            outputs.setdefault(name, []).append(array)
    if not inputs:
        raise RefusedError(
            "The model takes no input, so there is nothing that a board could infer on."
            if not trial.session.inputs
            else "There is no sample to make golden inputs from.",
            hint="" if not trial.session.inputs else "Give data with `--golden`.",
        )
    fixed = {name: rows for name, rows in outputs.items() if name not in random}
    if random:
        rest = "the others are" if fixed else "the board checks only that it answers"
        listed = ", ".join(sorted(random))
        notes.append(
            f"the same input does not always have the same answer ({listed}): not checked on a board; {rest}"
        )
    return _stacked(inputs, fixed)


def _stacked(inputs: dict[str, list[NDArray[Any]]], outputs: dict[str, list[NDArray[Any]]]) -> Golden:
    """All samples where their shapes agree, else the first; text among the outputs is left out."""
    stacked = {name: np.stack(rows) for name, rows in outputs.items() if stacks(rows)}
    if (outputs and not stacked) or not all(stacks(rows) for rows in inputs.values()):
        inputs = {name: rows[:1] for name, rows in inputs.items()}
        stacked = {name: np.stack(rows[:1]) for name, rows in outputs.items() if rows[0].dtype.kind in "fiub"}
    return Golden({name: np.stack(rows) for name, rows in inputs.items()}, stacked)


def stacks(rows: list[NDArray[Any]]) -> bool:
    """Whether all arrays hold numbers of one type and shape."""
    first = rows[0]
    return first.dtype.kind in "fiub" and all((r.shape, r.dtype) == (first.shape, first.dtype) for r in rows)


def _require_numbers(feeds: Feeds) -> None:
    text = next((name for name, array in feeds.items() if array.dtype.kind not in "fiub"), None)
    if text is not None:
        raise RefusedError(
            f"Its input {text!r} takes text, and boards are sent numbers only.",
            hint="Put the step from text to numbers into the application, and push what follows it.",
        )
