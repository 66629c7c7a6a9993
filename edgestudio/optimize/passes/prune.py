"""Magnitude pruning: sets the smallest weights to zero, over the whole model, per layer, or 2 of every 4."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import onnx_file
from edgestudio.optimize.step import StepContext, StepReport


class Options(BaseModel):
    """Options of `prune-magnitude`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sparsity: float = Field(default=0.3, gt=0, lt=1, description="Share of weights that become zero.")
    scope: Literal["global", "layer", "2:4"] = Field(
        default="global",
        description="One threshold for the model, one per layer, or the two smallest of every four (GPUs use those).",
    )


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Write `source` with small weights at zero; figures: sparsity and the size after zlib (bytes)."""
    model = onnx_file.load(source)
    weights = onnx_file.require_weights(model)
    arrays = {name: onnx_file.array(tensor).astype(np.float32) for name, tensor in weights.items()}
    threshold = (
        float(
            np.quantile(np.concatenate([np.abs(each).ravel() for each in arrays.values()]), options.sparsity)
        )
        if options.scope == "global"
        else None
    )
    zeros = 0
    for name, values in arrays.items():
        pruned = (
            _two_of_four(values) if options.scope == "2:4" else _below(values, threshold, options.sparsity)
        )
        zeros += int((pruned == 0).sum())
        onnx_file.replace(weights[name], pruned.astype(onnx_file.array(weights[name]).dtype))
    onnx_file.save(model, target)
    total = sum(each.size for each in arrays.values())
    return StepReport(
        len(weights),
        len(weights),
        notes=("neither the file nor the latency changes; only the compressed size does",),
        figures={"sparsity": round(zeros / total, 4), "zlib_bytes": zlib_bytes(model)},
    )


def zlib_bytes(model: Any) -> int:
    """Size of the model after zlib, level 9: what pruning and clustering save in transfer and storage."""
    return len(zlib.compress(model.SerializeToString(), 9))


def _below(values: NDArray[np.float32], threshold: float | None, sparsity: float) -> NDArray[np.float32]:
    limit = np.quantile(np.abs(values), sparsity) if threshold is None else threshold
    return np.where(np.abs(values) <= limit, np.float32(0), values)


def _two_of_four(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two smallest of every four neighbours along the flattened input axes of each channel become zero."""
    rows = values.reshape(values.shape[0], -1)
    padding = -rows.shape[1] % 4
    groups = np.pad(rows, ((0, 0), (0, padding))).reshape(rows.shape[0], -1, 4)
    order = np.argsort(np.abs(groups), axis=2)
    mask = np.ones_like(groups)
    np.put_along_axis(mask, order[:, :, :2], 0, axis=2)
    kept: NDArray[np.float32] = (
        (groups * mask).reshape(rows.shape[0], -1)[:, : rows.shape[1]].reshape(values.shape)
    )
    return kept
