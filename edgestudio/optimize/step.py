"""What a pass is given and what it reports: the contract between the recipe runner and every pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgestudio.wire.progress import Progress, Silent

Feeds = dict[str, NDArray[Any]]
X86_MACHINES = ("x86_64", "amd64", "i386", "i686", "x86")
"""What `platform.machine()` and board profiles call such CPUs, in small letters."""


class Samples(Protocol):
    """Model inputs made from the user's data, streamed so that only one sample is in memory at a time."""

    def __len__(self) -> int:
        """How many samples one pass over the data yields."""

    def feeds(self, start: int = 0, stop: int | None = None) -> Iterator[Feeds]:
        """Inputs by name of samples `start` to `stop`, each with the batch size that the model wants."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """Everything besides the model and the options that a pass may use.

    `calibration` is None when no data was given. `work` is a folder for intermediate files that is removed
    after the step. `threads` limits every library that the pass starts.
    """

    work: Path
    calibration: Samples | None = None
    progress: Progress = field(default_factory=Silent)
    threads: int = 1


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a pass did: `changed` of `total` of the things named by `unit`, with notes and warnings in words.

    `figures` are numbers worth keeping with the artifact, such as sparsity or the size after zlib; `names` are the
    operators that the pass knows to have renamed, old name to new.
    """

    changed: int
    total: int
    unit: str = "weights"
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: dict[str, float | int | str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """For example "3 of 3 weights changed"."""
        return f"{self.changed} of {self.total} {self.unit} changed"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as kept in the lineage of the artifact."""
        return {
            "changed": self.changed,
            "total": self.total,
            "unit": self.unit,
            "sentence": self.sentence,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "figures": dict(self.figures),
        }
