"""Describes the values of weights: range, mean, spread, zeros and a histogram; for workers, on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.model.arrays import Array
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Progress

BINS = 64
_CHUNK = 1 << 22
"""Elements looked at in one go: 32 MB in double precision, however large the weight is."""
_HUGE, _HUGE_SCALE = 1e280, 2.0**-64
"""Above the first, sums of a part would leave double precision; times the second they do not."""


def statistics_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Statistics of the weights of `params["path"]`, of all or those in `params["names"]`; entry point of a job."""
    loaders = weight_loaders(Path(str(params["path"])))
    wanted = params.get("names")
    names = [name for name in (loaders if wanted is None else wanted) if name in loaders]
    tensors, refused = [], None
    for position, name in enumerate(names):
        progress.phase("read weights", position / max(len(names), 1))
        try:
            values = loaders[name]()
        except ModelError as error:  # one weight that is damaged or too large says nothing of the others
            progress.log(f"{name}: {error.message}")
            refused = error
            continue
        if values is not None and values.dtype.kind in "biuf":  # complex numbers have no order
            tensors.append({"name": name, **describe(values)})
    if refused is not None and not tensors:
        raise refused
    zeros = sum(int(tensor["zeros"]) for tensor in tensors)
    total = sum(int(tensor["count"]) for tensor in tensors)
    return {"tensors": tensors, "sparsity": zeros / total if total else None}


@np.errstate(invalid="ignore", over="ignore")  # signalling NaNs and squares out of range are no news here
def describe(values: Array) -> dict[str, Any]:
    """Count, min, max, mean, std, zeros, sparsity, and counts in 64 equal bins between min and max.

    Values that are no finite numbers are counted as `not_finite` and left out of everything else.
    """
    flat = values.reshape(-1)
    count, zeros, finite = int(flat.size), 0, 0
    low, high, mean = np.inf, -np.inf, 0.0
    for part in _finite_parts(flat):
        finite += int(part.size)
        zeros += int(np.count_nonzero(part == 0))
        low, high = min(low, float(part.min())), max(high, float(part.max()))
        scale = _HUGE_SCALE if max(-low, high) > _HUGE else 1.0
        share = part.size / finite
        mean = mean * (1 - share) + float((part * scale).mean()) / scale * share
    known: dict[str, Any] = {
        "dtype": str(values.dtype), "shape": list(values.shape), "count": count, "zeros": zeros,
        "sparsity": zeros / count if count else None, "not_finite": count - finite,
        "min": None, "max": None, "mean": None, "std": None, "histogram": None,
    }  # fmt: skip
    if not finite:
        return known
    bins = np.zeros(BINS, np.int64)
    # Bins narrower than the numbers' own precision cannot be told apart (a constant 2^63 in a slice's end).
    narrowest = BINS * float(np.spacing(max(abs(low), abs(high), 1.0)))
    top = high if high - low > narrowest else low + max(narrowest * 2, 1.0)
    half = 0.5 if not np.isfinite(top - low) else 1.0
    reach = high / 2 - low / 2
    squares = 0.0
    for part in _finite_parts(flat):
        bins += np.histogram(part * half, BINS, (low * half, top * half))[0]
        # From the mean and in parts of the range: neither a large mean nor large values take its digits.
        squares += float(np.square((part / 2 - mean / 2) / reach).sum()) if reach else 0.0
    spread = reach * float(2 * np.sqrt(squares / finite))
    return {**known, "min": low, "max": high, "mean": mean, "std": spread, "histogram": bins.tolist()}


def _finite_parts(flat: Array) -> Iterator[Array]:
    """The numbers in double precision, some millions at a time, without what is none."""
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK].astype(np.float64)
        part = part[np.isfinite(part)]
        if part.size:
            yield part
