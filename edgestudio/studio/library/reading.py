"""Has a model file read in a worker: by our own readers, and what those do not know by Netron's."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from edgestudio.model.foreign import VIEWER
from edgestudio.studio.jobs.jobs import JobService, Receive
from edgestudio.wire.errors import EdgeStudioError, ModelError

_UNKNOWN = "unknown-format"
_INCOMPLETE = "Is the file complete? Otherwise convert it to ONNX or TFLite where it was made."
_MOST_FOR_NETRON_BYTES = 2 << 30
"""What its page can hold in one piece; it would try for minutes with more."""


def has_netron() -> bool:
    """True when Netron and the web page that it needs are installed; looks at files and imports neither."""
    try:
        qt = importlib.util.find_spec("PySide6")
        netron = importlib.util.find_spec("netron")
    except ImportError:
        return False
    if qt is None or netron is None:
        return False
    folders = [Path(folder) for folder in qt.submodule_search_locations or ()]
    return any(any(folder.glob("QtWebEngineCore.*")) for folder in folders)


def _is_for_netron(path: Path) -> bool:
    return path.is_file() and path.stat().st_size < _MOST_FOR_NETRON_BYTES and has_netron()


class ModelReader:
    """Runs the job `inspect`; where our readers do not know the format, Netron's are asked before giving up."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    async def inspect(
        self,
        path: Path,
        *,
        title: str,
        layout: bool,
        sizes: Mapping[str, int] | None = None,
        subject: str | None = None,
        receive: Receive | None = None,
        on_partial: Callable[[str, Any], None] | None = None,
        again: Callable[[], Awaitable[Any]] | None = None,
    ) -> dict[str, Any]:
        """The result of `inspect` for a file or folder; raises ModelError."""
        params: dict[str, Any] = {"path": str(path), "layout": layout, "dimensions": dict(sizes or {})}
        may_ask = await asyncio.to_thread(_is_for_netron, path)
        try:
            return await self._jobs.run(
                "inspect", params, title=title, subject=subject, receive=receive, on_partial=on_partial,
                again=again, withdraw_on=frozenset({_UNKNOWN}) if may_ask else frozenset(),
            )  # fmt: skip
        except EdgeStudioError as unknown:
            if unknown.code != _UNKNOWN or not may_ask:
                raise
            return await self._with_netron(
                params, title=title, subject=subject, receive=receive, on_partial=on_partial, again=again,
                unknown=unknown,
            )  # fmt: skip

    async def _with_netron(
        self,
        params: dict[str, Any],
        *,
        title: str,
        subject: str | None,
        receive: Receive | None,
        on_partial: Callable[[str, Any], None] | None,
        again: Callable[[], Awaitable[Any]] | None,
        unknown: EdgeStudioError,
    ) -> dict[str, Any]:
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._jobs.folder, prefix="netron-"))

        def keep(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            shutil.move(result["graph"], folder / "graph.json")
            return result

        try:
            try:
                await self._jobs.run(
                    "read-with-netron", {"path": params["path"]}, title=f"{title} (with Netron)",
                    subject=subject, receive=keep, on_partial=on_partial, again=again,
                )  # fmt: skip
            except EdgeStudioError as error:
                if error.code == _UNKNOWN:
                    raise ModelError(
                        f"{unknown.message} Netron does not know it either.",
                        hint=unknown.hint.replace(VIEWER, "").strip() or _INCOMPLETE,
                        code=_UNKNOWN,
                    ) from error
                raise
            graph = {"graph": str(folder / "graph.json"), "read_by": "netron"}
            return await self._jobs.run(
                "inspect-graph", {**params, **graph}, title=title, subject=subject, receive=receive,
                on_partial=on_partial, again=again,
            )  # fmt: skip
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
