"""Inferences that a board kept: switched on, listed and fetched there, and done again here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgestudio.studio.boards.boards import BoardService
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.models import ModelService
from edgestudio.wire import api
from edgestudio.wire.capture import MAX_CAPTURE_BYTES, SUFFIX, Capture
from edgestudio.wire.errors import DeviceError, InputError


class CaptureService:
    """Captures of paired boards, and their replay in a worker."""

    def __init__(self, jobs: JobService, models: ModelService, boards: BoardService) -> None:
        self._jobs = jobs
        self._models = models
        self._boards = boards

    async def view(self, board_id: str) -> dict[str, Any]:
        """What the board captures and has: `models`, `max_bytes`, `size_bytes`, `captures`."""
        return await (await self._boards.session(board_id)).captures()

    async def switch(
        self,
        board_id: str,
        model: str | None,
        *,
        is_on: bool,
        every: int = 1,
        confidence_below: float | None = None,
        max_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Begin or end to keep inputs of a model on a board; None means the only one that runs there."""
        session = await self._boards.session(board_id)
        name = model or _only(await session.state())
        return await session.switch_capture(
            name, is_on=is_on, every=every, confidence_below=confidence_below, max_bytes=max_bytes
        )

    async def clear(self, board_id: str) -> int:
        """Remove all captures from a board; how many there were."""
        return await (await self._boards.session(board_id)).clear_captures()

    async def fetch(self, board_id: str, folder: Path, ids: Sequence[str] | None = None) -> list[Path]:
        """Copy captures (all, or those of `ids`) into `folder`; each is checked whole before it gets its name."""
        session = await self._boards.session(board_id)
        wanted = (
            list(ids) if ids is not None else [str(c["id"]) for c in (await session.captures())["captures"]]
        )
        await asyncio.to_thread(_make, folder)
        files = []
        for capture_id in wanted:
            if api.SAFE_NAME.fullmatch(capture_id) is None:
                raise DeviceError("The board names its captures in an unknown way.", code="bad-answer")
            try:
                data = await session.capture(capture_id)
            except DeviceError as error:
                if error.code == "no-capture" and ids is None:
                    continue  # the ring went on while we were fetching
                raise
            files.append(await asyncio.to_thread(_keep, folder / f"{capture_id}{SUFFIX}", data))
        return files

    async def replay(
        self, captures: Sequence[Path], *, model: Path | None = None, pipeline: Path | None = None
    ) -> dict[str, Any]:
        """Do captured inferences again: `equal`, `first_difference` and a report for each.

        Without `model` it is the one of the library whose hash the captures name.
        """
        files = await asyncio.to_thread(_files, captures)
        for path in (model, pipeline):
            if path is not None:
                await self._models.require_file(path)
        path = model.absolute() if model is not None else await self._model_of(files)
        params = {
            "captures": [str(file) for file in files], "model": str(path),
            "pipeline": str(pipeline.absolute()) if pipeline else None,
        }  # fmt: skip
        title = f"Replay of {len(files)} captured inferences"
        return await self._jobs.run("replay", params, title=title)

    async def _model_of(self, files: Sequence[Path]) -> Path:
        digests = await asyncio.to_thread(lambda: {_read(file).model_sha256 for file in files})
        if len(digests) != 1:
            raise InputError(
                "These captures are of several models.",
                hint="Replay them apart, or give --model.",
                code="mixed",
            )
        digest = digests.pop()
        await self._models.start()
        row = self._models.find(digest) if digest else None
        if row is None:
            raise InputError(
                f"The model that was captured ({digest[:12] or 'unnamed'}) is not in the library.",
                hint="Give its file with --model.",
                code="no-model",
            )
        return Path(row.path)


def _only(state: dict[str, Any]) -> str:
    names = [str(name) for name in state.get("models", {})]
    if len(names) != 1:
        raise InputError(
            "Say which model." if names else "No model runs on this board.",
            hint=f"It has: {', '.join(names)}." if names else "Push one first.",
            code="no-model",
        )
    return names[0]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}", code="unwritable") from error


def _keep(path: Path, data: bytes) -> Path:
    Capture.from_bytes(data)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", code="unwritable") from error
    return path


def _files(captures: Sequence[Path]) -> list[Path]:
    """Files, and the captures in folders, in their order."""
    files: list[Path] = []
    for path in captures:
        if path.is_dir():
            files += sorted(path.glob(f"*{SUFFIX}"), key=lambda file: (len(file.name), file.name))
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"There is no file {path}.", hint="Check the path.", code="no-file")
    if not files:
        raise InputError(
            "There are no captures there.", hint="Fetch some from a board first.", code="no-file"
        )
    return [file.absolute() for file in files]


def _read(path: Path) -> Capture:
    if path.stat().st_size > MAX_CAPTURE_BYTES + 32:
        raise InputError(f"{path.name} is too large for a capture.", code="bad-capture")
    return Capture.from_bytes(path.read_bytes())
