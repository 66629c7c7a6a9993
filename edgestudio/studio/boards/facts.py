"""Everything that is known about one board, from its record, its session and its screen, as one row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgestudio.devices.discovery import Found
from edgestudio.devices.known import KnownBoard
from edgestudio.devices.pairing import Greeting
from edgestudio.devices.session import BoardSession
from edgestudio.runtime.uplink import is_loopback
from edgestudio.studio.boards.local_boards import LocalBoard
from edgestudio.studio.rows import ActiveModel, BoardRow, Presence
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.identity import short_id


@dataclass(slots=True)
class BoardFacts:
    """Gathered piece by piece; `row` is what they come to. `id` is the certificate's fingerprint."""

    id: str
    name: str
    host: str
    port: int
    is_simulated: bool = False
    is_announced: bool = False
    is_here: bool = False
    pairing_open: bool = False
    hardware: str = ""
    arch: str = ""
    known: KnownBoard | None = None
    session: BoardSession | None = None
    watching: asyncio.Task[None] | None = None
    presence: Presence = "unknown"
    problem: EdgeStudioError | None = None
    last_seen: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    sensors: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_known(cls, known: KnownBoard) -> BoardFacts:
        """A paired board as it is remembered."""
        facts = cls(known.fingerprint, known.name, known.host, known.port, known.is_simulated, known=known)
        facts.last_seen = known.last_seen or None
        return facts

    @classmethod
    def of_found(cls, found: Found) -> BoardFacts:
        """A board that announced itself."""
        facts = cls(found.fingerprint, found.name, found.host, found.port)
        facts.found(found)
        return facts

    def found(self, found: Found) -> None:
        """Take over what a board announced."""
        self.is_announced = True
        self.name, self.host, self.port = found.name, found.host, found.port
        self.is_here = found.is_here
        self.is_simulated, self.pairing_open = found.is_simulated, found.pairing_open
        self.hardware, self.arch = found.hardware, found.arch

    @classmethod
    def of_greeting(cls, greeting: Greeting, host: str, port: int) -> BoardFacts:
        """A board that answered at an address."""
        facts = cls(greeting.fingerprint, greeting.name, host, port, greeting.is_simulated)
        facts.greeted(greeting, host, port)
        return facts

    def greeted(self, greeting: Greeting, host: str, port: int) -> None:
        """Take over what a board said of itself."""
        self.name, self.host, self.port = greeting.name, host, port
        self.is_simulated = self.is_simulated or greeting.is_simulated
        self.pairing_open = greeting.pairing_open
        self.hardware = str(greeting.hello.get("hardware") or greeting.hello.get("hw") or self.hardware)
        self.arch = str(greeting.hello.get("arch") or self.arch)

    def matches(self, reference: str) -> bool:
        """True when a person could mean this board: its name, host:port, or the start of its id."""
        wanted = reference.strip()
        plain = wanted.upper().replace("-", "")
        return (
            wanted in (self.name, f"{self.host}:{self.port}")
            or (len(wanted) >= 4 and self.id.startswith(wanted.lower()))
            or (len(plain) >= 4 and short_id(self.id).replace("-", "").startswith(plain))
        )

    def row(self, local: LocalBoard | None, *, can_start: bool) -> BoardRow:
        """What the stores hold."""
        return BoardRow(
            id=self.id,
            name=self.name,
            address=self.host,
            port=self.port,
            presence=self.presence if self.known else "unknown",
            is_paired=self.known is not None,
            is_simulated=self.is_simulated,
            is_local=local is not None,
            is_here=self.is_here or is_loopback(self.host),
            can_start=can_start and self.presence != "online",
            pairing_open=self.pairing_open,
            role=self.known.role if self.known else "",
            hardware=str(self.info.get("hardware") or self.hardware),
            arch=str(self.info.get("arch") or self.arch),
            runtimes=tuple(_names(self.info.get("runtimes"))),
            active=tuple(active_models(self.state)),
            last_seen=self.last_seen,
            problem=self.problem.message if self.problem else "",
            hint=self.problem.hint if self.problem else "",
            screen=tuple(local.screen) if local else (),
            sensors=dict(self.sensors),
        )


def active_models(state: Mapping[str, Any]) -> Iterator[ActiveModel]:
    """What a board runs, from its own account of its slots."""
    models = state.get("models") or state.get("slots") or {}
    entries = (
        models.items() if isinstance(models, Mapping) else ((entry.get("model"), entry) for entry in models)
    )
    for name, slots in entries:
        active = slots.get("active") if isinstance(slots, Mapping) else None
        if not isinstance(active, Mapping):
            continue
        yield ActiveModel(
            model=str(name),
            release=_whole(active.get("release", active.get("counter"))),
            version=str(active.get("version") or ""),
            sha256=str(active.get("sha256") or active.get("model_sha256") or ""),
            healthy=slots.get("serving"),
        )


def _names(runtimes: object) -> list[str]:
    if isinstance(runtimes, Mapping):
        return [str(name) for name in runtimes]
    if isinstance(runtimes, list):
        return [str(entry.get("name") if isinstance(entry, Mapping) else entry) for entry in runtimes]
    return []


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
