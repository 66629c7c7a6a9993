"""The gesture: a model onto a board, as one timeline from preflight to commit or rollback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgestudio.studio.boards import BoardService
from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.jobs import JobService
from edgestudio.studio.models import ModelService
from edgestudio.studio.paths import Paths
from edgestudio.studio.rows import DeploymentRow


class DeployService:
    """Pushes and rolls back; each deployment is one row with its steps."""

    def __init__(
        self, bus: EventBus, jobs: JobService, models: ModelService, boards: BoardService, paths: Paths
    ) -> None:
        self.rows: Ledger[DeploymentRow] = Ledger(bus, "deployments")
        self._jobs = jobs
        self._models = models
        self._boards = boards
        self._paths = paths

    async def push(
        self,
        model: str,
        board_ids: Sequence[str],
        *,
        pipeline: Path | None = None,
        golden: Path | None = None,
    ) -> list[DeploymentRow]:
        """Install the model with this hash on each board; returns the rows as they ended, good or bad.

        A board's failure is in its row and does not stop the others; raises only for what concerns all.
        """
        raise NotImplementedError

    async def rollback(self, board_id: str, model: str | None = None) -> DeploymentRow:
        """Go back to what the board ran before; `model` is the slot's name, needed when it has several."""
        raise NotImplementedError

    def cancel(self, deployment_id: str) -> bool:
        """Give a running deployment up; the board keeps what it had."""
        raise NotImplementedError
