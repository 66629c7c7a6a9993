"""The boards that this desk knows of or sees, its sessions with the paired ones, and their presence."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from edgestudio.devices.discovery import Discovery, Found
from edgestudio.devices.known import KnownBoard, KnownBoards
from edgestudio.devices.pairing import Greeting
from edgestudio.devices.session import BoardSession
from edgestudio.studio.boards.facts import BoardFacts
from edgestudio.studio.boards.local_boards import LocalBoard
from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.paths import Paths
from edgestudio.studio.rows import BoardRow, Presence
from edgestudio.wire import api
from edgestudio.wire.errors import DeviceError, EdgeStudioError, TrustError
from edgestudio.wire.identity import Identity

_ASK_S = 6.0


class BoardDirectory:
    """Keeps the facts about each board together and publishes them as its row."""

    def __init__(
        self,
        bus: EventBus,
        paths: Paths,
        telemetry: TelemetryService,
        interfaces: tuple[str, ...],
        local_at: Callable[[str, int], LocalBoard | None],
        can_start: Callable[[str], bool],
    ) -> None:
        self.rows: Ledger[BoardRow] = Ledger(bus, "boards")
        self.known = KnownBoards(paths.known_boards)
        self.is_watching = False
        self._paths = paths
        self._telemetry = telemetry
        self._interfaces = interfaces
        self._local_at, self._can_start = local_at, can_start
        self._facts: dict[str, BoardFacts] = {}
        self._discovery: Discovery | None = None
        self._identity: Identity | None = None
        self._mark = ""
        self._is_loaded = False
        self._chores: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[BoardFacts]:
        return iter(tuple(self._facts.values()))

    def get(self, board_id: str) -> BoardFacts:
        """The facts about a board; raises DeviceError when there is none of that id."""
        facts = self._facts.get(board_id)
        if facts is None:
            raise DeviceError(f"There is no board {board_id[:12]} here.", code="unknown-board")
        return facts

    async def load(self) -> None:
        """Show the paired boards."""
        if self._is_loaded:
            return
        self._is_loaded = True
        for known in await asyncio.to_thread(self.known.all):
            self.show(self._facts.setdefault(known.fingerprint, BoardFacts.of_known(known)))

    async def listen(self) -> None:
        """Listen for announcements; raises DeviceError where there is no network to listen on."""
        if self._discovery is None:
            if await asyncio.to_thread((self._paths.identity / "cert.pem").exists):
                await self.own_mark()
            discovery = Discovery(self._on_found, self._on_gone, interfaces=self._interfaces or None)
            await discovery.start()
            self._discovery = discovery

    async def stop(self) -> None:
        """Stop listening, end the sessions and everything that was started here."""
        self.is_watching = False
        if self._discovery is not None:
            discovery, self._discovery = self._discovery, None
            await discovery.stop()
        for facts in self:
            await self.unwatch(facts)
        chores = list(self._chores)
        for task in chores:
            task.cancel()
        await asyncio.gather(*chores, return_exceptions=True)

    def show(self, facts: BoardFacts) -> BoardRow:
        """Publish a board's row."""
        row = facts.row(self._local_at(facts.host, facts.port), can_start=self._can_start(facts.id))
        return self.rows.put(row) if facts.id in self._facts else row

    def drop(self, facts: BoardFacts) -> None:
        """Take a board off the list."""
        self._facts.pop(facts.id, None)
        self.rows.remove(facts.id)

    async def greeted(self, greeting: Greeting, host: str, port: int) -> BoardFacts:
        """A board answered at an address."""
        facts = self._facts.get(greeting.fingerprint)
        if facts is None:
            facts = self._facts[greeting.fingerprint] = BoardFacts.of_greeting(greeting, host, port)
        else:
            facts.greeted(greeting, host, port)
            await self._moved(facts)
        self.show(facts)
        return facts

    async def paired(self, facts: BoardFacts, known: KnownBoard) -> BoardRow:
        """A board is paired from now on."""
        await asyncio.to_thread(self.known.add, known)
        await self.unwatch(facts)
        facts.known, facts.pairing_open = known, False
        if self.is_watching:
            await self.watch(facts)
        else:
            await self.ask(facts)
        return self.show(facts)

    async def unpaired(self, facts: BoardFacts) -> None:
        """A board is not paired any more."""
        await asyncio.to_thread(self.known.remove, facts.id)
        await self.unwatch(facts)
        facts.known, facts.state, facts.info, facts.problem = None, {}, {}, None
        facts.presence, facts.sensors = "unknown", {}
        self._telemetry.forget(facts.id)

    async def session(self, board_id: str) -> BoardSession:
        """The session with a paired board; raises TrustError when it is not paired."""
        facts = self.get(board_id)
        if facts.known is None:
            raise TrustError(
                f"{facts.name} is not paired.", hint="Pair it with the code that it shows.", code="not-paired"
            )
        if facts.session is None:
            identity = await self.own_identity()
            facts.session = facts.session or BoardSession(
                identity,
                facts.known,
                on_presence=lambda presence, problem: self._on_presence(facts, presence, problem),
            )
        return facts.session

    async def own_identity(self) -> Identity:
        """This desk's key and certificate, made on first use."""
        if self._identity is None:
            self._identity = await asyncio.to_thread(
                Identity.load_or_create, self._paths.identity, studio_name()
            )
        return self._identity

    async def own_mark(self) -> str:
        """What boards announce that this desk started for itself; "" while its identity cannot be used."""
        with contextlib.suppress(EdgeStudioError, OSError):  # told where the key itself is needed
            self._mark = (await self.own_identity()).fingerprint[: api.DESK_MARK_CHARS]
        return self._mark

    async def watch(self, facts: BoardFacts) -> None:
        """Keep a paired board connected, and take what it reports."""
        if facts.known is not None and facts.watching is None:
            session = await self.session(facts.id)
            facts.watching = asyncio.create_task(self._follow(facts, session))

    async def unwatch(self, facts: BoardFacts) -> None:
        """End the session with a board."""
        await _ended(facts)
        if facts.session is not None:
            session, facts.session = facts.session, None
            await session.close()

    async def ask(self, facts: BoardFacts) -> None:
        """Ask a paired board for info and state; sets its presence where no stream does."""
        try:
            async with asyncio.timeout(_ASK_S):
                session = await self.session(facts.id)
                facts.info, facts.state = await session.info(), await session.state()
            if facts.watching is None:
                facts.presence, facts.problem, facts.last_seen = "online", None, time.time()
        except (EdgeStudioError, TimeoutError) as error:
            if facts.watching is None:
                facts.presence = "offline"
                facts.problem = error if isinstance(error, EdgeStudioError) else None
        self.show(facts)

    def chore(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something in the background, until it is done or the directory stops."""
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _on_found(self, found: Found) -> None:
        facts = self._facts.get(found.fingerprint)
        if facts is None and found.desk and found.desk != self._mark:
            return  # another window on this computer started it for itself
        if facts is None:
            facts = self._facts[found.fingerprint] = BoardFacts.of_found(found)
        else:
            facts.found(found)
        self.chore(self._moved(facts))
        self.show(facts)

    def _on_gone(self, found: Found) -> None:
        facts = self._facts.get(found.fingerprint)
        if facts is not None:
            facts.is_announced = False
            if facts.known is None:
                self.drop(facts)

    async def _moved(self, facts: BoardFacts) -> None:
        """Where a paired board answers now is where it is looked for from now on."""
        known = facts.known
        if known is None or (known.host, known.port, known.name) == (facts.host, facts.port, facts.name):
            return
        await asyncio.to_thread(self.known.seen, facts.id, facts.host, facts.port, facts.name)
        facts.known = await asyncio.to_thread(self.known.get, facts.id)
        if facts.known is not None and facts.session is not None:
            await facts.session.move(facts.known)
            if facts.watching is not None:  # do not wait out the pause between tries at the old address
                await _ended(facts)
                await self.watch(facts)

    async def _follow(self, facts: BoardFacts, session: BoardSession) -> None:
        after = await asyncio.to_thread(self._telemetry.newest, facts.id)
        async with contextlib.aclosing(session.records(after=after, acknowledge=True)) as records:
            async for record in records:
                facts.last_seen = time.time()
                is_late = session.is_catching_up
                self._telemetry.take(facts.id, record, is_late=is_late)
                if is_late:
                    continue
                if record.get("k") == "win":
                    sensors = record.get("sys")
                    facts.sensors = dict(sensors) if isinstance(sensors, Mapping) else {}
                    self.show(facts)
                elif record.get("k") in ("install", "evt"):
                    self.chore(self.ask(facts))

    def _on_presence(self, facts: BoardFacts, presence: Presence, problem: EdgeStudioError | None) -> None:
        facts.presence, facts.problem = presence, problem
        if presence == "online":
            facts.last_seen = time.time()
            self.chore(self.ask(facts))
        self._telemetry.presence(facts.id, presence, problem)
        self.show(facts)


async def _ended(facts: BoardFacts) -> None:
    if facts.watching is not None:
        task, facts.watching = facts.watching, None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def studio_name() -> str:
    """What this desk is called on the boards that it pairs with."""
    return f"EdgeStudio on {socket.gethostname()}"[:60]
