"""The one mutable truth of the board: a small document, replaced atomically, its previous generation kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestudio.agent.store.fsops import FileOps, storage_error

SCHEMA = 1
KEPT_INSTALLS = 20


@dataclass
class ReleaseRow:
    """A release that the board has or had: where its manifest blob is and whether it was ever committed."""

    model: str
    version: str
    counter: int
    manifest: str
    """Digest of the canonical manifest in the blob store."""
    model_sha256: str
    committed_at: float | None = None


@dataclass
class ModelRow:
    """One model's slots; values are release ids."""

    active: str | None = None
    previous: str | None = None
    candidate: str | None = None
    floor: int = 0
    """Highest release counter that was ever committed; lower ones are refused."""
    quarantine: dict[str, str] = field(default_factory=dict)
    """Manifest digest -> why it failed here; refused until a person releases it."""
    failed: dict[str, int] = field(default_factory=dict)
    """Release counter of each manifest in quarantine, as far as it is known."""
    paused: bool = False


@dataclass
class InstallRow:
    """One install; `state` is persisted before the work of that state starts."""

    id: str
    model: str
    release: str
    version: str
    target: str
    key: str
    peer: str
    state: str
    started: float
    tries: dict[str, int] = field(default_factory=dict)
    transitions: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    active: str | None = None
    previous: str | None = None
    rolled_back_to: str | None = None
    is_revert: bool = False
    """Whether this goes back to a release that was committed before."""
    doing: str = ""
    """What the present state is busy with, where that takes long."""
    fraction: float | None = None
    """How much of that is done."""
    is_forced: bool = False
    """Whether crashes of the active release ask for that, not a person."""


@dataclass
class BoardState:
    """Everything that must survive a power cut."""

    generation: int = 0
    models: dict[str, ModelRow] = field(default_factory=dict)
    releases: dict[str, ReleaseRow] = field(default_factory=dict)
    installs: dict[str, InstallRow] = field(default_factory=dict)
    tuf_generation: int = 0
    time_floor: float = 0.0
    safe_mode: str = ""
    """Why the agent serves nothing, empty in normal operation."""
    quick_starts: list[float] = field(default_factory=list)
    boots: int = 0


def encode(state: BoardState) -> bytes:
    """The state with a checksum over its body, as it is written."""
    body = json.dumps(dataclasses.asdict(state), sort_keys=True, separators=(",", ":"))
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"schema": SCHEMA, "sha256": checksum, "body": body}).encode()


def decode(data: bytes) -> BoardState | None:
    """The state in `data`, None when any of it is not as it was written."""
    try:
        envelope = json.loads(data)
        body = envelope["body"]
        if envelope["schema"] > SCHEMA or hashlib.sha256(body.encode()).hexdigest() != envelope["sha256"]:
            return None
        fields = json.loads(body)
        state: BoardState = _build(BoardState, fields)
        state.models = {key: _build(ModelRow, row) for key, row in fields["models"].items()}
        state.releases = {key: _build(ReleaseRow, row) for key, row in fields["releases"].items()}
        state.installs = {key: _build(InstallRow, row) for key, row in fields["installs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return state


def _build(kind: type[Any], fields: dict[str, Any]) -> Any:
    # Fields of a newer agent are dropped, so that a downgraded agent still reads the file.
    names = {item.name for item in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in fields.items() if key in names})


class StateFile:
    """Reads and replaces `state.json`; `state.json.1` is the generation before it."""

    def __init__(self, ops: FileOps, folder: Path) -> None:
        self._ops = ops
        self._path = folder / "state.json"
        self._older = folder / "state.json.1"
        self._part = folder / "state.json.part"
        self.state = BoardState()
        self.on_change: Callable[[], None] = lambda: None

    def load(self) -> str:
        """Read the state; returns `current`, `previous`, `new` (nothing was there) or `lost` (both unreadable)."""
        self._ops.remove(self._part)
        found = False
        for path, verdict in ((self._path, "current"), (self._older, "previous")):
            try:
                data = self._ops.read(path)
            except FileNotFoundError:
                continue
            except OSError:
                found = True
                continue
            found = True
            if (state := decode(data)) is not None:
                self.state = state
                return verdict
            # Never renamed over the good generation by the next save.
            self._ops.remove(path)
        self.state = BoardState()
        return "lost" if found else "new"

    def save(self) -> None:
        """Make the present state durable, or raise DeviceError and leave the file as it was."""
        self.state.generation += 1
        try:
            self._ops.remove(self._part)
            self._ops.write_new(self._part, encode(self.state))
            self._ops.fsync(self._part)
            if self._ops.exists(self._path):
                self._ops.replace(self._path, self._older)
            self._ops.replace(self._part, self._path)
            self._ops.fsync_dir(self._path.parent)
        except OSError as failure:
            raise storage_error(failure, "saving the board's state") from failure
        self.on_change()

    def forget_old_installs(self) -> None:
        """Keep the newest finished installs only; takes effect with the next save."""
        finished = [row for row in self.state.installs.values() if row.state in {"COMMITTED", "FAILED"}]
        finished.sort(key=lambda row: row.started)
        for row in finished[:-KEPT_INSTALLS]:
            del self.state.installs[row.id]
