"""How long work reports where it is, whoever listens: a job's pipe, a terminal, a test."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """What a worker's entry point is given to report through."""

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Enter or advance the phase `name`; `fraction` in 0..1 is of the whole job, None when unknown."""

    def log(self, line: str) -> None:
        """Add a line to the job's log."""

    def partial(self, key: str, value: Any) -> None:
        """Publish an early, JSON-able part of the result, such as what was recognised so far."""


class Share:
    """A `Progress` for a part of a job: its fractions 0..1 become those from `start` to `end` of the whole."""

    def __init__(self, whole: Progress, start: float, end: float) -> None:
        self._whole, self._start, self._end = whole, start, end

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Enter or advance the phase `name` of the part."""
        at = None if fraction is None else self._start + (self._end - self._start) * fraction
        self._whole.phase(name, at)

    def log(self, line: str) -> None:
        """Add a line to the job's log."""
        self._whole.log(line)

    def partial(self, key: str, value: Any) -> None:
        """Publish an early part of the result."""
        self._whole.partial(key, value)


class Silent:
    """A `Progress` that nobody listens to."""

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Ignore it."""

    def log(self, line: str) -> None:
        """Ignore it."""

    def partial(self, key: str, value: Any) -> None:
        """Ignore it."""
