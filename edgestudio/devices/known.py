"""The boards that this desk is paired with: certificates and last addresses, in one private file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgestudio.devices.vault import exclusive
from edgestudio.wire import api
from edgestudio.wire.errors import DeviceError, EdgeStudioError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, clean_text, parse_json
from edgestudio.wire.files import write_atomically
from edgestudio.wire.identity import fingerprint_of, short_id

MAX_BOARDS = 10_000


@dataclass(frozen=True)
class KnownBoard:
    """A paired board; `certificate_pem` is the pin, `host` and `port` where it was last seen (Unix seconds)."""

    fingerprint: str
    name: str
    host: str
    port: int
    certificate_pem: str
    role: api.Role = "viewer"
    is_simulated: bool = False
    paired_at: float = 0.0
    last_seen: float = 0.0

    @property
    def short_id(self) -> str:
        """The board's id for people."""
        return short_id(self.fingerprint)

    @classmethod
    def from_dict(cls, value: object) -> KnownBoard:
        """Read a stored board; raises InputError."""
        f = Fields(value, "board")
        pem, role = f.text("certificate_pem", limit=8192), f.text("role", default="viewer")
        return cls(
            fingerprint=fingerprint_of(pem),
            name=clean_text(f.text("name", limit=200), 64),
            host=f.text("host", limit=255),
            port=f.integer("port", low=1, high=65535),
            certificate_pem=pem,
            role=api.role(role) if api.is_role(role) else "viewer",
            is_simulated=f.flag("is_simulated", default=False),
            paired_at=f.number("paired_at", default=0.0) or 0.0,
            last_seen=f.number("last_seen", default=0.0) or 0.0,
        )


class KnownBoards:
    """The file; several windows and commands of one user may use it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[KnownBoard]:
        """Every paired board by name; raises TrustError when the file is damaged."""
        return sorted(self._read().values(), key=lambda b: (b.name, b.fingerprint))

    def get(self, fingerprint: str) -> KnownBoard | None:
        """The board with this fingerprint, None when it is not paired."""
        return self._read().get(fingerprint)

    def find(self, reference: str) -> KnownBoard:
        """The board that a name, an id prefix or `host:port` means; raises DeviceError when none or several do."""
        boards = self.all()
        wanted = reference.strip()
        plain = wanted.upper().replace("-", "")
        found = [
            b
            for b in boards
            if wanted in (b.name, f"{b.host}:{b.port}")
            or (len(wanted) >= 4 and b.fingerprint.startswith(wanted.lower()))
            or (len(plain) >= 4 and b.short_id.replace("-", "").startswith(plain))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{b.name} ({b.short_id})" for b in found)
            raise DeviceError(
                f"{reference!r} means several boards: {names}.", hint="Use the id.", code="ambiguous"
            )
        raise DeviceError(
            f"No paired board is called {reference!r}.",
            hint="`edgestudio devices` lists the boards; pair it first.",
            code="unknown-board",
        )

    def add(self, board: KnownBoard) -> None:
        """Keep a board, in place of what was known of it."""
        with self._changing() as boards:
            boards[board.fingerprint] = replace(board, paired_at=board.paired_at or time.time())

    def seen(self, fingerprint: str, host: str, port: int, name: str = "") -> None:
        """Note where a board answered just now; a board that is not paired is ignored."""
        with self._changing() as boards:
            known = boards.get(fingerprint)
            if known is not None:
                boards[fingerprint] = replace(
                    known,
                    host=host,
                    port=port,
                    name=clean_text(name, 64) or known.name,
                    last_seen=time.time(),
                )

    def remove(self, fingerprint: str) -> KnownBoard | None:
        """Forget a board; returns what was known of it."""
        with self._changing() as boards:
            return boards.pop(fingerprint, None)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, KnownBoard]]:
        with exclusive(self._path.with_suffix(".lock")):
            boards = self._read()
            before = dict(boards)
            yield boards
            if boards != before:
                write_atomically(
                    self._path, canonical_json({"v": 1, "boards": [asdict(b) for b in boards.values()]})
                )

    def _read(self) -> dict[str, KnownBoard]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            stored = Fields(parse_json(data, where=self._path.name), self._path.name)
            boards = [KnownBoard.from_dict(b) for b in stored.items("boards", limit=MAX_BOARDS)]
        except EdgeStudioError as e:
            raise TrustError(
                f"The list of paired boards is damaged: {e}",
                hint=f"Restore {self._path} from a backup, or remove it and pair the boards again.",
                code="bad-list",
            ) from e
        return {b.fingerprint: b for b in boards}
