"""What the commands do: arguments win, the selection comes second, else the window is asked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from edgestudio.studio.commands.commands import Selection
from edgestudio.studio.commands.context import CommandContext
from edgestudio.studio.rows import BoardRow


def is_target(board: BoardRow) -> bool:
    """True for a board that a model can be pushed to."""
    return board.is_paired and board.presence != "offline"


class Actions(CommandContext):
    """The bodies of the commands: arguments win, the selection comes second, else the window is asked."""

    def open_models(self, paths: Sequence[Path] | None = None) -> Future[Any] | None:
        """Open files one after the other; each failure is told and does not stop the rest."""
        chosen = list(paths) if paths is not None else self._window.ask_model_files()
        if not chosen:
            return None

        async def open_all() -> list[Any]:
            return [await self._studio.guard(self._studio.models.open(path)) for path in chosen]

        return self._start(open_all())

    def open_sample(self) -> Future[Any]:
        """Open the sample model."""
        return self._start(self._studio.models.open_sample())

    def export_model(self, model: str | None = None, to: Path | None = None) -> Future[Any] | None:
        """Copy a model to where the user wants it."""
        sha256 = self._model(model)
        row = self._studio.models.find(sha256) if sha256 else None
        if row is None:
            return None
        target = to or self._window.ask_save_path("Export model", Path(row.path).name)
        return self._start(self._studio.models.export(row.sha256, target)) if target else None

    def reload(self, model: str | None = None) -> Future[Any] | None:
        """Inspect a model once more."""
        sha256 = self._model(model)
        return self._start(self._studio.models.reinspect(sha256)) if sha256 else None

    def optimize(
        self,
        model: str | None = None,
        recipe: str | Mapping[str, Any] | None = None,
        data: Path | None = None,
        pipeline: Path | None = None,
        calibration: Path | None = None,
    ) -> Future[Any] | None:
        """Run a recipe; without one, show the form."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        if recipe is None:
            self._window.show("recipe")
            return None
        return self._start(
            self._studio.optimizer.optimize(
                sha256, recipe, data=data, pipeline=pipeline, calibration=calibration
            )
        )

    def evaluate(self, model: str | None = None, data: Path | None = None) -> Future[Any] | None:
        """Accuracy on the model's own data, or on `data`."""
        sha256 = self._model(model)
        return self._start(self._studio.optimizer.evaluate(sha256, data=data)) if sha256 else None

    def bench(self, model: str | None = None) -> Future[Any] | None:
        """Latency of a model on this computer."""
        sha256 = self._model(model)
        return self._start(self._studio.optimizer.bench(sha256)) if sha256 else None

    def add_simulated(self, profile: str = "pi5") -> Future[Any]:
        """Start a simulated board."""
        return self._start(self._studio.boards.add_simulated(profile))

    def add_this_computer(self) -> Future[Any]:
        """Start this computer as a board."""
        return self._start(self._studio.boards.add_this_computer())

    def add_address(self, address: str | None = None) -> Future[Any] | None:
        """Show the board at an address."""
        text = address or self._window.ask_text("Add a board", "Address of the board, as host or host:port")
        return self._start(self._studio.boards.add_address_text(text)) if text else None

    def pair(self, board: str | None = None, code: str | None = None) -> Future[Any] | None:
        """Pair with a board by the code that it shows."""
        board_id = self._board(board)
        if board_id is None:
            return None
        said = code or self._window.ask_text("Pair", "The code that the board shows")
        return self._start(self._studio.boards.pair(board_id, said)) if said else None

    def unpair(self, board: str | None = None) -> Future[Any] | None:
        """Undo a pairing."""
        board_id = self._board(board)
        return self._start(self._studio.boards.unpair(board_id)) if board_id else None

    def push(
        self, model: str | None = None, boards: Sequence[str] | None = None, **options: Any
    ) -> Future[Any] | None:
        """Push a model to boards; `options` as `DeployService.push` takes them."""
        sha256 = self._model(model)
        targets = list(boards or (board.id for board in self._selection().boards if is_target(board)))
        if sha256 is None or not targets:
            return None
        return self._start(self._studio.deployer.push(sha256, targets, **options))

    def rollback(self, board: str | None = None, model: str | None = None) -> Future[Any] | None:
        """Put a board back to what it ran before."""
        board_id = self._board(board)
        return self._start(self._studio.deployer.rollback(board_id, model)) if board_id else None

    def start_board(self, board: str | None = None) -> Future[Any] | None:
        """Start a board again that was started from here and has ended."""
        board_id = self._board(board)
        return self._start(self._studio.boards.start_again(board_id)) if board_id else None

    def stop_board(self, board: str | None = None) -> Future[Any] | None:
        """End a board that was started from here."""
        board_id = self._board(board)
        return self._start(self._studio.boards.stop_local(board_id)) if board_id else None

    def forget(self, board: str | None = None) -> Future[Any] | None:
        """Take a board off the list."""
        board_id = self._board(board)
        return self._start(self._studio.boards.forget(board_id)) if board_id else None

    def has_retryable_job(self, selection: Selection) -> bool:
        """True when the selected job can be started again."""
        return selection.job is not None and self._studio.jobs.can_retry(selection.job.id)

    def cancel_job(self, job: str | None = None) -> Future[Any] | None:
        """Stop a job."""
        return self._on_job(job, self._cancel_job)

    async def _cancel_job(self, job_id: str) -> None:
        self._studio.jobs.cancel(job_id)

    def retry_job(self, job: str | None = None) -> Future[Any] | None:
        """Start a job again."""
        return self._on_job(job, self._studio.jobs.retry)

    def _on_job(self, job: str | None, act: Callable[[str], Coroutine[Any, Any, Any]]) -> Future[Any] | None:
        selected = self._selection().job
        job_id = job or (selected.id if selected else None)
        return self._start(act(job_id)) if job_id else None

    def clear_jobs(self) -> Future[Any]:
        """Take ended jobs off the list."""

        async def clear() -> None:
            self._studio.jobs.clear_ended()

        return self._start(clear())

    def cancel_deployment(self, deployment: str | None = None) -> Future[Any] | None:
        """Give a running deployment up."""
        if deployment is None:
            return None

        async def cancel() -> bool:
            return self._studio.deployer.cancel(deployment)

        return self._start(cancel())

    def clear_notices(self) -> Future[Any]:
        """Take all notices away."""

        async def clear() -> None:
            self._studio.notices.clear()

        return self._start(clear())
