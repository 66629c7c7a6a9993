"""The model host's part in choosing and building: which ways this board has, and the file that one of them needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SAY_EVERY_S = 0.25


def planned(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer to `plan`: the ways to run the model, best first, what was asked for in vain, and what it is fed."""
    from edgestudio.runtime.choice import plan
    from edgestudio.runtime.gpu import Gpu
    from edgestudio.runtime.recognise import recognise

    ways = plan(
        recognise(Path(request["model"])),
        runtimes=tuple(request.get("runtimes", ())),
        accelerators=tuple(request.get("accelerators", ())),
        gpu=Gpu.from_dict(request.get("gpu")),
    )
    fed: dict[str, Any] = {}
    if ways.choices[0].must_build or request.get("with_shapes"):
        fed = {"shapes": _shapes(request.get("golden")), "max_batch": _max_batch(request.get("pipeline"))}
    return {
        "choices": [choice.to_dict() for choice in ways.choices],
        "lacks": list(ways.lacks),
        "fed": fed,
    }


def derived(request: Mapping[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Answer to `derive`: what was written into the file that the agent made for it, after `say` told how far it is."""
    from edgestudio.runtime.choice import Choice
    from edgestudio.runtime.derive import DeriveRequest, derive
    from edgestudio.runtime.gpu import Gpu

    said: dict[str, float] = {}

    def progress(doing: str, fraction: float | None) -> None:
        now = time.monotonic()
        if now - said.get(doing, -SAY_EVERY_S) >= SAY_EVERY_S:
            said[doing] = now
            say({"doing": doing, "fraction": fraction})

    fed = request.get("fed") or {}
    made = derive(
        DeriveRequest(
            model=Path(request["model"]),
            choice=Choice.from_dict(request["choice"]),
            out=Path(request["out"]),
            shapes={str(name): tuple(map(int, shape)) for name, shape in (fed.get("shapes") or {}).items()},
            max_batch=int(fed.get("max_batch", 1)),
            threads=int(request.get("threads", 1)),
            gpu=Gpu.from_dict(request.get("gpu")),
        ),
        progress,
    )
    return {"is_worth_keeping": made.is_worth_keeping, "facts": dict(made.facts)}


def _shapes(golden: str | None) -> dict[str, list[int]]:
    """The shape of one item for each input, from the golden inputs; empty when none came with the release."""
    from edgestudio.wire.golden import Golden

    if not golden:
        return {}
    return {
        name: [int(size) for size in array.shape[1:]]
        for name, array in Golden.load(Path(golden)).inputs.items()
    }


def _max_batch(pipeline: str | None) -> int:
    from edgestudio.runtime.pipeline.pipeline import load_pipeline

    return load_pipeline(Path(pipeline)).batch.max_items if pipeline else 1
