"""The composition root: builds the services once and wires them; the window and the verbs use them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from edgestudio.devices.known import KnownBoards
from edgestudio.devices.publisher import Publisher
from edgestudio.studio.boards.boards import BoardService
from edgestudio.studio.boards.captures import CaptureService
from edgestudio.studio.boards.collecting import CollectService
from edgestudio.studio.boards.deployer import DeployService
from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.studio.boards.trust import TrustService
from edgestudio.studio.boards.upkeep import UpkeepService
from edgestudio.studio.boards.watching import AlertService
from edgestudio.studio.bus import EventBus
from edgestudio.studio.doctor import Doctor
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.edits import EditService
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.notices import NoticeService
from edgestudio.studio.optimizer import OptimizerService
from edgestudio.studio.paths import Paths, default_paths
from edgestudio.studio.project import ProjectService
from edgestudio.studio.recent import RecentFiles
from edgestudio.studio.registries import RegistryService
from edgestudio.studio.reports import ReportService
from edgestudio.studio.settings import Settings, SettingsStore
from edgestudio.studio.viewers import ViewerService
from edgestudio.wire.errors import EdgeStudioError

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Studio:
    """All services of one running studio. Construct it anywhere; start, use and stop it on the loop thread.

    Subscribe to `bus` before `start`, which publishes what is already there. Raises InputError when the
    home or the settings cannot be used.
    """

    def __init__(self, paths: Paths | None = None) -> None:
        self.paths = paths or default_paths()
        self.paths.create()
        self.bus = EventBus()
        self.settings = SettingsStore(self.paths.settings)
        chosen = self.settings.load()
        self.recent = RecentFiles(self.paths.state, limit=chosen.recent_files)
        self.notices = NoticeService(self.bus)
        self.jobs = JobService(self.bus, self.paths.jobs, heavy_at_once=chosen.heavy_jobs)
        self.models = ModelService(self.bus, self.jobs, self.paths.library)
        self.optimizer = OptimizerService(self.jobs, self.models)
        self.alerts = AlertService(self.notices)
        self.monitor = TelemetryService(
            self.paths.baselines,
            history_minutes=chosen.history_minutes,
            history=self.paths.history,
            alerts=self.alerts,
        )
        self.boards = BoardService(
            self.bus, self.paths, self.notices, self.monitor, interfaces=chosen.discovery_interfaces
        )
        self.collecting = CollectService(self.paths, self.monitor, self.notices)
        self.deployer = DeployService(self.bus, self.jobs, self.models, self.boards, self.monitor, self.paths)
        self.captures = CaptureService(self.jobs, self.models, self.boards)
        self.doctor = Doctor(self.paths, chosen.discovery_interfaces)
        self.edits = EditService(self.models, self.optimizer)
        self.reports = ReportService(self.bus, self.jobs, self.models)
        self.registries = RegistryService(self.models, self.paths.jobs)
        self.viewers = ViewerService(self.models)
        self.project = ProjectService(self.models, self.boards)
        self.upkeep = UpkeepService(self.boards)
        self.trust = TrustService(Publisher(self.paths.publisher), self.boards, self.notices)
        self.alerts.name_of = self._name_of
        self._keeps_ready = False
        self._letting_go: asyncio.Task[None] | None = None
        self._own_tasks: list[asyncio.Task[None]] = []

    async def start(self, *, discover: bool = True) -> None:
        """Publish the library and, unless told otherwise, look for boards."""
        self.jobs.sweep()
        self.settings.on_change(partial(self._take_over, asyncio.get_running_loop()))
        await self.models.start()
        await self.tell_damage()
        if discover and self.settings.current.discovery:
            with contextlib.suppress(EdgeStudioError):  # told by the discovery below
                await asyncio.to_thread(self._preload)
        if discover and self.settings.current.discovery:
            await self.guard(self.boards.start_discovery())
        if discover:
            await self.collecting.start()

    async def keep_worker_ready(self) -> None:
        """Have a worker wait for the next job, where the settings allow it: for a window, which opens many."""
        self._keeps_ready = True
        self._follow_ready()
        self._own_tasks = [
            asyncio.create_task(self.models.renew()), asyncio.create_task(self.models.following.follow())
        ]  # fmt: skip

    async def stop(self) -> None:
        """End jobs, sessions and the boards started from here; returns when their processes are gone."""
        for task in self._own_tasks:
            task.cancel()
        await self.deployer.stop()
        await self.viewers.stop()
        await self.jobs.stop()
        await self.boards.stop()
        await self.collecting.stop()
        await self.monitor.stop()
        await asyncio.to_thread(self.models.library.drop_aside)

    async def tell_damage(self) -> None:
        """Notice the models of the library whose description cannot be read."""
        folders = await asyncio.to_thread(self.models.library.damaged)
        if folders:
            what = "a model" if len(folders) == 1 else f"{len(folders)} models"
            self.notices.add(
                "warning",
                f"The description of {what} in the library is damaged, so the library does not list it.",
                hint="The files are as they were. Open the model again, or restore entry.json from a backup: "
                + ", ".join(str(folder) for folder in folders[:3]),
            )

    def _take_over(self, loop: asyncio.AbstractEventLoop, changed: Settings) -> None:
        with contextlib.suppress(RuntimeError):  # the studio has stopped meanwhile
            loop.call_soon_threadsafe(self.jobs.allow_heavy, changed.heavy_jobs)
            loop.call_soon_threadsafe(self._follow_ready)

    def _follow_ready(self) -> None:
        if not self.settings.current.worker_ready:
            self._letting_go = asyncio.ensure_future(self.jobs.ready.stop())
        elif self._keeps_ready:
            self.jobs.ready.keep()

    def _preload(self) -> None:
        known = KnownBoards(self.paths.known_boards).all()
        self.monitor.preload(board.fingerprint for board in known)

    def _name_of(self, board_id: str) -> str:
        row = self.boards.rows.get(board_id)
        return row.name if row else board_id[:12]

    async def guard(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await a service call; an error becomes a notice, and None is returned."""
        try:
            return await work
        except Exception as error:  # noqa: BLE001  the last stop: what is not expected is told as a bug
            if getattr(error, "code", "") != "cancelled":
                self.notices.report(error)
            return None
