"""Other programs that show a model: the system's file manager, and Netron's view in a process of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from edgestudio.studio.jobs.child import child_environment, end_process, spawn_options
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.library.reading import has_netron
from edgestudio.wire.errors import InputError, RefusedError
from edgestudio.wire.processes import start_process

_VIEW = "edgestudio.ui.netron.view"
_GRACE_S = 2.0
# A view that ends this soon has not shown anything.
_EARLY_S = 1.5


class ViewerService:
    """Starts viewers on models of the library; Netron's views end with the studio."""

    def __init__(self, models: ModelService) -> None:
        self._models = models
        self._views: list[asyncio.subprocess.Process] = []

    async def open_in_netron(self, sha256: str) -> int:
        """Show a model in Netron's view and return the process's id; raises InputError without the extra."""
        row = self._models.get(sha256)
        if not has_netron():
            raise InputError(
                "Netron's view is not installed.",
                hint="Install the extra `netron-view`.",
                code="needs-netron-view",
            )
        view = await start_process(
            sys.executable, "-P", "-m", _VIEW, row.path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(),
            **spawn_options(),
        )  # fmt: skip
        self._views = [running for running in self._views if running.returncode is None] + [view]
        draining = asyncio.create_task(_last_words(view))
        done, _ = await asyncio.wait({draining}, timeout=_EARLY_S)
        if done and view.returncode:
            raise RefusedError("Netron's view ended at once.", code="netron-view", details=draining.result())
        return view.pid

    async def reveal(self, sha256: str) -> Path:
        """Show the folder of a model's file in the system's file manager; returns that folder."""
        row = self._models.get(sha256)
        path = Path(row.path)
        program, arguments = _file_manager(path)
        if shutil.which(program) is None:
            raise InputError(
                f"There is no file manager to show {path.parent}.", hint="Open that folder yourself."
            )
        await start_process(
            program, *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            **spawn_options(),
        )  # fmt: skip
        return path.parent

    async def stop(self) -> None:
        """End the views of Netron that are still open."""
        views, self._views = self._views, []
        await asyncio.gather(*(end_process(view, _GRACE_S) for view in views))


def _file_manager(path: Path) -> tuple[str, list[str]]:
    if sys.platform == "darwin":
        return "open", ["-R", str(path)]
    if sys.platform == "win32":
        return "explorer", [f"/select,{path}"]
    return "xdg-open", [str(path.parent)]


async def _last_words(view: asyncio.subprocess.Process) -> str:
    """What the view says on its error stream, so that it never blocks on it; ends with the process."""
    assert view.stderr is not None
    lines: list[str] = []
    async for line in view.stderr:
        lines = [*lines[-50:], line.decode(errors="replace")]
    await view.wait()
    return "".join(lines)
