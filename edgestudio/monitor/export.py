"""Writes what a board reported as CSV: one row per window, an empty cell for every gap."""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgestudio.monitor.ring import Floats
from edgestudio.monitor.series import Snapshot
from edgestudio.wire.errors import InputError


def columns(snapshot: Snapshot) -> dict[str, Floats]:
    """The lines of a snapshot by column name with its unit, each of the length of `time`."""
    table: dict[str, Floats] = {
        "throughput_hz": snapshot.throughput_hz,
        "errors": snapshot.errors,
        "dropped": snapshot.dropped,
        "queue_max": snapshot.queue_max,
        "mean_confidence": snapshot.mean_confidence,
        "drift_w1": snapshot.drift_distance,
    }
    for stage, lines in snapshot.latency_ms.items():
        table |= {f"{stage}_p{percent}_ms": values for percent, values in lines.items()}
    for name, sensor in snapshot.sensors.items():
        unit = sensor.unit.replace("°", "").replace("%", "percent").lower()
        table[f"{name}_{unit}" if unit else name] = sensor.values
    return table


def write_csv(snapshot: Snapshot, path: Path, board: str) -> int:
    """Write `snapshot` of `board` to `path`, whole or not at all; returns the number of rows. Raises InputError."""
    table = columns(snapshot)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}", hint="Choose another folder."
        ) from error
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["time_utc", "unix_s", "board", "simulated", *table])
            for index, moment in enumerate(snapshot.time):
                cells = [_cell(values[index]) for values in table.values()]
                stamp = datetime.fromtimestamp(float(moment), UTC).isoformat(timespec="milliseconds")
                writer.writerow([stamp, f"{moment:.3f}", board, str(snapshot.is_simulated).lower(), *cells])
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}", hint="Is the disk full?") from error
    return len(snapshot.time)


def _cell(value: np.float64) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""
