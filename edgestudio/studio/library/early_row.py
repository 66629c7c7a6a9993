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
# What took this long to read is large, and the rest takes longer still: its picture is shown at once.
_LARGE_S = 0.3
# So has a graph of this many nodes a rest that takes long, however soon its sketch is there.
_LARGE_NODES = 300
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
        self._begun: float | None = None
        self._files: dict[str, Path] = {}
        self._is_over = False

    def on_partial(self, key: str, value: Any) -> None:
        """Take one partial result of the job `inspect`."""
        loop = asyncio.get_running_loop()
        if key == "recognised" and isinstance(value, Mapping):
            self._recognised = dict(value)
            self._begun = self._begun or loop.time()
            self._hashing.add_done_callback(self._show)
        elif key in ("layout", "graph") and isinstance(value, str):
            self._files[key] = Path(value)
            if self._timer is None:
                is_large = int(self._recognised.get("nodes") or 0) >= _LARGE_NODES or (
                    self._begun is not None and loop.time() - self._begun > _LARGE_S
                )
                self._timer = loop.call_later(0.0 if is_large else _WORTH_S, self._show_files)
            elif self._timer.when() <= loop.time():
                self._show_files()

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
        if self._timer is not None and self._timer.when() <= asyncio.get_running_loop().time():
            self._show_files()

    def _show_files(self) -> None:
        """Offer the layout, which is enough for a picture, and the graph as soon as there is one."""
        if self._is_over or self._shown is None:
            return
        # The job's own folder goes with the job; these links stay a little longer.
        self._folder = self._jobs_dir / f"{os.getpid()}-early-{self._shown[:16]}"
        links: dict[str, str] = {}
        try:
            self._folder.mkdir(exist_ok=True)
            for key, file in self._files.items():
                target = self._folder / file.name
                if not target.exists():
                    os.link(file, target)
                links[f"{key}_path"] = str(target)
        except OSError:
            return  # no early view; the whole one comes
        self._rows.change(self._shown, **links)

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._folder is not None:
            asyncio.get_running_loop().call_later(_READ_S, shutil.rmtree, self._folder, True)
