"""Sums up how long each operator took over several runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class _Row:
    name: str
    op: str
    unit: str
    total_ms: float = 0.0
    calls: int = 0


class OperatorTimes:
    """Collects (node, duration) pairs of `runs` inferences; runs again a node by its name."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._rows: dict[str, _Row] = {}

    def add(self, name: str, op: str, unit: str, duration_ms: float) -> None:
        """Count one execution of the node `name`."""
        row = self._rows.setdefault(name, _Row(name, op, unit))
        row.total_ms += duration_ms
        row.calls += 1

    def rows(self) -> list[dict[str, Any]]:
        """[{name, op, unit, mean_ms per inference, calls per inference, share of the sum}], slowest first."""
        whole = sum(row.total_ms for row in self._rows.values()) or 1.0
        return [
            {
                "name": row.name,
                "op": row.op,
                "unit": row.unit,
                "mean_ms": row.total_ms / self._runs,
                "calls": row.calls / self._runs,
                "share": row.total_ms / whole,
            }
            for row in sorted(self._rows.values(), key=lambda row: -row.total_ms)
        ]
