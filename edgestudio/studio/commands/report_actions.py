"""What the commands do that examine and keep: checks, comparisons, data, projects, keys, what boards reported."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from edgestudio.studio.commands.commands import Selection
from edgestudio.studio.commands.context import CommandContext


class ReportActions(CommandContext):
    """Each returns at once; the future of an examination has its report, which is also a row of `reports`."""

    def check(self, model: str | None = None, target: str | None = None) -> Future[Any] | None:
        """Whether a model will run on a board or runtime."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        if target is None:
            self._window.show("check")
            return None
        return self._start(self._studio.reports.check(sha256, target))

    def export_failing(self, report: str | None = None, path: Path | None = None) -> Future[Any] | None:
        """Keep the parts that a target check found to fail; by default asks where the newest check is shown."""
        if report is None or path is None:
            self._window.show("reports")
            return None

        async def export() -> list[str]:
            written = await self._studio.reports.export_failing(report, path)
            where = written[0] if len(written) == 1 else f"{len(written)} models in {path}"
            self._studio.notices.add("success", f"Written: {where}")
            return written

        return self._start(export())

    def has_failing(self, selection: Selection) -> bool:
        """True when a check of the selected model found parts that fail."""
        model = selection.model
        return model is not None and any(
            row.subject == model.sha256 and row.result.get("failing") for row in self._studio.reports.rows
        )

    def diff(self, model: str | None = None, other: str | None = None) -> Future[Any] | None:
        """How a model differs from another; by default from the one that it was made from."""
        row = self._row(model)
        against = other or (row.parent if row else None)
        if row is None or against is None:
            self._window.show("compare")
            return None
        return self._start(self._studio.reports.diff(against, row.sha256))

    def doctor(
        self, model: str | None = None, data: Path | None = None, pipeline: Path | None = None
    ) -> Future[Any] | None:
        """Whether data can carry a quantisation of a model."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        return self._start(self._studio.reports.doctor(sha256, data=data, pipeline=pipeline))

    def sensitivity(
        self,
        model: str | None = None,
        data: Path | None = None,
        pipeline: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Future[Any] | None:
        """Which layers a quantisation hurts; `options` are those of INT8 static."""
        sha256 = self._model(model)
        if sha256 is None:
            return None
        work = self._studio.reports.sensitivity(sha256, data=data, pipeline=pipeline, options=options)
        return self._start(work)

    def save_project(
        self,
        path: Path | None = None,
        layout: str = "",
        as_new: bool = False,  # noqa: FBT001, FBT002
    ) -> Future[Any] | None:
        """Write the state to the current project's file, or to another one."""
        current = None if as_new else self._studio.project.current
        target = path or current or self._window.ask_save_path("Save project", "project.edgestudio.json")
        if target is None:
            return None
        selection = self._selection()
        selected = selection.model.sha256 if selection.model else None
        boards = tuple(board.id for board in selection.boards)
        return self._start(self._studio.project.save(target, selected, boards, layout))

    def open_project(self, path: Path | None = None) -> Future[Any] | None:
        """Restore what a project file says; the future has what came of it (`Restored`)."""
        if path is None:
            self._window.show("open-project")
            return None
        return self._start(self._studio.project.open(path))

    def restore_project(self) -> Future[Any] | None:
        """Put back what the current project's file says."""
        current = self._studio.project.current
        return self._start(self._studio.project.open(current)) if current else None

    def has_project(self, selection: object) -> bool:
        """True when a project was opened or saved."""
        return self._studio.project.current is not None

    def invite(self, board: str | None = None, role: str = "operator") -> Future[Any] | None:
        """Open a board for another studio: `{code, role, expires_in_s}`."""
        board_id = self._board(board)
        return self._start(self._studio.trust.invite(board_id, role)) if board_id else None

    def rotate_keys(self, role: str | None = None) -> Future[Any]:
        """Replace signing keys, one role's or all."""
        return self._start(self._studio.trust.rotate(role))

    def export_kit(self, path: Path | None = None, passphrase: str | None = None) -> Future[Any] | None:
        """Write the recovery kit of the signing keys."""
        if path is None or passphrase is None:
            self._window.show("recovery-kit-export")
            return None
        return self._start(self._studio.trust.export_kit(path, passphrase))

    def import_kit(
        self, path: Path | None = None, passphrase: str | None = None, *, replace: bool = False
    ) -> Future[Any] | None:
        """Take over signing keys from a recovery kit."""
        if path is None or passphrase is None:
            self._window.show("recovery-kit-import")
            return None
        return self._start(self._studio.trust.import_kit(path, passphrase, replace=replace))

    def export_telemetry(
        self, board: str | None = None, path: Path | None = None, span_s: float | None = None
    ) -> Future[Any] | None:
        """Write what a board reported as CSV; `span_s` as shown on the dashboard, None is everything shown."""
        board_id = self._board(board)
        if board_id is None:
            return None
        row = self._studio.boards.rows.get(board_id)
        name = row.name if row else board_id[:12]
        target = path or self._window.ask_save_path("Export telemetry", f"{name}.csv")
        return self._start(self._studio.monitor.export(board_id, target, span_s)) if target else None
