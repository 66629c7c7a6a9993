"""Boards as seen from the desk: found, started from here, paired, present."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from edgestudio.devices import pairing
from edgestudio.devices.profiles import profiles
from edgestudio.devices.session import BoardSession
from edgestudio.studio.boards.address import parse_address
from edgestudio.studio.boards.directory import BoardDirectory, studio_name
from edgestudio.studio.boards.evaluation import evaluate_on_board
from edgestudio.studio.boards.local_boards import LocalBoard, LocalBoards
from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.notices import NoticeService
from edgestudio.studio.paths import Paths
from edgestudio.studio.rows import BoardRow
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError, TrustError

LOOK_S = 5.0
MOVED_S = 15.0
"""A board notices within five seconds that it has another address, and announces it in a few more."""

# A board that was started here and has not announced itself after this long needs a word.
_UNSEEN_S = 15.0


class BoardService:
    """The boards as rows; a row's id is the fingerprint of the board's certificate."""

    def __init__(
        self,
        bus: EventBus,
        paths: Paths,
        notices: NoticeService,
        telemetry: TelemetryService,
        *,
        interfaces: tuple[str, ...] = (),
    ) -> None:
        self._notices = notices
        self._local = LocalBoards(paths, self._on_local_change)
        self._directory = BoardDirectory(
            bus, paths, telemetry, interfaces, self._local.at, self._local.can_start
        )
        self.rows: Ledger[BoardRow] = self._directory.rows

    # -- finding

    async def start_discovery(self) -> None:
        """Show the paired boards, connect to them, and listen for the announcements of others.

        Raises DeviceError where there is no network to listen on; the paired boards are shown all the same.
        """
        self._directory.is_watching = True
        try:
            await self.load()
        finally:  # a damaged list of boards keeps no new ones away
            for facts in self._directory:
                await self._directory.watch(facts)
            await self._directory.listen()

    async def load(self) -> None:
        """Show the paired boards without asking anybody."""
        await self._local.load()
        await self._directory.load()

    async def stop(self) -> None:
        """Close the sessions, stop listening, end the boards that were started from here."""
        await self._directory.stop()
        await self._local.stop_all()

    async def add_address(self, host: str, port: int) -> BoardRow:
        """Ask the board at an address who it is and show it."""
        await self._directory.load()
        facts = await self._directory.greeted(await pairing.greet(host, port), host, port)
        if self._directory.is_watching:
            await self._directory.watch(facts)
        return self._directory.show(facts)

    async def add_address_text(self, address: str) -> BoardRow:
        """The same for "host", "host:port" or "[v6]:port" as a person writes it; raises InputError."""
        return await self.add_address(*parse_address(address))

    def find(self, reference: str) -> BoardRow:
        """The board that a name, an id prefix or host:port means; raises DeviceError when none or several do."""
        found = [facts for facts in self._directory if facts.matches(reference)]
        if len(found) == 1:
            return self._directory.show(found[0])
        if found:
            names = ", ".join(f"{facts.name} ({facts.id[:12]})" for facts in found)
            raise DeviceError(
                f"{reference!r} means several boards: {names}.", hint="Use the id.", code="ambiguous"
            )
        raise DeviceError(
            f"No board is called {reference!r}.",
            hint="`edgestudio devices` lists the boards; `edgestudio doctor` says why one may be missing.",
            code="unknown-board",
        )

    async def locate(self, reference: str, *, wait_s: float = LOOK_S, moved_s: float = MOVED_S) -> BoardRow:
        """As `find`, but looks on the network where nothing known fits or answers; for the command line.

        `wait_s` for a board that nobody here knows, `moved_s` for one that does not answer at its last address.
        """
        await self._directory.load()
        if ":" in reference:
            with contextlib.suppress(InputError):
                return await self.add_address_text(reference)
        with contextlib.suppress(EdgeStudioError):
            row = self.find(reference)
            wait_s = moved_s
            greeting = await pairing.greet(row.address, row.port)
            if greeting.fingerprint == row.id:
                return row
        await self._directory.listen()
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if any(facts.is_announced and facts.matches(reference) for facts in self._directory):
                break
            await asyncio.sleep(0.1)
        return self.find(reference)

    async def survey(self, wait_s: float) -> list[BoardRow]:
        """The boards that are known or announce themselves within `wait_s` seconds; for the command line."""
        await self._directory.load()
        try:
            await self._directory.listen()
            await asyncio.sleep(wait_s)
        except DeviceError:
            if not len(self.rows):
                raise
        paired = [facts for facts in self._directory if facts.known is not None]
        await asyncio.gather(*(self._directory.ask(facts) for facts in paired))
        return sorted(self.rows, key=lambda row: row.name)

    # -- started from here

    async def add_simulated(self, profile: str = "pi5", *, name: str | None = None) -> str:
        """Start the real agent with simulated sensors as a process of its own; returns its name.

        Its row comes by its announcement, like any board's, and says `is_simulated` and `screen`.
        """
        return await self._start_local(profile, name)

    async def add_this_computer(self) -> str:
        """Start the real agent with this computer's sensors; returns its name."""
        return await self._start_local(None, None)

    async def start_again(self, board_id: str) -> str:
        """Start a board again that was started from here and has ended, as the one that it was."""
        self._local.desk = await self._directory.own_mark()
        return await self._expected(await self._local.start_again(board_id))

    async def stop_local(self, board_id: str) -> None:
        """End a board that was started from here; its data stays for the next start."""
        facts = self._directory.get(board_id)
        local = self._local.at(facts.host, facts.port)
        if local is None:
            raise DeviceError(f"{facts.name} was not started from here.", code="not-local")
        await self._local.stop(local.name)

    def profiles(self) -> list[dict[str, str]]:
        """What can be simulated: `id, title, description`."""
        return [
            {"id": each.simulated_as, "title": each.title, "description": each.description}
            for each in profiles()
            if each.simulated_as
        ]

    # -- trust

    async def pair(self, board_id: str, code: str) -> BoardRow:
        """Pair with the code that the board shows; raises TrustError when it does not hold."""
        facts = self._directory.get(board_id)
        identity = await self._directory.own_identity()
        paired = await pairing.pair(identity, studio_name(), facts.host, facts.port, code)
        if paired.board.fingerprint != board_id:
            raise TrustError(
                f"Another board answered in place of {facts.name}.",
                hint="Look at its address and try again.",
                code="wrong-board",
            )
        return await self._directory.paired(facts, paired.board)

    async def unpair(self, board_id: str) -> bool:
        """Make the board forget this desk, and this desk the board; False when it could not be told.

        Raises the board's own TrustError when it refuses, as it does to the only owner among others: nothing changes.
        """
        facts = self._directory.get(board_id)
        told = False
        try:
            await (await self._directory.session(board_id)).unpair()
            told = True
        except EdgeStudioError as error:
            if error.code == "last-owner":
                raise
            told = error.code == "not-paired"
        await self._directory.unpaired(facts)
        if facts.is_announced or told:
            self._directory.show(facts)
        else:
            self._directory.drop(facts)
        return told

    async def forget(self, board_id: str) -> None:
        """Take a board off the list without asking it; one that was started from here ends and loses its data."""
        facts = self._directory.get(board_id)
        await self._directory.unpaired(facts)
        self._directory.drop(facts)
        await self._local.forget(facts.id)

    # -- talking

    async def session(self, board_id: str) -> BoardSession:
        """The session with a paired board; raises TrustError when it is not paired."""
        return await self._directory.session(board_id)

    async def refresh(self, board_id: str) -> BoardRow:
        """Ask a paired board for its state now."""
        facts = self._directory.get(board_id)
        await self._directory.ask(facts)
        return self._directory.show(facts)

    async def records(self, board_id: str) -> AsyncIterator[dict[str, Any]]:
        """What a paired board reports from now on, as it travels; ends never.

        Raises when it is not there at first, and when it does not trust this desk any more.
        """
        session = await self._directory.session(board_id)
        await session.state()
        async with contextlib.aclosing(session.records(stays=False)) as records:
            async for record in records:
                yield record

    async def bench(
        self, board_id: str, *, model: str | None = None, soak_minutes: float = 0.0
    ) -> dict[str, Any]:
        """Latency of a model that runs on a board, measured there."""
        session = await self._directory.session(board_id)
        return await session.bench(model=model, soak_minutes=soak_minutes)

    async def evaluate(self, board_id: str, data: Path, *, model: str | None = None) -> dict[str, Any]:
        """Accuracy of a model that runs on a board, on labelled data from here."""
        row = await self.refresh(board_id)
        running = [active.model for active in row.active]
        if model is None and len(running) != 1:
            said = f"it runs {', '.join(running)}" if running else "it runs nothing"
            raise DeviceError(f"Say which model of {row.name} to evaluate: {said}.", code="which-model")
        session = await self._directory.session(board_id)
        return await evaluate_on_board(session, model or running[0], data)

    # -- inside

    async def _start_local(self, profile: str | None, name: str | None) -> str:
        seen = [(facts.name, facts.id) for facts in self._directory]
        self._local.desk = await self._directory.own_mark()
        return await self._expected(await self._local.start(profile, name, seen))

    async def _expected(self, local: LocalBoard) -> str:
        self._directory.chore(self._expect(local))
        return local.name

    async def _expect(self, local: LocalBoard) -> None:
        await asyncio.sleep(_UNSEEN_S)
        seen = any(self._local.at(facts.host, facts.port) is local for facts in self._directory)
        if local.is_running and not seen:
            self._notices.add(
                "warning",
                f"{local.name} runs, but its announcement has not been seen on the network.",
                hint=f"Add it by its address, 127.0.0.1:{local.port}, or ask the discovery doctor.",
            )

    def _on_local_change(self, local: LocalBoard) -> None:
        for facts in self._directory:
            if facts.port == local.port and facts.host.startswith("127."):
                if not local.is_running and facts.known is None:
                    self._directory.drop(facts)
                else:
                    self._directory.show(facts)
