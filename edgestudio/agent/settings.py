"""What an agent is told when it starts: its data, its name, where it listens, what it simulates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AgentSettings:
    """Fixed for the life of one agent process; everything that changes is in the state file."""

    data_dir: Path
    name: str
    host: str = "0.0.0.0"  # noqa: S104 - a board serves its network; simulated boards bind loopback
    port: int = 0
    simulate: str | None = None
    """Profile of the simulated sensors (`pi5`, `pi4`, `orin-nano`, `x86`), None for real ones."""
    desk: str = ""
    """Beginning of the fingerprint of the studio that started this agent for itself; others do not list it."""
    sysroot: Path = Path("/")
    """Where sensors look for /sys and /proc."""
