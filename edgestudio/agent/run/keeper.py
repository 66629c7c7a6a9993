"""What serves one model expects of those around it: who judges its answers, and who keeps the board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgestudio.agent.run.queue import NORMAL
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.run.work import Work

if TYPE_CHECKING:
    from edgestudio.agent.observe.capture import CaptureRing


class Observer(Protocol):
    """Whoever judges what a model answers, such as the health gate of a trial."""

    def observe(self, answer: Mapping[str, Any], *, sample: int | None = None) -> None:
        """One answer was given."""

    def observe_error(self) -> None:
        """One request was not answered."""


class Neighbour(Protocol):
    """Another model of the board."""

    async def ask_work(
        self, work: Work, *, deadline_s: float | None, priority: int = NORMAL
    ) -> dict[str, Any]:
        """Its answer; EdgeStudioError when there is none."""

    async def offer_work(self, work: Work, *, priority: int) -> None:
        """Line it up; nobody waits for the answer."""


class Surroundings(Protocol):
    """What a live pipeline needs of the agent."""

    folder: Path
    """Where the agent keeps its data, and the board's owner the board's configuration."""

    def neighbour(self, model: str) -> Neighbour | None:
        """Another model of the board that serves."""

    def event(self, name: str, text: str, *, level: str = "info", model: str = "", **data: Any) -> None:
        """Record something that happened."""


class Keeper(Surroundings, Protocol):
    """What serves a model tells and asks the board."""

    captures: CaptureRing | None

    async def reopen(self, model: str, release: str) -> Seat:
        """Load `release` again in a new host."""

    def unfit(self, model: str, release: str, reason: str) -> None:
        """The serving release died too often: go back to the one before."""
