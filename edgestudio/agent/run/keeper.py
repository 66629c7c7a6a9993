"""What a model's bay expects of those around it: who judges its answers, and who keeps the board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgestudio.agent.run.seat import Seat

if TYPE_CHECKING:
    from edgestudio.agent.observe.capture import CaptureRing
    from edgestudio.agent.run.bay import ModelBay


class Observer(Protocol):
    """Whoever judges what the bay serves, such as the health gate of a trial."""

    def observe(self, answer: Mapping[str, Any], *, sample: int | None = None) -> None:
        """One answer was given."""

    def observe_error(self) -> None:
        """One request was not answered."""


class Keeper(Protocol):
    """What a bay tells and asks the supervisor."""

    folder: Path
    captures: CaptureRing | None

    def neighbour(self, model: str) -> ModelBay | None:
        """The bay of another model that serves."""

    async def reopen(self, model: str, release: str) -> Seat:
        """Load `release` again in a new host."""

    def event(self, name: str, text: str, *, level: str = "info", model: str = "", **data: Any) -> None:
        """Record something that happened."""

    def unfit(self, model: str, release: str, reason: str) -> None:
        """The serving release died too often: go back to the one before."""
