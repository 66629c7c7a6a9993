"""What a model host says about the model that it opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Loaded:
    """A model as its child sees it, before the first inference."""

    load_ms: float = 0.0
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    placement: dict[str, Any] = field(default_factory=dict)
    samples: int = 0
    backend: str = ""
    rate_hz: float | None = None
    queue: dict[str, Any] = field(default_factory=dict)
    batch: dict[str, Any] = field(default_factory=dict)
    is_stream: bool = False
    """Its own source gives items without end, not numbered samples."""
    is_pushed: bool = False
    """Its items come by themselves; its samples are for trials alone."""
    is_live: bool = False
    """The pipeline asks something of the agent: pushed items, actions, other models."""
    source_problem: str = ""
    """Why its own source cannot be had."""
    preprocessing: int = 0
    environment: dict[str, Any] = field(default_factory=dict)
