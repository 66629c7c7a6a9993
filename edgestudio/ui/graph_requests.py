"""What the graph view asks of the studio; the answers come on the UI thread, and a question can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from edgestudio.model.marks import Marks
from edgestudio.studio.graph_service import GraphService
from edgestudio.ui.bridge import Bridge
from edgestudio.wire.errors import EdgeStudioError

Done = Callable[[Any], object]
Failed = Callable[[EdgeStudioError], object]


class GraphServices(Protocol):
    """What the graph panel needs of the studio; every call gives a future whose `cancel` ends the job."""

    def statistics(self, model: str, names: Sequence[str] | None, done: Done, failed: Failed) -> Future[Any]:
        """Weights in numbers: those with these names, or all."""

    def measure(self, what: str, model: str, done: Done, failed: Failed) -> Future[Any]:
        """`latencies`, `placement` or `sensitivity`: a number or a word for each node."""

    def with_dimensions(
        self, model: str, dimensions: Mapping[str, int], done: Done, failed: Failed
    ) -> Future[Any]:
        """The model with numbers for its symbolic dimensions."""

    def marks(self, model: str, done: Done) -> Future[Any]:
        """Bookmarks and notes."""

    def keep_marks(self, model: str, marks: Marks, failed: Failed) -> Future[Any]:
        """Keep bookmarks and notes."""


class GraphRequests:
    """`GraphServices` over the bridge."""

    def __init__(
        self, service: GraphService, bridge: Bridge, report: Callable[[BaseException], object]
    ) -> None:
        self._service, self._bridge, self._report = service, bridge, report

    def statistics(self, model: str, names: Sequence[str] | None, done: Done, failed: Failed) -> Future[Any]:
        """Weights in numbers."""
        return self._ask(self._service.statistics(model, names), done, failed)

    def measure(self, what: str, model: str, done: Done, failed: Failed) -> Future[Any]:
        """`latencies`, `placement` or `sensitivity`: a number or a word for each node."""
        work = {
            "latencies": self._service.latencies,
            "placement": self._service.placement,
            "sensitivity": self._service.sensitivity,
        }[what]
        return self._ask(work(model), done, failed)

    def with_dimensions(
        self, model: str, dimensions: Mapping[str, int], done: Done, failed: Failed
    ) -> Future[Any]:
        """The model with numbers for its symbolic dimensions."""
        return self._ask(self._service.with_dimensions(model, dimensions), done, failed)

    def marks(self, model: str, done: Done) -> Future[Any]:
        """Bookmarks and notes; a failure is a notice."""
        return self._bridge.call(self._service.marks(model), done, self._report)

    def keep_marks(self, model: str, marks: Marks, failed: Failed) -> Future[Any]:
        """Keep bookmarks and notes."""
        return self._ask(self._service.keep_marks(model, marks), None, failed)

    def _ask(self, work: Coroutine[Any, Any, Any], done: Done | None, failed: Failed) -> Future[Any]:
        def tell(error: BaseException) -> None:
            if not isinstance(error, EdgeStudioError):
                self._report(error)
                error = EdgeStudioError("This is a bug.", hint="The notice about it has the details.")
            if error.code != "cancelled":
                failed(error)

        return self._bridge.call(work, done, tell)
