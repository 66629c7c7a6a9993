"""Takes what boards report through a broker, beside the boards that this desk is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import yaml

from edgestudio.devices.collector import Collector
from edgestudio.devices.known import KnownBoards
from edgestudio.runtime.documents import read_yaml, validated
from edgestudio.runtime.exchange.broker import linked
from edgestudio.runtime.uplink import Uplink
from edgestudio.studio.boards.directory import studio_name
from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.studio.notices import NoticeService
from edgestudio.studio.paths import Paths
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.files import write_atomically
from edgestudio.wire.identity import Identity

_OLD_S = 120.0
"""What is reported later than this rings no alarm."""

_FILE = "the broker's description"


class CollectService:
    """Runs while the studio does, where there is a `broker.yaml`; the same records as from a board's own stream."""

    def __init__(self, paths: Paths, telemetry: TelemetryService, notices: NoticeService) -> None:
        self._paths = paths
        self._telemetry = telemetry
        self._notices = notices
        self._task: asyncio.Task[None] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether records are taken from a broker now, or waited for."""
        return self._task is not None and not self._task.done()

    def described(self) -> dict[str, Any]:
        """The broker that is written down, by the fields of `Uplink`; empty for none, or one that cannot be used."""
        if not self._paths.broker.exists():
            return {}
        try:
            way = validated(Uplink, read_yaml(self._paths.broker, _FILE) or {}, _FILE)
        except EdgeStudioError:
            return {}
        return way.model_dump(exclude_defaults=True)

    async def watch(self, fields: Mapping[str, Any]) -> Uplink:
        """Listen at a broker from now on, in later sessions too; `fields` are those of `Uplink`.

        It is tried first: raises RecipeError for fields that cannot be used and DeviceError where the broker is not
        there or refuses us, and what was written down before stays.
        """
        way = validated(Uplink, dict(fields), _FILE)
        async with linked(way, f"es-studio-{secrets.token_hex(6)}"):
            pass
        text = yaml.safe_dump(way.model_dump(exclude_defaults=True), sort_keys=False)
        await asyncio.to_thread(write_atomically, self._paths.broker, text)
        await self.stop()
        await self.start()
        return way

    async def leave(self) -> None:
        """Listen no more, and forget the broker; what was received stays."""
        await self.stop()
        await asyncio.to_thread(self._paths.broker.unlink, missing_ok=True)

    async def start(self) -> None:
        """Begin to listen; returns at once."""
        if self._paths.broker.exists():
            self._task = asyncio.create_task(self._run(), name="collecting")

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def records(self, file: Path) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """(board, record) of every paired board that reports to the broker that `file` describes.

        Raises RecipeError for a file that cannot be used.
        """
        way = validated(Uplink, await asyncio.to_thread(read_yaml, file, _FILE) or {}, _FILE)
        identity = await asyncio.to_thread(Identity.load_or_create, self._paths.identity, studio_name())
        boards = KnownBoards(self._paths.known_boards)
        collector = Collector(way, identity, boards.all, self._telemetry.newest, self._tell)
        async with contextlib.aclosing(collector.records()) as records:
            async for board_id, record in records:
                yield board_id, record

    async def _run(self) -> None:
        try:
            async with contextlib.aclosing(self.records(self._paths.broker)) as records:
                async for board_id, record in records:
                    self._telemetry.take(board_id, record, is_late=_is_old(record))
        except EdgeStudioError as error:
            self._notices.add(
                "error", f"No board reports through the broker: {error.message}", hint=error.hint
            )

    def _tell(self, problem: EdgeStudioError | None) -> None:
        if problem is None:
            self._notices.add("success", "The broker is connected again.")
        else:
            self._notices.add(
                "warning", f"No board reports through the broker: {problem.message}", hint=problem.hint
            )


def _is_old(record: Mapping[str, Any]) -> bool:
    at = record.get("t")
    return not isinstance(at, (int, float)) or time.time() - at > _OLD_S
