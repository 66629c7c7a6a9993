"""`edgestudio watch`: stream what a board reports, one record a line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console
from edgestudio.cli.numbers import duration
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import InputError
from edgestudio.wire.histogram import LatencyHistogram


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [--for S] [--broker FILE]."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    parser.add_argument(
        "--for", dest="seconds", type=duration, metavar="S", help="end after this many seconds"
    )
    parser.add_argument(
        "--broker",
        type=Path,
        metavar="FILE",
        help="listen at the MQTT broker that this file describes instead",
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Print records until the time is over, or until interrupted."""
    if options.broker is not None:
        await studio.boards.load()
        board = studio.boards.find(options.device)
        records = _through(studio, options.broker, board.id)
    else:
        board = await studio.boards.locate(options.device)
        records = studio.boards.records(board.id)
    try:
        async with asyncio.timeout(options.seconds):
            async for record in records:
                studio.monitor.take(board.id, record)
                console.record(record, _text(record))
    except TimeoutError:
        return 0
    return 0


async def _through(studio: Studio, broker: Path, board_id: str) -> AsyncIterator[Mapping[str, Any]]:
    async with contextlib.aclosing(studio.collecting.records(broker)) as records:
        async for sender, record in records:
            if sender == board_id:
                yield record


def _text(record: Mapping[str, Any]) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(float(record.get("t") or 0.0)))
    kind = record.get("k")
    if kind == "win":
        return f"{when}  {record.get('m')} r{record.get('rel')}  {_window(record)}{_badge(record)}"
    if kind == "evt":
        return f"{when}  {record.get('name')}: {record.get('text')}{_badge(record)}"
    if kind == "gap":
        return f"{when}  some records were missed ({record.get('from')} to {record.get('to')})"
    return f"{when}  {kind}"


def _window(record: Mapping[str, Any]) -> str:
    duration = float(record.get("dur") or 0.0)
    rate = f"{record.get('n', 0) / duration:.1f} /s" if duration else "unknown rate"
    parts = [rate, f"{record.get('err', 0)} errors"]
    total = (record.get("lat") or {}).get("tot")
    if total:
        try:
            histogram = LatencyHistogram.from_dict(total)
            parts.append(f"p50 {histogram.percentile(50):.3g} ms  p99 {histogram.percentile(99):.3g} ms")
        except InputError:
            parts.append("latency unreadable")
    for name, reading in (record.get("sys") or {}).items():
        if "temp" in name and isinstance(reading, list) and reading[0] is not None:
            parts.append(f"{name} {reading[0]:.1f} {reading[1]}")
    if fallen := (record.get("cnt") or {}).get("cpu_fallback_nodes"):
        parts.append(f"{fallen} nodes fell back to the CPU")
    return "  ".join(parts)


def _badge(record: Mapping[str, Any]) -> str:
    return "  [simulated]" if record.get("sim") else ""
