"""How the board's state reads to a studio: plain data, no secrets, names that are stable."""

from __future__ import annotations

import time
from typing import Any

from edgestudio.agent.install.quarantine import quarantined
from edgestudio.agent.run.models import BoardModels
from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.state import InstallRow, ModelRow


def install_view(store: BoardStore, row: InstallRow) -> dict[str, Any]:
    """One install; `active` and `previous` are versions, `release` is the counter."""
    return {
        "id": row.id, "model": row.model, "release": counter_of(row.release),
        "version": row.version, "state": row.state, "history": list(row.history), "reason": row.reason,
        "tries": dict(row.tries), "transitions": row.transitions, "active": version_of(store, row.active),
        "previous": version_of(store, row.previous), "rolled_back_to": version_of(store, row.rolled_back_to),
        "started": row.started, "detail": row.doing, "fraction": row.fraction,
    }  # fmt: skip


def version_of(store: BoardStore, release: str | None) -> str | None:
    """What people call a release: its version, else its counter; also one that was removed since."""
    if release is None:
        return None
    row = store.release_row(release)
    tried = (install.version for install in store.state.installs.values() if install.release == release)
    version = row.version if row is not None else next(tried, "")
    return version or f"r{counter_of(release)}"


def counter_of(release: str) -> int:
    """The counter of a release by its id, which is COUNTER-DIGEST."""
    counter = release.split("-", 1)[0]
    return int(counter) if counter.isdecimal() else 0


def models_view(store: BoardStore, models: BoardModels) -> dict[str, Any]:
    """Every model with its slots and the host that serves it."""
    return {name: _model(store, models, name, row) for name, row in store.state.models.items()}


def placement_view(models: BoardModels) -> dict[str, Any]:
    """Where each node of each serving model runs: {model: {counts, nodes, nodes_left_out, requested, alarm, ...}}."""
    seats = {name: bay.serving for name, bay in models.bays.items()}
    return {name: dict(seat.loaded.placement) for name, seat in seats.items() if seat is not None}


def _model(store: BoardStore, models: BoardModels, name: str, row: ModelRow) -> dict[str, Any]:
    bay = models.bays.get(name)
    seat = bay.serving if bay else None
    host = None
    if seat is not None:
        host = {
            "release": seat.release, "pid": seat.host.pid, "rss_bytes": seat.host.rss_bytes(),
            "alive": seat.host.is_alive, "backend": seat.loaded.backend, "threads": seat.host.spec.threads,
            "placement": {k: v for k, v in seat.loaded.placement.items() if k != "nodes"},
            "load_ms": seat.loaded.load_ms,
            "inputs": seat.loaded.inputs, "outputs": seat.loaded.outputs, "samples": seat.loaded.samples,
        }  # fmt: skip
    return {
        "active": _release(store, row.active),
        "previous": _release(store, row.previous),
        "candidate": _release(store, row.candidate),
        "floor": row.floor,
        "quarantine": dict(row.quarantine),
        "quarantined": quarantined(store, name),
        "paused": row.paused,
        "serving": seat is not None and seat.host.is_alive,
        "rate_hz": bay.rate_hz if bay else None,
        "source_port": bay.live.port if bay and bay.live else None,
        "source_problem": seat.loaded.source_problem if seat else "",
        "host": host,
    }


def _release(store: BoardStore, release: str | None) -> dict[str, Any] | None:
    row = store.release_row(release)
    if row is None:
        return None
    return {
        "id": release, "release": row.counter, "version": row.version, "sha256": row.model_sha256,
        "manifest": row.manifest, "committed_at": row.committed_at,
        "since_s": None if row.committed_at is None else max(0.0, time.time() - row.committed_at),
    }  # fmt: skip
