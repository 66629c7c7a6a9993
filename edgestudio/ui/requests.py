"""The few questions to the services whose answer is shown right where the question was asked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from edgestudio.studio.app import Studio
from edgestudio.studio.doctor import Doctor
from edgestudio.studio.graph_service import GraphService
from edgestudio.studio.settings import Settings
from edgestudio.ui.bridge import Bridge
from edgestudio.ui.graph_requests import GraphRequests
from edgestudio.wire.errors import EdgeStudioError

Done = Callable[[Any], object]
Failed = Callable[[EdgeStudioError], object]


class Requests:
    """Starts a service call; its result or its error comes back on the UI thread.

    An error outside the tree of errors is a bug: it becomes a notice, and a short word comes back.
    """

    def __init__(self, studio: Studio, bridge: Bridge) -> None:
        self._studio, self._bridge = studio, bridge
        self.graph = GraphRequests(GraphService(studio.jobs, studio.models), bridge, self.report)

    def pair(self, board: str, code: str, done: Done, failed: Failed) -> None:
        """Pair with the code that a board shows; the answer is its row."""
        self._bridge.call(self._studio.boards.pair(board, code), done, self._told(failed))

    def serve(self, work: Callable[[Studio], Coroutine[Any, Any, Any]], done: Done, failed: Failed) -> None:
        """Start what `work` makes of the services, such as `lambda studio: studio.edits.rename(…)`."""
        self._bridge.call(work(self._studio), done, self._told(failed))

    def set_data(self, model: str, data: Path | None, pipeline: Path | None, failed: Failed) -> None:
        """Say which data and pipeline belong to a model."""
        work = self._studio.models.set_data(model, data=data, pipeline=pipeline)
        self._bridge.call(work, None, self._told(failed))

    def diff(self, a: str, b: str, done: Done, failed: Failed) -> None:
        """How two model files differ: `added, removed, changed, identical`."""
        self._bridge.call(self._studio.models.diff(Path(a), Path(b)), done, self._told(failed))

    def doctor(self, done: Done, failed: Failed) -> None:
        """Why a board may be missing: a list of checks with `name, ok, detail, remedy`."""

        self._bridge.call(Doctor(self._studio.paths).network(), done, self._told(failed))

    def settings(self) -> Settings:
        """The settings of now."""
        return self._studio.settings.current

    def change_settings(self, values: dict[str, Any]) -> Settings:
        """Save settings; raises InputError for a value that cannot be used."""
        return self._studio.settings.change(**values)

    def is_broker_watched(self) -> bool:
        """Whether boards may report through a broker now."""
        return self._studio.collecting.is_listening

    def recent_files(self) -> list[Path]:
        """Recently opened files, newest first."""
        return self._studio.recent.paths()

    def follow(self, future: Future[Any], done: Done) -> None:
        """Hear on the UI thread what a command's work came to; its errors were told already."""

        def settle(ended: Future[Any]) -> None:
            if not ended.cancelled() and ended.exception() is None:
                self._bridge.post(lambda: done(ended.result()))

        future.add_done_callback(settle)

    def remember(self, path: Path) -> None:
        """Put a file first among the recent ones."""
        self._studio.recent.add(path)

    def dismiss_notice(self, notice: str) -> None:
        """Take one notice away."""

        async def dismiss() -> None:
            self._studio.notices.dismiss(notice)

        self._bridge.call(dismiss())

    def report(self, error: BaseException) -> None:
        """Tell the user about a failure as a notice; may be called on any thread."""

        async def report() -> None:
            self._studio.notices.report(error)

        self._bridge.call(report())

    def _told(self, failed: Failed) -> Callable[[BaseException], object]:
        def tell(error: BaseException) -> None:
            if isinstance(error, EdgeStudioError):
                failed(error)
                return
            self.report(error)
            failed(EdgeStudioError("This is a bug.", hint="The notice about it has the details."))

        return tell
