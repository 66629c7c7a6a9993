"""What a pipeline says about the line of waiting items: its limits, batches, remembered answers, refused inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.sound import Sound
from edgestudio.wire.errors import InputError

Priority = Literal["urgent", "normal", "background"]
INVALID_INPUT = "invalid-input"
"""Error code of an item that the pipeline's `validation` refuses; counted as `invalid` in telemetry."""


class QueuePolicy(Document):
    """What happens to items that arrive faster than the model answers."""

    size: int = Field(4, ge=1, le=10_000, description="Items that may wait.")
    when_full: Literal["drop-oldest", "drop-newest", "block"] = Field(
        "drop-oldest", description="Which item gives way when the queue is full; block makes the source wait."
    )
    deadline_ms: float | None = Field(
        None, gt=0, le=3_600_000, description="Items older than this are dropped instead of answered late."
    )


class CachePolicy(Document):
    """Answers for identical inputs without running the model again."""

    entries: int = Field(
        0, ge=0, le=100_000, description="How many results are kept; 0 switches the cache off."
    )


class BatchPolicy(Document):
    """Items that wait together are inferred together, where the model leaves its batch size open."""

    max_items: int = Field(1, ge=1, le=256, description="Items in one inference; 1 switches batching off.")
    max_wait_ms: float = Field(
        2.0, ge=0, le=1000, description="How long the first item waits for company, in milliseconds."
    )


class HealthPolicy(Document):
    """What a release must keep to stay on a board; a limit that is `null` is off. See `wire.release.HealthLimits`."""

    trial_s: float = Field(
        10.0, ge=0, le=86_400, description="How long the trial lasts at least, in seconds."
    )
    trial_inferences: int = Field(20, ge=0, le=10**7, description="How many answers a trial needs at least.")
    latency_p95_ms: float | None = Field(None, ge=0, le=1e7, description="Largest p95 of the latency.")
    memory_bytes: int | None = Field(
        None, ge=0, le=2**53, description="Most memory of the model's process, resident, in bytes."
    )
    error_rate: float | None = Field(0.02, ge=0, le=1, description="Largest share of requests that may fail.")
    temperature_c: float | None = Field(90.0, ge=0, le=200, description="Hottest that the board may become.")
    confidence_distance: float | None = Field(
        0.35, ge=0, le=1, description="Largest distance (Wasserstein-1) of confidences from the baseline."
    )
    golden_max_abs: float = Field(
        1e-2, ge=0, le=1e9, description="Largest difference from golden outputs, as a share of their range."
    )
    golden_label_agreement: float = Field(
        0.9, ge=0, le=1, description="Least share of golden inputs that must keep their label."
    )
    on_creep: Literal["event", "rollback"] = Field(
        "event", description="When memory or latency creeps up after the commit: tell, or go back as well."
    )


class InputRules(Document):
    """What a raw item must be like; one that is not is refused before the model sees it."""

    is_on: bool = Field(True, description="Whether items are checked at all.")
    low: float | None = Field(None, description="No raw value may be below this.")
    high: float | None = Field(None, description="No raw value may be above this.")
    refuse_flat: bool = Field(
        False, description="Refuse items whose values are all the same, as a dead sensor gives."
    )
    max_values: int | None = Field(
        None, ge=1, le=1 << 28, description="Refuse items with more numbers than this."
    )

    @model_validator(mode="after")
    def _limits_hold(self) -> InputRules:
        limits = [value for value in (self.low, self.high) if value is not None]
        if not all(map(math.isfinite, limits)):
            raise ValueError("low and high must be finite numbers")
        if len(limits) == 2 and limits[0] > limits[1]:
            raise ValueError("low must not be above high")
        return self

    @property
    def checks(self) -> bool:
        """Whether there is anything to check."""
        asked = self.low is not None or self.high is not None or self.max_values is not None
        return self.is_on and (asked or self.refuse_flat)

    def check(self, item: Any) -> None:
        """Raise InputError (code `invalid-input`) saying which rule the raw `item` breaks."""
        if not self.checks:
            return
        if isinstance(item, Mapping):
            for part in item.values():
                self.check(part)
            return
        values = np.asarray(item.samples if isinstance(item, Sound) else item)
        if self.max_values is not None and values.size > self.max_values:
            raise _refused(f"it has {values.size} numbers, and {self.max_values} are allowed")
        if values.dtype.kind not in "fiub" or values.size == 0:
            return  # what is no array of numbers is refused where it is prepared
        lowest, highest = float(values.min()), float(values.max())
        if self.low is not None and not lowest >= self.low:
            raise _refused(f"it holds {lowest:g}, below {self.low:g}")
        if self.high is not None and not highest <= self.high:
            raise _refused(f"it holds {highest:g}, above {self.high:g}")
        if self.refuse_flat and lowest == highest:
            raise _refused(f"all its values are {lowest:g}")


def _refused(why: str) -> InputError:
    return InputError(
        f"the item is refused: {why}",
        hint="Look at the sensor, or at `validation` in the pipeline.",
        code=INVALID_INPUT,
    )
