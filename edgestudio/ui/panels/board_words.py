"""What the rows of boards say in words: presence, what runs, what is newer, what the sensors read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from edgestudio.runtime.backend import runtime_title
from edgestudio.studio.rows import ActiveModel, BoardRow, ModelRow
from edgestudio.ui import wording
from edgestudio.wire.errors import InputError
from edgestudio.wire.records import SensorReading

# Presence: icon, colour role, word. Never the colour alone.
PRESENCE = {
    "online": ("online", "good", "Online"),
    "offline": ("offline", "bad", "Offline"),
    "unknown": ("unknown", "muted", "Not connected"),
}


def presence(row: BoardRow) -> tuple[str, str, str]:
    """Icon, role and sentence of whether the board is there."""
    icon, role, word = PRESENCE[row.presence]
    if row.can_start:
        word = "Stopped"
    elif row.presence == "offline" and row.last_seen:
        word = f"Offline, last seen {wording.ago(row.last_seen)}"
    elif row.presence == "unknown" and not row.is_paired:
        word = "Found, not paired"
    return icon, role, word


def hardware(row: BoardRow) -> str:
    """What the board is."""
    return row.hardware or "Hardware not known yet"


def whose(row: BoardRow) -> str:
    """That a board runs on this computer although this window did not start it; "" for all others."""
    is_guest = row.is_here and not row.is_local and not row.can_start and row.presence != "offline"
    return "Runs on this computer, outside of this window" if is_guest else ""


def all_running(active: Sequence[ActiveModel]) -> str:
    """One line for all that a board runs: the first of them, and how many more there are."""
    if not active:
        return ""
    more = f" and {len(active) - 1} more" if len(active) > 1 else ""
    return f"{running(active[0])}{more}"


def abilities(row: BoardRow) -> str:
    """The processor's architecture, where the hardware does not say it, and the runtimes."""
    arch = row.arch if row.arch != row.hardware else ""
    return " · ".join(part for part in (arch, ", ".join(map(runtime_title, row.runtimes))) if part)


def accepts_models(row: BoardRow) -> bool:
    """True when a model may be dropped on the board."""
    return row.is_paired and row.presence != "offline"


def refusal(row: BoardRow) -> str:
    """Why nothing may be dropped on the board."""
    if row.can_start:
        return "This board is not running"
    return "Pair this board first" if not row.is_paired else "This board is offline"


def running(active: ActiveModel) -> str:
    """One line for a slot: model, version, release."""
    version = f" {active.version}" if active.version else ""
    return f"{active.model}{version} · release {active.release}"


def freshness(
    active: ActiveModel, models: Iterable[ModelRow], released: Iterable[tuple[str, str]] = ()
) -> str:
    """Whether something later than what runs is known here: "newest", the version to update to, or a variant's name.

    `released` are the releases that are known, as hash of the artifact and version. Among variants that were never
    released, only one made later by the same recipe counts: another recipe is another choice, not a newer one.
    """
    rows = {row.sha256: row for row in models}
    mine = rows.get(active.sha256)
    if mine is None:
        return ""
    root = _root(mine, rows)
    family = {sha256 for sha256, row in rows.items() if _root(row, rows) == root}
    known = [(sha256, version) for sha256, version in released if sha256 in family]
    known += [(sha256, rows[sha256].version) for sha256 in family if rows[sha256].version]
    latest = max((version for _, version in known), key=_order, default="")
    if latest and _order(latest) > _order(active.version):
        return f"update available: {latest}"
    out = {sha256 for sha256, _ in known} | {active.sha256}
    alike = [rows[each] for each in family if rows[each].recipe == mine.recipe and each not in out]
    newer = max(
        (row for row in alike if row.created > mine.created), key=lambda row: row.created, default=None
    )
    return f"newer: {newer.name}" if newer else "newest"


def _order(version: str) -> tuple[int, ...]:
    """Versions in their order: by their numbers, so that 1.10 comes after 1.9."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def temperature_c(row: BoardRow) -> float | None:
    """The hottest temperature that the board reports now; None while it reports nothing."""
    if row.presence == "offline":
        return None
    return max((each.value for each in _temperatures(row) if each.value is not None), default=None)


def temperature(row: BoardRow) -> str:
    """The temperature as text, a dash where there is none."""
    value = temperature_c(row)
    return f"{value:.0f} °C" if value is not None else wording.DASH


def temperature_reason(row: BoardRow) -> str:
    """Why there is no temperature, or which one is shown."""
    if temperature_c(row) is not None:
        return (
            "Simulated temperature" if row.is_simulated else "The hottest temperature that the board reports"
        )
    if row.presence == "offline":
        return "The board is offline"
    reasons = [reading.reason for reading in _temperatures(row) if reading.reason]
    return reasons[0].capitalize() if reasons else "No temperature was reported yet"


def _temperatures(row: BoardRow) -> Iterable[SensorReading]:
    for value in row.sensors.values():
        try:
            reading = SensorReading.from_wire(value)
        except InputError:
            continue
        if reading.unit == "°C":
            yield reading


def _root(row: ModelRow, rows: Mapping[str, ModelRow]) -> str:
    seen: set[str] = set()
    while row.parent in rows and row.sha256 not in seen:
        seen.add(row.sha256)
        row = rows[row.parent or ""]
    return row.sha256
