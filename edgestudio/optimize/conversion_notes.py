"""Says once for a whole data set what the pipeline changed about its items."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgestudio.runtime.pipeline.pipeline import Runner

# Sets of photographs have as many sizes as pictures; a few of them say enough.
_SHOWN = 3
_MAX_KINDS = 1000


class ConversionNotes:
    """Counts what happens to each item of a data set on its way into the model."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._found: Counter[str] = Counter()
        self._items = self._changed = 0

    def see(self, item: Any) -> None:
        """Look at one raw item that the runner has taken."""
        changes = self._runner.conversions(item)
        self._items += 1
        self._changed += bool(changes)
        for change in changes:
            if change in self._found or len(self._found) < _MAX_KINDS:
                self._found[change] += 1

    @property
    def text(self) -> str:
        """For example "50 of 50 items do not have the model's form: 50 resized from …"; "" when none was changed."""
        if not self._changed:
            return ""
        shown = [f"{count} {change}" for change, count in self._found.most_common(_SHOWN)]
        more = len(self._found) - len(shown)
        rest = f", and {more} more kinds of change" if more > 0 else ""
        return (
            f"{self._changed} of {self._items} items do not have the form that the model takes, "
            f"and were converted: {', '.join(shown)}{rest}"
        )
