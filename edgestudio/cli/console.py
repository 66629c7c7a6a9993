"""What a verb writes: one result or lines on stdout, progress on stderr where a person watches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from edgestudio.studio.bus import RowEvent
from edgestudio.studio.rows import DeploymentRow, JobRow
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.fields import CONTROL, clean_text

_BAR_CELLS = 20
_REDRAW_S = 0.1


class Console:
    """Keeps stdout for results and stderr for everything else; under `--json` stdout is JSON alone."""

    def __init__(self, *, is_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.is_json = is_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._is_watched = self._err.isatty()
        self._drawn = 0.0
        self._has_bar = False

    def result(self, value: Mapping[str, Any], text: str) -> None:
        """The verb's result: as one JSON object, or as text for people."""
        self._write(_dump(value) if self.is_json else text)

    def record(self, value: Mapping[str, Any], text: str) -> None:
        """One line of a verb that streams."""
        self.result(value, text)

    def say(self, text: str) -> None:
        """Something beside the result, for people only."""
        if not self.is_json:
            self.clear()
            print(_shown(text), file=self._err, flush=True)

    def error(self, error: EdgeStudioError) -> None:
        """What went wrong: on stdout as JSON, or on stderr with its hint."""
        self.clear()
        if self.is_json:
            print(_dump({"error": error.as_dict()}), file=self._out, flush=True)
            return
        print(_shown(f"error: {error.sentence}"), file=self._err)
        if error.hint:
            print(_shown(f"       {error.hint}"), file=self._err)
        self._err.flush()

    def on_event(self, event: RowEvent) -> None:
        """Draw the progress of jobs and deployments where stderr is a terminal."""
        if not self._is_watched:
            return
        row = event.row
        if isinstance(row, JobRow):
            if row.is_over:
                self.clear()
            elif row.state == "running":
                self._draw(row.title, row.phase, row.fraction)
        elif isinstance(row, DeploymentRow) and row.state == "running":
            step = next((step for step in row.steps if step.state == "running"), None)
            if step is not None:
                self._draw(row.title, f"{step.name} {step.detail}".strip(), None)

    def clear(self) -> None:
        """Take the progress line away."""
        if self._has_bar:
            self._err.write("\r\x1b[K")
            self._err.flush()
            self._has_bar = False

    def _draw(self, title: str, phase: str, fraction: float | None) -> None:
        now = time.monotonic()
        if now - self._drawn < _REDRAW_S:
            return
        self._drawn = now
        bar = ""
        if fraction is not None:
            filled = round(fraction * _BAR_CELLS)
            bar = f" [{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {fraction:4.0%}"
        self._err.write("\r\x1b[K" + clean_text(f"{title}{bar} {phase}", 120))
        self._err.flush()
        self._has_bar = True

    def _write(self, text: str) -> None:
        self.clear()
        print(text if self.is_json else _shown(text), file=self._out, flush=True)


def _dump(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    # Outside of strings there is none of these, so that the escaped form is the same JSON.
    return CONTROL.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)


def _shown(text: str) -> str:
    """`text` without what a terminal would obey: boards and model files write much of it."""
    return "\n".join(CONTROL.sub("", line.replace("\t", "    ")) for line in text.split("\n"))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they need; numbers to the right."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    is_number = [bool(cells) and all(_is_numeric(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, is_number, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in cells)])


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one a line; what is unknown is said so."""
    known = [(name, "unknown" if value is None else str(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in known)


def in_bytes(size: float | None) -> str:
    """A size for people: 1536 is 1.5 KiB."""
    if size is None:
        return "unknown"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def in_ms(latency: Mapping[str, Any] | None) -> str:
    """A latency for people: median, 99th percentile and how often it was measured."""
    if not latency or latency.get("p50") is None:
        return "unknown"
    tail = f", p99 {latency['p99']:.3g}" if latency.get("p99") is not None else ""
    return f"p50 {latency['p50']:.3g} ms{tail} (n = {latency.get('n', 'unknown')})"


def _is_numeric(text: str) -> bool:
    try:
        float(text.replace(",", "").rstrip("%"))
    except ValueError:
        return text in ("", "-")
    return True
