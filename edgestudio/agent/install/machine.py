"""The install state machine: every state is on disk before its work starts, so that any restart can go on."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol

from edgestudio.agent.install.intake import Intake
from edgestudio.agent.install.ledger import ARRIVING, MAX_TRIES, Ledger, UnfitError
from edgestudio.agent.install.quarantine import put_away
from edgestudio.agent.killpoints import reach
from edgestudio.agent.run.opening import Progress
from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.gc import FINISHED
from edgestudio.agent.store.state import InstallRow
from edgestudio.wire.errors import EdgeStudioError, InstallError

STARTED = frozenset({"STAGED", "DRYRUN", "TRIAL"})


class Steps(Protocol):
    """The work behind the states."""

    async def inspect(self, row: InstallRow) -> None:
        """Lay the release out and look for hostility; raises UnfitError."""

    async def stage(self, row: InstallRow) -> None:
        """Make sure that the slot is whole."""

    async def build(self, row: InstallRow, progress: Progress) -> None:
        """Build what the candidate needs to run on this board, such as an engine; raises UnfitError."""

    async def dry_run(self, row: InstallRow) -> None:
        """Load the candidate beside what runs and ask its golden inputs; raises UnfitError."""

    async def trial(self, row: InstallRow) -> None:
        """Let the candidate serve and watch it; raises UnfitError."""

    async def settle(self, row: InstallRow) -> None:
        """The candidate is committed: it serves; drain and close what it replaced."""

    async def restore(self, row: InstallRow) -> str:
        """Back to what served before; the version that answered its golden inputs, "" when none could."""

    async def discard(self, row: InstallRow) -> None:
        """Close a candidate that never served."""


class InstallMachine:
    """Drives one install at a time from VERIFIED to its end, in the background."""

    def __init__(self, store: BoardStore, ledger: Ledger, intake: Intake, steps: Steps) -> None:
        self._store = store
        self._ledger = ledger
        self._intake = intake
        self._steps = steps
        self._task: asyncio.Task[None] | None = None
        self._driven = ""
        self._is_aborted = False

    async def finish(self, install_id: str) -> InstallRow:
        """All chunks were sent: check the whole files and go on in the background. Asking again is fine."""
        row = self._ledger.row(install_id)
        if await self._intake.complete(row):
            self._drive(row)
        return row

    async def abort(self, install_id: str) -> InstallRow:
        """Give the install up; what runs keeps running. One that is finished stays as it is."""
        row = self._ledger.row(install_id)
        if row.state in ARRIVING:
            await self._intake.give_up(row, InstallError("It was aborted.", code="aborted"))
        elif row.state not in FINISHED and self._is_driving(row):
            self._is_aborted = True
            await self.stop()
        return row

    async def revert(self, model: str, reason: str, *, is_forced: bool = False) -> InstallRow:
        """Back to the previous release of `model`; `is_forced` when crashes ask for it, not a person."""
        slots = self._store.state.models.get(model)
        if slots is None:
            known = ", ".join(self._store.state.models)
            raise InstallError(
                f"There is no model {model} on this board.",
                hint=f"It has {known}." if known else "Nothing was installed on it.",
                code="no-model",
            )
        if slots.previous is None:
            raise InstallError(
                f"There is no previous release of {model} on this board to go back to.",
                hint="Push the release that should run.",
                code="no-previous",
            )
        if is_forced and (busy := self._ledger.open_row) is not None:
            await self.abort(busy.id)
        self._ledger.refuse_while_busy()
        row = InstallRow(
            id=secrets.token_hex(8), model=model, release=slots.previous,
            version=self._store.state.releases[slots.previous].version, target="", key="", peer="", state="",
            started=time.time(), active=slots.active, previous=slots.previous, reason=reason,
            is_revert=True, is_forced=is_forced,
        )  # fmt: skip
        self._ledger.begin(row, "STAGED", reason)
        self._drive(row)
        return row

    async def wait(self) -> None:
        """Until the background work of the present install has ended."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def recover(self) -> None:
        """After a restart, when the active releases serve: go on with what was interrupted, or roll it back."""
        for row in list(self._store.state.installs.values()):
            if row.state in FINISHED or self._is_driving(row):
                continue  # the latter: a way back that began because the active release cannot start
            if row.state in ("", "OFFERED") or row.release not in self._store.state.releases:
                error = InstallError("The board restarted before the transfer began.", code="interrupted")
                await self._intake.give_up(row, error)
            elif row.state == "RECEIVING":
                await self._intake.resume(row)
            else:
                self._drive(row, is_resumed=True)
                await self.wait_if_rolling_back(row)

    async def wait_if_rolling_back(self, row: InstallRow) -> None:
        """A rollback that was interrupted ends before anything new is accepted."""
        if row.state == "ROLLBACK":
            await self.wait()

    async def stop(self) -> None:
        """Stop in the middle; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # ------------------------------------------------------------------ driving

    def _is_driving(self, row: InstallRow) -> bool:
        return self._task is not None and not self._task.done() and self._driven == row.id

    def _drive(self, row: InstallRow, *, is_resumed: bool = False) -> None:
        self._driven = row.id
        self._is_aborted = False
        work = self._run(row, is_resumed=is_resumed)
        self._task = asyncio.get_running_loop().create_task(work, name=f"install-{row.id}")

    async def _run(self, row: InstallRow, *, is_resumed: bool) -> None:
        try:
            if row.state == "ROLLBACK":
                await self._roll_back(row)
            elif is_resumed:
                await self._resume(row)
            else:
                await self._advance(row)
        except EdgeStudioError as error:
            await self._fail(row, error)
        except asyncio.CancelledError:
            if not self._is_aborted:
                raise
            await self._fail(row, InstallError("It was aborted.", code="aborted"))

    async def _resume(self, row: InstallRow) -> None:
        """Interrupted somewhere between VERIFIED and TRIAL: trust nothing, do it again, but not for ever."""
        if row.tries.get(row.state, 0) >= MAX_TRIES and row.state in STARTED:
            raise UnfitError(
                f"It was tried {MAX_TRIES} times and the board did not survive it.", code="crash-loop"
            )
        damaged = await asyncio.to_thread(self._store.damage, row.release)
        if damaged:
            raise InstallError("Its files were damaged on the board's disk.", code="damaged")
        await self._advance(row)

    async def _advance(self, row: InstallRow) -> None:
        if not row.is_revert:
            await self._steps.inspect(row)
            self._ledger.enter(row, "INSPECTED")
        await self._steps.stage(row)
        self._ledger.attempt(row, "STAGED")
        self._store.state.models[row.model].candidate = row.release
        await self._steps.build(row, lambda doing, fraction: self._ledger.tell(row, doing, fraction))
        self._ledger.attempt(row, "DRYRUN")
        reach("work:DRYRUN")
        await self._steps.dry_run(row)
        if not row.is_revert:
            self._ledger.attempt(row, "TRIAL")
            reach("work:TRIAL")
            await self._steps.trial(row)
        self._commit(row)
        await self._steps.settle(row)
        await self._clean()

    def _commit(self, row: InstallRow) -> None:
        """One write makes the candidate the active release and remembers the one before it."""
        state = self._store.state
        slots, release = state.models[row.model], state.releases[row.release]
        before = (slots.active, slots.previous, slots.candidate, slots.floor, state.safe_mode)
        quarantine, failed = dict(slots.quarantine), dict(slots.failed)
        committed_at, keep = release.committed_at, slots.active
        if row.is_forced and slots.active is not None:
            put_away(slots, state.releases[slots.active], row.reason)
            keep = None
        slots.previous = keep if keep != row.release else slots.previous
        slots.active, slots.candidate = row.release, None
        slots.floor = max(slots.floor, release.counter)
        release.committed_at = time.time()
        state.safe_mode = ""
        row.active, row.previous = slots.active, slots.previous
        row.rolled_back_to = row.release if row.is_revert else None
        try:
            self._ledger.enter(row, "COMMITTED", row.reason)
        except EdgeStudioError:
            slots.active, slots.previous, slots.candidate, slots.floor, state.safe_mode = before
            slots.quarantine, slots.failed, release.committed_at = quarantine, failed, committed_at
            row.active, row.previous, row.rolled_back_to = before[0], before[1], None
            raise

    # ------------------------------------------------------------------ failing

    async def _fail(self, row: InstallRow, error: EdgeStudioError) -> None:
        slots = self._store.state.models.get(row.model)
        row.reason = error.sentence if not row.is_forced else f"{row.reason}; then: {error.message}"
        if isinstance(error, UnfitError) and slots is not None and not row.is_revert:
            put_away(slots, self._store.state.releases[row.release], error.sentence)
        if slots is not None:
            slots.candidate = None
        if row.state == "TRIAL" or row.is_forced:
            try:
                self._ledger.enter(row, "ROLLBACK", row.reason)
            except EdgeStudioError:
                row.state = "ROLLBACK"  # the disk refuses to remember; go back all the same
            await self._roll_back(row)
            return
        await self._steps.discard(row)
        self._ledger.end(row, "FAILED")
        await self._clean()

    async def _roll_back(self, row: InstallRow) -> None:
        """Needs no network and no studio. Says where it went back to only when that answered again."""
        reach("work:ROLLBACK")
        version = await self._steps.restore(row)
        slots = self._store.state.models[row.model]
        row.active, row.previous = slots.active, slots.previous
        if version:
            row.rolled_back_to = slots.active
            row.reason = f"{row.reason} Rolled back to {version}, which answers its golden inputs again."
        elif slots.active is not None:
            row.reason = (
                f"{row.reason} No earlier release answers its golden inputs: the board is in safe mode."
            )
        self._ledger.end(row, "FAILED")
        await self._clean()

    async def _clean(self) -> None:
        async with self._store.tidying:
            try:
                kept = self._store.forget()
                if kept is not None:
                    await asyncio.to_thread(self._store.remove_others, kept)
            except (EdgeStudioError, OSError):
                return  # a disk that refuses is reported by whoever needs it next
