"""The gesture: a model onto a board, as one timeline from preflight to commit or rollback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.devices.deploy import COMMITTED, ROLLED_BACK, DeployState, deploy
from edgestudio.devices.publisher import Release
from edgestudio.devices.session import BoardSession
from edgestudio.studio.boards import timeline
from edgestudio.studio.boards.boards import BoardService
from edgestudio.studio.boards.preflight import examine, operators, refuse, sentence, targets_for
from edgestudio.studio.boards.releases import Package, ReleaseMaker, requirements
from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.paths import Paths
from edgestudio.studio.rows import ActiveModel, DeploymentRow, ModelRow
from edgestudio.wire.errors import DeviceError, EdgeStudioError

_KEPT = 50
_ABORT_S = 5.0
# A board that was interrupted takes up its install again and needs a trial's time for it.
_BUSY_S = 90.0
_BUSY_POLL_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Push:
    """One model on its way to some boards: what is made once, by whichever board needs it first."""

    model: ModelRow
    slot: str
    pipeline: Path | None
    golden: Path | None
    accelerators: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    package: Package | None = None
    release: Release | None = None
    floor: int = 0
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)


class DeployService:
    """Pushes and rolls back; each deployment is one row with its steps."""

    def __init__(
        self,
        bus: EventBus,
        jobs: JobService,
        models: ModelService,
        boards: BoardService,
        telemetry: TelemetryService,
        paths: Paths,
    ) -> None:
        self.rows: Ledger[DeploymentRow] = Ledger(bus, "deployments")
        self._models = models
        self._boards = boards
        self._telemetry = telemetry
        self._maker = ReleaseMaker(jobs, models, paths.jobs, paths.publisher)
        self._running: dict[str, asyncio.Task[DeploymentRow]] = {}

    async def push(
        self,
        model: str,
        board_ids: Sequence[str],
        *,
        pipeline: Path | None = None,
        golden: Path | None = None,
        slot: str | None = None,
        accelerators: Sequence[str] = (),
        gpu: Sequence[str] = (),
    ) -> list[DeploymentRow]:
        """Install the model with this hash on each board; returns the rows as they ended, good or bad.

        `accelerators` and `gpu` are what the release asks for, see `wire.release.Requirements`.
        `slot` is what it is called there, by default the name of the model that it was made from. A board's
        failure is in its row and does not stop the others; raises only for what concerns all.
        """
        row = self._models.get(model)
        name = slot or self._maker.slot(row)
        push = _Push(row, name, pipeline, golden, tuple(accelerators), tuple(gpu))
        tasks = []
        for board_id in dict.fromkeys(board_ids):
            board = self._boards.rows.get(board_id)
            if board is None:
                raise DeviceError(f"There is no board {board_id[:12]} here.", code="unknown-board")
            shown = DeploymentRow(
                uuid.uuid4().hex[:12],
                board_id,
                model,
                f"{row.name} to {board.name}",
                "running",
                steps=timeline.planned(),
                started=time.time(),
            )
            self.rows.put(shown)
            task = asyncio.create_task(self._one(push, shown))
            self._running[shown.id] = task
            tasks.append(task)
        self._forget_old()
        try:
            return list(await asyncio.gather(*tasks))
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        finally:
            if push.package is not None:
                await asyncio.shield(push.package.discard())

    async def rollback(self, board_id: str, model: str | None = None) -> DeploymentRow:
        """Go back to what the board ran before; `model` is the slot's name, needed when it has several."""
        started = time.time()
        board = await self._boards.refresh(board_id)
        slots = [active.model for active in board.active]
        if model is None and len(slots) != 1:
            said = f"it runs {', '.join(slots)}" if slots else "it runs nothing"
            raise DeviceError(f"Say which model to roll back on {board.name}: {said}.", code="which-model")
        slot = model or slots[0]
        session = await self._boards.session(board_id)
        before = _version(board.active, slot)
        answer = await session.rollback(slot)
        board = await self._boards.refresh(board_id)
        active = next((active for active in board.active if active.model == slot), None)
        row = DeploymentRow(
            uuid.uuid4().hex[:12],
            board_id,
            active.sha256 if active else "",
            f"{slot} back on {board.name}",
            "rolled-back",
            reason=str(answer.get("reason") or ""),
            active=_version(board.active, slot),
            previous=before,
            started=started,
            ended=time.time(),
        )
        return self.rows.put(row)

    def cancel(self, deployment_id: str) -> bool:
        """Give a running deployment up; the board keeps what it had."""
        task = self._running.get(deployment_id)
        return task.cancel() if task is not None else False

    async def stop(self) -> None:
        """Give up what is running."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, push: _Push, row: DeploymentRow) -> DeploymentRow:
        install_id = ""
        session: BoardSession | None = None
        try:
            session = await self._boards.session(row.board)
            await self._preflight(push, row, session)
            release = await self._release(push, row)
            async with contextlib.aclosing(self._states(row.id, session, release)) as states:
                async for state in states:
                    install_id = state.install_id or install_id
                    self._advance(row.id, state)
            return self._settle(row.id)
        except asyncio.CancelledError:
            if session is not None and install_id:
                await asyncio.shield(_abort(session, install_id))
            self._stop(row.id, "cancelled", "Cancelled; the board keeps what it had.")
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
            return self._settle(row.id)
        except EdgeStudioError as error:
            self._stop(row.id, "failed", error.sentence, error.hint)
            return self._settle(row.id)
        except Exception as error:  # noqa: BLE001  what nobody expected is told as a bug, in the row
            _log.exception("a deployment failed")
            self._stop(row.id, "failed", f"This is a bug: {type(error).__name__}: {error}")
            return self._settle(row.id)
        finally:
            self._running.pop(row.id, None)
            with contextlib.suppress(EdgeStudioError, asyncio.CancelledError):
                await self._boards.refresh(row.board)

    async def _states(
        self, row_id: str, session: BoardSession, release: Release
    ) -> AsyncGenerator[DeployState, None]:
        """The states of a push; where the board is busy with another install, that one is let end first."""
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                async with contextlib.aclosing(deploy(session, self._maker.publisher, release)) as states:
                    async for state in states:
                        yield state
                return
            except EdgeStudioError as error:
                if error.code != "busy" or time.monotonic() > deadline:
                    raise
                self._step(row_id, "package", f"waiting: {error.message}")
                await asyncio.sleep(_BUSY_POLL_S)

    async def _preflight(self, push: _Push, row: DeploymentRow, session: BoardSession) -> None:
        self._step(row.id, "preflight", "asking the board")
        info, state = await session.info(), await session.state()
        findings = examine(push.model, info, state)
        findings.append(operators(await self._checked(push, targets_for(push.model, info))))
        self._step(row.id, "preflight", sentence(findings))
        refuse(findings, session.board.name)
        push.floor = max(push.floor, _floor(state, push.slot))

    async def _checked(self, push: _Push, runtimes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The target check's answer for each runtime, asked once for all boards; without those nobody knows."""
        async with push.lock:
            for name in runtimes:
                if name not in push.checks:
                    try:
                        push.checks[name] = await self._models.check(Path(push.model.path), name)
                    except EdgeStudioError as error:
                        if error.code == "cancelled":
                            raise
                        _log.info("no operator check for %s: %s", name, error.message)
        return {name: push.checks[name] for name in runtimes if name in push.checks}

    async def _release(self, push: _Push, row: DeploymentRow) -> Release:
        async with push.lock:
            if push.package is None:
                self._step(row.id, "package", "running the model on its data")
                push.package = await self._maker.package(push.model, push.slot, push.pipeline, push.golden)
            else:
                self._step(row.id, "package", "made already")
            if push.release is None or push.release.manifest.counter <= push.floor:
                requires = requirements(push.model, push.accelerators, push.gpu)
                push.release = await self._maker.sign(
                    push.model, push.slot, push.package, push.floor, requires
                )
            manifest = push.release.manifest
            said = "".join(f"; {note}" for note in push.package.notes)
            text = f"{manifest.model} {manifest.version}, release {manifest.counter}{said}"
            self._step(row.id, "package", text)
            baseline = push.package.baseline()
            if baseline is not None:
                self._telemetry.set_baseline(row.board, push.slot, baseline)
            return push.release

    def _advance(self, row_id: str, state: DeployState) -> None:
        row = self.rows.get(row_id)
        if row is None:
            return
        if state.name == COMMITTED:
            active, previous = _said(state.install.get("active")), _said(state.install.get("previous"))
            self.rows.change(
                row_id,
                state="committed",
                steps=timeline.finished(row.steps, state.detail),
                active=active,
                previous=previous,
                ended=time.time(),
            )
        elif state.is_final:
            how = "rolled-back" if state.name == ROLLED_BACK else "failed"
            self._stop(row_id, how, state.reason or "The board gave no reason.", state.hint)
            kept = _said(state.install.get("active") or state.install.get("rolled_back_to"))
            self.rows.change(row_id, active=kept)
        else:
            name = timeline.STEP_OF_STATE.get(state.name)
            if name is not None:
                self._step(row_id, name, state.detail)

    def _step(self, row_id: str, name: str, detail: str = "") -> None:
        row = self.rows.get(row_id)
        if row is not None:
            self.rows.change(row_id, steps=timeline.at(row.steps, name, detail))

    def _stop(self, row_id: str, state: str, reason: str, hint: str = "") -> None:
        row = self.rows.get(row_id)
        if row is not None:
            steps = timeline.stopped(row.steps, reason)
            self.rows.change(row_id, state=state, steps=steps, reason=reason, hint=hint, ended=time.time())

    def _settle(self, row_id: str) -> DeploymentRow:
        row = self.rows.get(row_id)
        assert row is not None
        return row

    def _forget_old(self) -> None:
        over = [row.id for row in self.rows if row.state != "running"]
        for row_id in over[:-_KEPT]:
            self.rows.remove(row_id)


async def _abort(session: BoardSession, install_id: str) -> None:
    with contextlib.suppress(EdgeStudioError, TimeoutError):
        async with asyncio.timeout(_ABORT_S):
            await session.abort(install_id)


def _floor(state: Mapping[str, Any], slot: str) -> int:
    """The highest release of a model that a board has had, by its own account."""
    models = state.get("models") or {}
    entry = models.get(slot) if isinstance(models, Mapping) else None
    floor = entry.get("floor") if isinstance(entry, Mapping) else None
    return floor if isinstance(floor, int) else 0


def _said(release: object) -> str:
    """A release as people call it: its version, from a board's account of it."""
    if isinstance(release, Mapping):
        release = release.get("version") or release.get("release")
    return "" if release is None else str(release)


def _version(active: Sequence[ActiveModel], slot: str) -> str:
    found = next((entry for entry in active if entry.model == slot), None)
    return (found.version or str(found.release)) if found else ""
