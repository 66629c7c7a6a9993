"""Boards that run on this computer: the real agent as a child process, its console as the board's screen."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edgestudio.model.library.folder_lock import FolderLock
from edgestudio.studio.jobs.child import (
    child_environment,
    end_process,
    own_command,
    spawn_options,
    until_gone,
)
from edgestudio.studio.paths import Paths
from edgestudio.wire.errors import DeviceError, EdgeStudioError
from edgestudio.wire.files import write_atomically
from edgestudio.wire.identity import fingerprint_of
from edgestudio.wire.processes import start_process

_SCREEN_LINES = 40
_READY_S = 60.0
_GRACE_S = 8.0
_READY = re.compile(r"\bready on (?P<host>\S+):(?P<port>\d+)\b")
_CODE = re.compile(r"\bpairing code: (?P<code>\S+)")
_LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class LocalBoard:
    """One agent that was started from here. `profile` names its simulated sensors, None for real ones."""

    name: str
    profile: str | None
    folder: Path
    log: Path
    lock: FolderLock
    process: asyncio.subprocess.Process | None = None
    port: int = 0
    screen: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=_SCREEN_LINES))
    is_stopping: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """True while its process lives."""
        return self.process is not None and self.process.returncode is None

    @property
    def code(self) -> str | None:
        """The newest pairing code on its screen."""
        for line in reversed(self.screen):
            found = _CODE.search(line)
            if found:
                return found["code"]
        return None


class LocalBoards:
    """Starts and ends them; `on_change` is told when a screen or a process changes.

    `desk` is what they announce as the studio that they belong to.
    """

    def __init__(self, paths: Paths, on_change: Callable[[LocalBoard], None]) -> None:
        self.desk = ""
        self._paths = paths
        self._on_change = on_change
        self._boards: dict[str, LocalBoard] = {}
        self._made: dict[str, str] = {}
        self._starting = asyncio.Lock()

    async def load(self) -> None:
        """Learn which boards were made here before."""
        self._made |= await asyncio.to_thread(_made_in, self._paths.boards)

    def can_start(self, fingerprint: str) -> bool:
        """True for a board that was started from here and does not run now."""
        board = self._boards.get(self._made.get(fingerprint, ""))
        return fingerprint in self._made and (board is None or not board.is_running)

    async def start_again(self, fingerprint: str) -> LocalBoard:
        """Start the board of this fingerprint; raises DeviceError when it was not made here or does not come up."""
        name = self._made.get(fingerprint)
        if name is None:
            raise DeviceError("This board was not started from here.", code="not-local")
        profile = await asyncio.to_thread(_profile_of, self._paths.boards / name)
        return await self.start(profile or None, name, is_same=True)

    async def forget(self, fingerprint: str) -> None:
        """End a board that was made here and drop its data; another one is left alone."""
        name = self._made.pop(fingerprint, None)
        if name is not None:
            await self.stop(name)
            await asyncio.to_thread(shutil.rmtree, self._paths.boards / name, ignore_errors=True)

    def at(self, address: str, port: int) -> LocalBoard | None:
        """The running board that listens there."""
        if not address.startswith("127."):
            return None
        running = (board for board in self._boards.values() if board.is_running)
        return next((board for board in running if board.port == port), None)

    def named(self, name: str) -> LocalBoard | None:
        """The board of this name, running or not."""
        return self._boards.get(name)

    async def start(
        self,
        profile: str | None,
        name: str | None = None,
        seen: Iterable[tuple[str, str]] = (),
        *,
        is_same: bool = False,
    ) -> LocalBoard:
        """Start a board, again one that was made before and is not running, else a new one.

        `seen` are the boards on the network, as name and fingerprint: the new one gets a name that is none of
        theirs, unless it must be the one of that name (`is_same`). Raises DeviceError, with the agent's own words
        when it does not come up.
        """
        async with self._starting:
            for ended in [each.name for each in self._boards.values() if not each.is_running]:
                await self.stop(ended)
            board = self._reserve(profile, name, frozenset(seen), is_same=is_same)
            try:
                await self._launch(board)
            except BaseException:
                await self.stop(board.name)
                raise
            self._made[await asyncio.to_thread(_fingerprint_of, board.folder)] = board.name
            return board

    async def stop(self, name: str) -> None:
        """End a board's process; its data stays."""
        board = self._boards.pop(name, None)
        if board is None:
            return
        board.is_stopping = True
        try:
            if board.process is not None:
                await end_process(board.process, _GRACE_S)
            for task in board.tasks:
                task.cancel()
            await asyncio.gather(*board.tasks, return_exceptions=True)
        finally:
            board.lock.release()
            self._on_change(board)

    async def stop_all(self) -> None:
        """End all of them at once."""
        await asyncio.gather(*(self.stop(name) for name in tuple(self._boards)))

    def _reserve(
        self, profile: str | None, name: str | None, seen: frozenset[tuple[str, str]], *, is_same: bool
    ) -> LocalBoard:
        stem = name or ("this-computer" if profile is None else f"simulated-{profile}")
        number = 1
        while True:
            candidate = stem if number == 1 else f"{stem}-{number}"
            number += 1
            folder = self._paths.boards / candidate
            if candidate in self._boards:
                if profile is None or is_same:
                    what = "This computer" if profile is None else candidate
                    raise DeviceError(f"{what} is running as a board already.", code="already-running")
                continue
            if folder.exists() and _profile_of(folder) != profile:
                continue
            own = _fingerprint_of(folder)
            if any(other == candidate and fingerprint != own for other, fingerprint in seen):
                continue
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FolderLock(folder)
            if not lock.acquire():  # another studio with the same home runs it
                if is_same:
                    raise DeviceError(f"Another window runs {candidate} already.", code="already-running")
                continue
            break
        write_atomically(folder / "board.json", json.dumps({"name": candidate, "profile": profile}) + "\n")
        log = self._paths.logs / f"board-{candidate}.log"
        board = LocalBoard(candidate, profile, folder, log, lock)
        self._boards[candidate] = board
        return board

    async def _launch(self, board: LocalBoard) -> None:
        command = own_command(
            "--end-with-stdin", "agent", "--name", board.name, "--host", _LOOPBACK, "--port", "0",
            "--data", str(board.folder / "data"), "--desk", self.desk,
            *(["--simulate", board.profile] if board.profile else []),
        )  # fmt: skip
        log = await asyncio.to_thread(board.log.open, "ab")
        try:
            board.process = await start_process(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=child_environment(),
                **spawn_options(),
            )
        except OSError as error:
            raise DeviceError(
                f"The board's process could not be started: {error.strerror or error}", code="agent-start"
            ) from error
        finally:
            log.close()
        ready = asyncio.Event()
        board.tasks = [
            asyncio.create_task(self._read(board, ready)),
            asyncio.create_task(self._mourn(board, ready)),
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), _READY_S)
        if not board.is_running or not board.port:
            raise DeviceError(
                f"The board {board.name} did not come up.",
                hint=f"Its log is {board.log}.",
                code="agent-start",
                details=await asyncio.to_thread(_tail, board.log),
            )

    async def _read(self, board: LocalBoard, ready: asyncio.Event) -> None:
        assert board.process is not None
        assert board.process.stdout is not None
        async for raw in board.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            board.screen.append(line)
            found = _READY.search(line)
            if found:
                board.port = int(found["port"])
                ready.set()
            self._on_change(board)

    async def _mourn(self, board: LocalBoard, ready: asyncio.Event) -> None:
        assert board.process is not None
        status = await until_gone(board.process)
        if not board.is_stopping:
            board.screen.append(f"(ended with status {status})")
            self._on_change(board)
        ready.set()


def _profile_of(folder: Path) -> str | None:
    try:
        profile = json.loads((folder / "board.json").read_text(encoding="utf-8"))["profile"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # unreadable: it is nobody's
    return None if profile is None else str(profile)


def _made_in(boards: Path) -> dict[str, str]:
    folders = sorted(boards.iterdir()) if boards.is_dir() else []
    made = {_fingerprint_of(folder): folder.name for folder in folders if (folder / "board.json").exists()}
    return {fingerprint: name for fingerprint, name in made.items() if fingerprint}


def _fingerprint_of(folder: Path) -> str:
    """The fingerprint of the board that was made in a folder, "" for none."""
    try:
        return fingerprint_of((folder / "data" / "identity" / "cert.pem").read_text(encoding="ascii"))
    except (OSError, ValueError, EdgeStudioError):
        return ""


def _tail(path: Path, limit: int = 4000) -> str:
    try:
        return path.read_bytes()[-limit:].decode(errors="replace")
    except OSError:
        return ""
