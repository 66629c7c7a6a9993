"""Accuracy of what runs on a board: labelled items through the board's own pipeline, one after the other."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.devices.session import BoardSession
from edgestudio.runtime.pipeline.sources import Item, open_source
from edgestudio.wire.errors import DeviceError, RecipeError

# Boards answer at most 200 inferences a second; items above this many add hardly any certainty.
_RATE_HZ = 150.0
MAX_ITEMS = 2000


async def evaluate_on_board(session: BoardSession, model: str, data: Path) -> dict[str, Any]:
    """`n, top1, per_class, confusion, labels, latency_ms` of `model` on a board; raises RecipeError, DeviceError."""
    items, names = await asyncio.to_thread(_labelled, data)
    pairs: list[tuple[int, int]] = []
    latencies_ms: list[float] = []
    for item in items:
        started = time.monotonic()
        answer = await session.infer(model, {"input": np.asarray(item.item)})
        index = answer.get("index")
        if not isinstance(index, int):
            raise DeviceError(
                f"{model} gives no class for an item, so its accuracy cannot be measured.",
                hint="Its pipeline has to end in a classification.",
                code="no-class",
            )
        pairs.append((item.label or 0, index))
        stages = answer.get("stages_ms")
        if isinstance(stages, dict) and isinstance(stages.get("infer"), int | float):
            latencies_ms.append(float(stages["infer"]))
        await asyncio.sleep(max(0.0, 1.0 / _RATE_HZ - (time.monotonic() - started)))
    return _report(pairs, names, latencies_ms)


def _labelled(data: Path) -> tuple[list[Item], list[str]]:
    source = open_source(data, limit=MAX_ITEMS)
    if not source.is_labelled:
        raise RecipeError(
            "The data has no labels, so accuracy cannot be measured.",
            hint="Use one sub-folder per class, an .npz with `y`, or a labels.csv.",
            code="no-labels",
        )
    return list(source), list(source.classes)


def _report(pairs: list[tuple[int, int]], names: list[str], latencies_ms: list[float]) -> dict[str, Any]:
    classes = 1 + max(max(pair) for pair in pairs)
    labels = [*names[:classes], *(str(index) for index in range(len(names), classes))]
    confusion = [[0] * classes for _ in range(classes)]
    for expected, predicted in pairs:
        confusion[expected][predicted] += 1
    per_class = {
        labels[index]: {"n": sum(row), "recall": row[index] / sum(row)}
        for index, row in enumerate(confusion)
        if sum(row)
    }
    right = sum(expected == predicted for expected, predicted in pairs)
    latency = None
    if latencies_ms:
        p50, p90, p99 = (float(value) for value in np.percentile(latencies_ms, (50, 90, 99)))
        latency = {"p50": p50, "p90": p90, "p99": p99, "n": len(latencies_ms)}
    return {
        "n": len(pairs),
        "top1": right / len(pairs),
        "per_class": per_class,
        "confusion": confusion,
        "labels": labels,
        "latency_ms": latency,
    }
