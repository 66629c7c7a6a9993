"""A model's row while its worker still reads: what was recognised, then its graph, before the totals."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.studio.bus import Ledger
from edgestudio.studio.rows import ModelRow

# A graph is shown early only when the rest takes this much longer: drawing twice must be worth it.
_WORTH_S = 0.7
# Whoever was told of an early graph has this long to read it after the whole one is there.
_READ_S = 60.0


class EarlyRow:
    """Publishes a row from a worker's partial results; it is replaced or withdrawn when the job ends."""

    def __init__(
        self,
        rows: Ledger[ModelRow],
        path: Path,
        name: str,
        hashing: asyncio.Future[str],
        jobs_dir: Path,
    ) -> None:
        self._rows = rows
        self._path = path
        self._name = name
        self._hashing = hashing
        self._jobs_dir = jobs_dir
        self._recognised: Mapping[str, Any] = {}
        self._shown: str | None = None
        self._folder: Path | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def on_partial(self, key: str, value: Any) -> None:
        """Take one partial result of the job `inspect`."""
        if key == "recognised" and isinstance(value, Mapping):
            self._recognised = dict(value)
            self._hashing.add_done_callback(self._show)
        elif key == "layout" and isinstance(value, str):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_WORTH_S, self._show_graph, Path(value))

    def settle(self, sha256: str) -> None:
        """The whole row of `sha256` is there."""
        self._end()
        if self._shown not in (None, sha256):
            self._rows.remove(str(self._shown))

    def withdraw(self) -> None:
        """The job failed."""
        self._end()
        if self._shown is not None:
            self._rows.remove(self._shown)

    def _show(self, hashing: asyncio.Future[str]) -> None:
        if self._is_over or hashing.cancelled() or hashing.exception() is not None:
            return
        sha256 = hashing.result()
        known = self._rows.get(sha256)
        if known is None:
            size = int(self._recognised.get("size_bytes") or 0)
            kind = str(self._recognised.get("format") or "")
            self._shown = sha256
            self._rows.put(
                ModelRow(
                    sha256, self._name, str(self._path), kind, size, time.time(), summary=self._recognised
                )
            )
        elif sha256 == self._shown:
            self._rows.change(sha256, summary=self._recognised)

    def _show_graph(self, layout: Path) -> None:
        graph = layout.with_name("graph.json")
        if self._is_over or self._shown is None or not graph.exists():
            return
        # The job's own folder goes with the job; these links stay a little longer.
        self._folder = self._jobs_dir / f"{os.getpid()}-early-{self._shown[:16]}"
        try:
            self._folder.mkdir(exist_ok=True)
            for file in (graph, layout):
                target = self._folder / file.name
                target.unlink(missing_ok=True)
                os.link(file, target)
        except OSError:
            return  # no early view; the whole one comes
        self._rows.change(
            self._shown,
            graph_path=str(self._folder / graph.name),
            layout_path=str(self._folder / layout.name),
        )

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._folder is not None:
            asyncio.get_running_loop().call_later(_READ_S, shutil.rmtree, self._folder, True)
