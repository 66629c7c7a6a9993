"""Puts a release on a board: sends what the board lacks, and follows the install to its end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgestudio.devices.publisher import Publisher, Release
from edgestudio.devices.session import BoardSession
from edgestudio.wire import api
from edgestudio.wire.errors import DeviceError, EdgeStudioError, TrustError

IN_FLIGHT = 4
CHUNK_TRIES = 4
VANISHED_AFTER_S = 30.0
"""How long a board may be away during an install before the push is given up; the next push resumes."""

RESTARTED = frozenset({"connection-lost", "unreachable", "incomplete-metadata", "no-root"})
"""What an offer fails with while an agent restarts, and after it has."""

LONGEST_PAUSE_S = 8.0
TURN_S = 1800.0
"""How long a push waits for another one from this desk to the same board."""

POLL_S = 0.25
COMMITTED: Final = "committed"
ROLLED_BACK: Final = "rolled-back"
FAILED: Final = "failed"
FINAL = frozenset({COMMITTED, ROLLED_BACK, FAILED})
ORDER = ("preflight", "offered", "receiving", "verified", "inspected", "staged", "dryrun", "trial", COMMITTED)


@dataclass(frozen=True)
class DeployState:
    """Where a push is. `name` is one of `ORDER`, `rolled-back` or `failed`; `install` is the board's own account.

    `fraction` is of the transfer, None outside it; `reason` says why an install did not commit.
    """

    name: str
    detail: str = ""
    fraction: float | None = None
    sent_bytes: int = 0
    total_bytes: int = 0
    reason: str = ""
    hint: str = ""
    install_id: str = ""
    install: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """True for the last state of a push."""
        return self.name in FINAL


async def deploy(
    session: BoardSession, publisher: Publisher, release: Release
) -> AsyncGenerator[DeployState, None]:
    """Push `release` and yield each state as it is reached; the last one says how it ended.

    Raises TrustError or InstallError when the board refuses the offer (nothing was sent), DeviceError when it
    vanishes; a later push of the same files sends only what is missing. Closing the iterator early stops sending.
    While this desk pushes something else to the same board, from whatever window or command, this push waits.
    """
    turn, waited = publisher.turn(session.board.fingerprint), 0.0
    while not turn.take():
        if not waited:
            yield DeployState(
                "preflight", f"waiting: another push from here to {session.board.name} is under way"
            )
        if waited > TURN_S:
            raise DeviceError(
                f"Another push from here to {session.board.name} does not come to its end.",
                hint="Cancel that one, then push again.",
                code="busy",
            )
        await asyncio.sleep(POLL_S)
        waited += POLL_S
    try:
        async with contextlib.aclosing(_push(session, publisher, release)) as states:
            async for state in states:
                yield state
    finally:
        turn.leave()


async def _push(
    session: BoardSession, publisher: Publisher, release: Release
) -> AsyncGenerator[DeployState, None]:
    yield DeployState("preflight", f"asking {session.board.name}")
    offered = await _offered(session, publisher, release)
    install_id, need = str(offered.get("id", "")), _needed(offered)
    upload = _Upload(session, release, need)
    yield DeployState("offered", upload.summary, install_id=install_id, total_bytes=upload.total_bytes)
    try:
        async with contextlib.aclosing(upload.run(install_id)) as sending:
            async for state in sending:
                yield state
    except DeviceError as e:
        if e.code != "not-offered":
            raise
        answer = await session.install(install_id)
        if not (ended := [name for name in _passed("receiving", answer) if name in FINAL]):
            raise
        # The board gave this transfer up while it went on, and says why.
        yield _state(ended[0], install_id, answer)
        return
    async with contextlib.aclosing(_follow(session, release, install_id)) as following:
        async for state in following:
            yield state


async def _offered(session: BoardSession, publisher: Publisher, release: Release) -> dict[str, Any]:
    """What the board answers to the offer. One that restarts in between lost what it was handed, and gets it anew."""
    await session.offer_clock()
    until, pause_s = time.monotonic() + VANISHED_AFTER_S, 0.25
    while True:
        try:
            await _hand_over_metadata(session, publisher)
            return await session.offer(release.target, release.manifest.to_dict(), secrets.token_hex(16))
        except (DeviceError, TrustError) as e:
            if e.code not in RESTARTED or time.monotonic() > until or pause_s > LONGEST_PAUSE_S:
                raise
        await asyncio.sleep(pause_s)
        pause_s *= 2


async def _hand_over_metadata(session: BoardSession, publisher: Publisher) -> None:
    trusted = await session.trusted_versions()
    for role, data in await asyncio.to_thread(publisher.metadata, trusted):
        await session.stage_metadata(role, data)


async def _follow(
    session: BoardSession, release: Release, install_id: str
) -> AsyncGenerator[DeployState, None]:
    answer = await session.finish(install_id)
    reported, told, last_heard = "receiving", "", time.monotonic()
    while True:
        need = _needed(answer)
        if need:  # the board found damage when it read everything again
            upload = _Upload(session, release, need)
            async with contextlib.aclosing(upload.run(install_id)) as sending:
                async for state in sending:
                    yield state
            answer = await session.finish(install_id)
            continue
        if (busy := _detail(answer)) != told:  # a build takes minutes, and says how far it is
            told = busy
            if busy and not _passed(reported, answer):
                yield _state(reported, install_id, answer)
        for name in _passed(reported, answer):
            state = _state(name, install_id, answer)
            yield state
            if state.is_final:
                return
            reported = name
        await asyncio.sleep(POLL_S)
        try:
            answer = await session.install(install_id)
            last_heard = time.monotonic()
        except DeviceError as e:
            # An agent that restarts during a trial comes back and decides; give it the time to.
            if time.monotonic() - last_heard > VANISHED_AFTER_S:
                raise _vanished(session, e) from e


def _passed(reported: str, answer: Mapping[str, Any]) -> list[str]:
    """The states reached since `reported`, oldest first: a fast board passes several between two looks."""
    now = str(answer.get("state", "")).lower().replace("_", "-")
    if now in ("rollback", "receiving", "offered", "idle"):
        return []
    seen = ORDER.index(reported)
    history = [str(h.get("state", "")).lower() for h in answer.get("history", []) if isinstance(h, dict)]
    reached = [name for name in ORDER[seen + 1 : -1] if name in history or name == now]
    if now in (COMMITTED, ROLLED_BACK, FAILED):
        end = now if now != FAILED or not answer.get("rolled_back_to") else ROLLED_BACK
        return [*reached, end]
    return reached


def _state(name: str, install_id: str, answer: Mapping[str, Any]) -> DeployState:
    return DeployState(
        name,
        detail=_detail(answer),
        reason=str(answer.get("reason", "")) if name in FINAL else "",
        hint=str(answer.get("hint", "")),
        install_id=install_id,
        install=dict(answer),
    )


def _detail(answer: Mapping[str, Any]) -> str:
    doing, fraction = str(answer.get("detail") or ""), answer.get("fraction")
    return f"{doing}, {fraction:.0%}" if doing and isinstance(fraction, (int, float)) else doing


class _Upload:
    """Sends the chunks that a board asked for, several at once."""

    def __init__(self, session: BoardSession, release: Release, need: Mapping[str, list[int]]) -> None:
        self._session = session
        files = {f.sha256: f for f in release.manifest.files.values()}
        unknown = [d for d in need if d not in files]
        if unknown:
            raise DeviceError(
                "The board asks for files that are not part of this release.", code="bad-answer"
            )
        self._paths = release.paths
        self._todo = [(files[digest], i) for digest, indices in need.items() for i in indices]
        try:
            self.total_bytes = sum(f.chunk_bytes(i) for f, i in self._todo)
        except IndexError as e:
            raise DeviceError("The board asks for chunks that do not exist.", code="bad-answer") from e
        whole = release.manifest.size_bytes
        saved = whole - self.total_bytes
        self.summary = f"{_size(self.total_bytes)} of {_size(whole)} to send" + (
            f", the board has {_size(saved)} already" if saved > 0 else ""
        )

    async def run(self, install_id: str) -> AsyncGenerator[DeployState, None]:
        waiting = list(reversed(self._todo))
        sent = 0
        running: dict[asyncio.Task[None], int] = {}
        yield self._progress(install_id, 0)
        try:
            while waiting or running:
                while waiting and len(running) < IN_FLIGHT:
                    file, index = waiting.pop()
                    task = asyncio.ensure_future(self._send(file.sha256, index, file.chunk_bytes(index)))
                    running[task] = file.chunk_bytes(index)
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    sent += running.pop(task)
                    task.result()
                yield self._progress(install_id, sent)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _send(self, digest: str, index: int, size: int) -> None:
        data = await asyncio.to_thread(_read, self._paths[digest], index, size)
        away_since, pause_s = None, 0.25
        for attempt in range(1, CHUNK_TRIES + 1):
            try:
                await self._session.put_chunk(digest, index, data)
            except DeviceError as e:
                damaged = e.code == "wrong-hash"
                if e.code not in ("wrong-hash", "connection-lost", "unreachable", "body-too-slow"):
                    raise
                away_since = away_since or time.monotonic()
                if attempt == CHUNK_TRIES or time.monotonic() - away_since > VANISHED_AFTER_S:
                    raise e if damaged else _vanished(self._session, e) from e
                await asyncio.sleep(0 if damaged else pause_s)
                pause_s *= 4
            else:
                return

    def _progress(self, install_id: str, sent: int) -> DeployState:
        return DeployState(
            "receiving",
            f"{_size(sent)} of {_size(self.total_bytes)}",
            fraction=sent / self.total_bytes if self.total_bytes else 1.0,
            sent_bytes=sent,
            total_bytes=self.total_bytes,
            install_id=install_id,
        )


def _needed(answer: Mapping[str, Any]) -> dict[str, list[int]]:
    need = answer.get("need") or {}
    if not isinstance(need, dict) or not all(
        isinstance(v, list) and all(type(i) is int for i in v) for v in need.values()
    ):
        raise DeviceError("The board's answer is not one that this studio knows.", code="bad-answer")
    return {str(digest): list(indices) for digest, indices in need.items() if indices}


def _read(path: Path, index: int, size: int) -> bytes:
    try:
        with path.open("rb") as f:
            f.seek(index * api.CHUNK_BYTES)
            data = f.read(size)
    except OSError as e:
        raise DeviceError(f"{path} cannot be read any more: {e.strerror}", code="file-changed") from e
    if len(data) != size:
        raise DeviceError(
            f"{path} became shorter while it was sent.", hint="Push again.", code="file-changed"
        )
    return data


def _vanished(session: BoardSession, failure: EdgeStudioError) -> DeviceError:
    return DeviceError(
        f"{session.board.name} vanished during the push; it keeps running what it had.",
        hint="When it is back, push again: only what is missing is sent.",
        code="vanished",
        details=failure.message,
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"
