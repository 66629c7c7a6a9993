"""Boards as seen from the desk: found, started from here, paired, present."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.paths import Paths
from edgestudio.studio.rows import BoardRow


class BoardService:
    """The boards as rows; a row's id is the fingerprint of the board's certificate once that is known."""

    def __init__(self, bus: EventBus, paths: Paths) -> None:
        self.rows: Ledger[BoardRow] = Ledger(bus, "boards")
        self._paths = paths

    async def start_discovery(self) -> None:
        """Show the paired boards, connect to them, and listen for the service records of others."""

    async def stop(self) -> None:
        """Close the sessions, stop listening, end the boards that were started from here."""

    async def add_address(self, host: str, port: int) -> BoardRow:
        """Ask the board at an address who it is and show it."""
        raise NotImplementedError

    async def add_address_text(self, address: str) -> BoardRow:
        """The same for "host", "host:port" or "[v6]:port" as a person writes it; raises InputError."""
        raise NotImplementedError

    async def add_simulated(self, profile: str = "pi5", *, name: str | None = None) -> str:
        """Start the real agent with simulated sensors as a process of its own; returns its name.

        Its row comes by its service record, like any board's, and says `is_simulated` and `screen`.
        """
        raise NotImplementedError

    async def add_this_computer(self) -> str:
        """Start the real agent with this computer's sensors; returns its name."""
        raise NotImplementedError

    async def stop_local(self, board_id: str) -> None:
        """End a board that was started from here; its data stays for the next start."""
        raise NotImplementedError

    async def pair(self, board_id: str, code: str) -> BoardRow:
        """Pair with the code that the board shows; raises TrustError when it does not hold."""
        raise NotImplementedError

    async def unpair(self, board_id: str) -> bool:
        """Make the board forget this desk, and this desk the board; False when it could not be told."""
        raise NotImplementedError

    async def forget(self, board_id: str) -> None:
        """Take a board off the list without asking it; one that was started from here ends and loses its data."""
        raise NotImplementedError

    async def locate(self, reference: str, *, wait_s: float = 5.0) -> BoardRow:
        """As `find`, but looks on the network first where nothing known fits; for the command line."""
        raise NotImplementedError

    async def survey(self, wait_s: float) -> list[BoardRow]:
        """The boards that are known or announce themselves within `wait_s` seconds; for the command line."""
        raise NotImplementedError

    def records(self, board_id: str) -> AsyncIterator[dict[str, Any]]:
        """What a paired board reports from now on, as it travels; ends never."""
        raise NotImplementedError

    async def bench(
        self, board_id: str, *, model: str | None = None, soak_minutes: float = 0.0
    ) -> dict[str, Any]:
        """Latency of a model that runs on a board, measured there."""
        raise NotImplementedError

    def find(self, reference: str) -> BoardRow:
        """The board that a name, an id prefix or host:port means; raises DeviceError when none or several do."""
        raise NotImplementedError

    def profiles(self) -> list[dict[str, str]]:
        """What can be simulated: `id, title, description`."""
        raise NotImplementedError

    def agent_log(self, board_id: str) -> Path | None:
        """The log of a board that was started from here."""
        raise NotImplementedError
