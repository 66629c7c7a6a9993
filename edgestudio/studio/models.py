"""Opening, inspecting and comparing models, and the library that keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.jobs import JobService
from edgestudio.studio.rows import ModelRow


class ModelService:
    """The models of the library as rows; every file is read in a worker, never here."""

    def __init__(self, bus: EventBus, jobs: JobService, library_dir: Path) -> None:
        self.rows: Ledger[ModelRow] = Ledger(bus, "models")
        self._jobs = jobs
        self._library_dir = library_dir

    async def start(self) -> None:
        """Show what the library holds."""

    async def open(
        self, path: Path, *, name: str | None = None, pipeline: Path | None = None, data: Path | None = None
    ) -> ModelRow:
        """Import a file or folder and inspect it; the row appears as soon as the content is known.

        Raises ModelError for what is no model, is damaged or changes while it is read.
        """
        raise NotImplementedError

    async def open_sample(self) -> ModelRow:
        """Open the sample model with its pipeline and its labelled data."""
        raise NotImplementedError

    async def reinspect(self, sha256: str) -> ModelRow:
        """Inspect a model of the library once more."""
        raise NotImplementedError

    async def inspect(self, path: Path) -> dict[str, Any]:
        """What a file is, without importing it: the keys of `inspect` in docs/cli.md."""
        raise NotImplementedError

    async def diff(self, a: Path, b: Path) -> dict[str, Any]:
        """Structural and numeric difference: `added, removed, changed, identical`."""
        raise NotImplementedError

    async def check(self, path: Path, target: str) -> dict[str, Any]:
        """Whether a model will run on a board profile, operator by operator."""
        raise NotImplementedError

    async def remove(self, sha256: str) -> None:
        """Take a model out of the library; its variants stay."""
        raise NotImplementedError

    async def rename(self, sha256: str, name: str) -> ModelRow:
        """Give a model another name."""
        raise NotImplementedError

    async def set_tags(self, sha256: str, tags: Iterable[str]) -> ModelRow:
        """Replace the tags of a model."""
        raise NotImplementedError

    async def set_data(
        self, sha256: str, *, data: Path | None = None, pipeline: Path | None = None
    ) -> ModelRow:
        """Say with which data and pipeline a model is calibrated, evaluated and pushed."""
        raise NotImplementedError

    async def export(self, sha256: str, to: Path) -> Path:
        """Copy a model's file or folder to `to`, whole or not at all."""
        raise NotImplementedError

    def find(self, reference: str) -> ModelRow | None:
        """The row that a hash, a prefix of one, or a path in the library means."""
        raise NotImplementedError
