"""`edgestudio bench`: honest latency, here or on a board."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console, facts, in_bytes, table
from edgestudio.cli.numbers import duration
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[MODEL] [--device NAME] [--soak MINUTES] [--profile] [--data DATA] [--pipeline FILE]."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a model file; with --device, a model that runs there"
    )
    parser.add_argument("--device", metavar="DEVICE", help="measure on this board instead of here")
    parser.add_argument("--soak", type=duration, default=0.0, metavar="MINUTES", help="run this long")
    parser.add_argument("--profile", action="store_true", help="time by operator too")
    parser.add_argument("--data", type=Path, metavar="DATA", help="measure on this instead of noise")
    parser.add_argument(
        "--pipeline", type=Path, metavar="FILE", help="how raw data becomes the model's input"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Measure and print."""
    if options.device and (options.data or options.pipeline):
        raise UsageError(
            "--data and --pipeline are for a measurement here; a board measures on what came with its release."
        )
    if options.device:
        board = await studio.boards.locate(options.device)
        result = await studio.boards.bench(board.id, model=options.model, soak_minutes=options.soak)
    elif options.model:
        result = await studio.optimizer.bench(
            Path(options.model),
            profile=options.profile,
            soak_minutes=options.soak,
            data=options.data,
            pipeline=options.pipeline,
        )
    else:
        raise UsageError("Say which MODEL to measure, or which --device.")
    console.result(result, _text(result))
    return 0


def _text(result: Mapping[str, Any]) -> str:
    latency = result.get("latency_ms") or {}
    spread = "  ".join(f"{key} {_number(latency.get(key))}" for key in ("p50", "p90", "p95", "p99"))
    rows: list[tuple[str, object]] = [
        ("load", _ms(result.get("load_ms"))),
        ("first run", _ms(result.get("first_ms"))),
        ("latency (ms)", f"{spread}  (n = {latency.get('n', '?')})"),
        ("mean (ms)", f"{_number(latency.get('mean'))} ± {_interval(latency.get('ci95'))}"),
        ("throughput", f"{_number(result.get('throughput_hz'))} /s"),
        ("peak memory", in_bytes(result.get("peak_rss_bytes"))),
        ("placement", _flat(result.get("placement"))),
        ("environment", _flat(_short(result.get("environment")))),
    ]
    parts = [facts(rows)]
    stages = [
        (name, times) for name, times in (result.get("stages") or {}).items() if isinstance(times, Mapping)
    ]
    if stages:
        columns = ("p50", "p90", "p99")
        cells = [(name, *(_number(times.get(key)) for key in columns)) for name, times in stages]
        parts.append(table(("stage (ms)", *columns), cells))
    environment = result.get("environment")
    warnings = environment.get("warnings") if isinstance(environment, Mapping) else None
    parts.extend(f"warning: {warning}" for warning in warnings or [])
    return "\n\n".join(parts)


def _short(environment: object) -> object:
    """What a line has room for; the rest is in the JSON."""
    if not isinstance(environment, Mapping):
        return environment
    shown = ("machine", "processor", "cores", "threads", "governor", "temperature_c", "load_1min", "versions")
    return {key: environment[key] for key in shown if key in environment}


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "unknown"


def _ms(value: object) -> str | None:
    return f"{_number(value)} ms" if isinstance(value, int | float) else None


def _interval(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{(value[1] - value[0]) / 2:.3g}"
    return _number(value)


def _flat(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return None
    return ", ".join(f"{key} {_leaf(item)}" for key, item in value.items() if item not in (None, "", {}, []))


def _leaf(item: object) -> str:
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{key} {_leaf(inner)}" for key, inner in item.items()) + "}"
    return f"{item:.4g}" if isinstance(item, float) else str(item)
