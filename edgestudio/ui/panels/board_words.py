"""What the rows of boards say in words: presence, what runs, what is newer, what the sensors read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgestudio.studio.rows import ActiveModel, BoardRow, ModelRow
from edgestudio.ui import wording

# Presence: icon, colour role, word. Never the colour alone.
PRESENCE = {
    "online": ("online", "good", "Online"),
    "offline": ("offline", "bad", "Offline"),
    "unknown": ("unknown", "muted", "Not connected"),
}


def presence(row: BoardRow) -> tuple[str, str, str]:
    """Icon, role and sentence of whether the board is there."""
    icon, role, word = PRESENCE[row.presence]
    if row.presence == "offline" and row.last_seen:
        word = f"Offline, last seen {wording.ago(row.last_seen)}"
    elif row.presence == "unknown" and not row.is_paired:
        word = "Found, not paired"
    return icon, role, word


def hardware(row: BoardRow) -> str:
    """What the board is and which runtimes it has."""
    parts = [row.hardware, row.arch, ", ".join(row.runtimes)]
    return " · ".join(part for part in parts if part) or "Hardware not known yet"


def accepts_models(row: BoardRow) -> bool:
    """True when a model may be dropped on the board."""
    return row.is_paired and row.presence != "offline"


def refusal(row: BoardRow) -> str:
    """Why nothing may be dropped on the board."""
    return "Pair this board first" if not row.is_paired else "This board is offline"


def running(active: ActiveModel) -> str:
    """One line for a slot: model, version, release."""
    version = f" {active.version}" if active.version else ""
    return f"{active.model}{version} · release {active.release}"


def freshness(active: ActiveModel, models: Iterable[ModelRow]) -> str:
    """Whether the library holds a later artifact of the same lineage and recipe: "newest" or its name."""
    rows = {row.sha256: row for row in models}
    mine = rows.get(active.sha256)
    if mine is None:
        return ""
    root = _root(mine, rows)
    alike = [row for row in rows.values() if row.recipe == mine.recipe and _root(row, rows) == root]
    newest = max(alike, key=lambda row: row.created)
    return "newest" if newest.sha256 == active.sha256 else f"newer: {newest.name}"


def temperature_c(row: BoardRow) -> float | None:
    """The hottest temperature that the board reports."""
    values = [value for name, value in _readings(row.sensors) if "temperature" in name or name.endswith("_c")]
    return max(values, default=None)


def temperature(row: BoardRow) -> str:
    """The temperature as text, with the reason where there is none."""
    value = temperature_c(row)
    return f"{value:.0f} °C" if value is not None else wording.DASH


def _readings(sensors: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for name, reading in sensors.items():
        value = reading.get("value") if isinstance(reading, Mapping) else reading
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _root(row: ModelRow, rows: Mapping[str, ModelRow]) -> str:
    seen: set[str] = set()
    while row.parent in rows and row.sha256 not in seen:
        seen.add(row.sha256)
        row = rows[row.parent or ""]
    return row.sha256
