"""Makes the file that a library loads in a model's place on this board: an engine, a compiled or an optimised model."""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.runtime.backend import BACKENDS, Session, TensorSpec, random_feeds
from edgestudio.runtime.choice import Choice
from edgestudio.runtime.gpu import Gpu
from edgestudio.wire.errors import ModelError
from edgestudio.wire.fields import canonical_json

WORTH = 0.75
"""Share of the model's own loading time that a derived file may take to be worth keeping."""
RECIPE = 1
"""Raised when the builders below do something else than before: what they made is built again."""
Progress = Callable[[str, float | None], None]
"""What is being done, and how much of it is done, 0 to 1."""


@dataclass(frozen=True)
class DeriveRequest:
    """What is to be made. `shapes` are those of the items that the model will be fed, by input.

    `max_batch` is how many may go into one inference, `threads` what the library may use while it runs the model.
    """

    model: Path
    choice: Choice
    out: Path
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_batch: int = 1
    threads: int = 1
    gpu: Gpu | None = None


@dataclass(frozen=True)
class Derived:
    """What was made. `is_worth_keeping` is False where the model itself loads as fast."""

    is_worth_keeping: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


def key_of(
    model_sha256: str, others: Mapping[str, str], choice: Choice, fed: Mapping[str, Any]
) -> dict[str, Any]:
    """What a derived file depends on: when any of it changes, another one is built.

    `others` are the digests of further files of the release, such as weights beside the model; `fed` what the
    engine is made for (shapes, largest batch).
    """
    return {
        "recipe": RECIPE,
        "model": model_sha256,
        "others": dict(others),
        "backend": choice.backend,
        "provider": choice.provider,
        "version": choice.version,
        "device": choice.device,
        "fed": dict(fed) if choice.must_build else {},
    }


def name_of(key: Mapping[str, Any]) -> str:
    """The file name of a derived file: its library and the start of its key's digest."""
    return f"{key['backend']}-{hashlib.sha256(canonical_json(dict(key))).hexdigest()[:24]}"


def has_builder(backend: str) -> bool:
    """Whether anything can be made for the library."""
    return any(spec.name == backend and spec.builder for spec in BACKENDS)


def derive(request: DeriveRequest, progress: Progress) -> Derived:
    """Write `request.out`, an empty file that is there already; ModelError says why it cannot be made.

    Takes from a second to many minutes, and memory of its own: called in a process that may be killed.
    """
    spec = next((spec for spec in BACKENDS if spec.name == request.choice.backend), None)
    if spec is None or not spec.builder:
        raise ModelError(f"nothing is built for '{request.choice.backend}'", code="no-backend")
    module, _, function = spec.builder.partition(":")
    builder: Callable[[DeriveRequest, Progress], Derived] = getattr(importlib.import_module(module), function)
    return builder(request, progress)


def compared(
    request: DeriveRequest, plain: Callable[[], Session], derived: Callable[[], Session], progress: Progress
) -> Derived:
    """Whether `derived` loads so much faster than `plain` that it is worth its place; ModelError when they disagree."""
    progress("comparing it with the model", 0.5)
    plain_s, derived_s = (min(_seconds(opened) for _ in range(3)) for opened in (plain, derived))
    _agree(plain(), derived(), request.shapes)
    facts = {"load_ms": plain_s * 1e3, "derived_load_ms": derived_s * 1e3}
    return Derived(is_worth_keeping=derived_s < WORTH * plain_s, facts=facts)


def _seconds(opened: Callable[[], Session]) -> float:
    started = time.perf_counter()
    opened().close()
    return time.perf_counter() - started


def _agree(plain: Session, derived: Session, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """More than rounding (1e-3 of the range) is a difference."""
    inputs = tuple(
        TensorSpec(spec.name, spec.dtype, shapes.get(spec.name, spec.concrete())) for spec in plain.inputs
    )
    feeds = random_feeds(inputs)
    wanted, given = plain.run(feeds), derived.run(feeds)
    for (name, want), have in zip(wanted.items(), given.values(), strict=True):
        if want.dtype.kind not in "fiub" or want.size == 0:
            continue
        left, right = want.astype(np.float64), have.astype(np.float64)
        span = float(np.ptp(left[np.isfinite(left)])) if np.isfinite(left).any() else 0.0
        if left.shape != right.shape or not np.allclose(
            left, right, rtol=1e-3, atol=1e-3 * span or 1e-6, equal_nan=True
        ):
            raise ModelError(
                f"what was derived from the model answers '{name}' differently", code="build-failed"
            )
