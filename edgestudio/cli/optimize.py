"""`edgestudio optimize`: a variant of a model, made in a worker."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console, in_bytes, in_ms, table
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --recipe NAME_OR_FILE [--set …] [--data DATA] [--pipeline FILE] --out DIR."""
    parser.add_argument("model", metavar="MODEL", help="a model file, or a hash prefix of one in the library")
    parser.add_argument("--recipe", required=True, metavar="NAME_OR_FILE", help="see edgestudio recipes")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="PASS.OPTION=VALUE",
        help="change an option of the recipe; may be given several times",
    )
    parser.add_argument(
        "--data", type=Path, help="data to measure with, and to calibrate unless told otherwise"
    )
    parser.add_argument("--calibration", type=Path, metavar="DATA", help="data for calibration alone")
    parser.add_argument(
        "--pipeline", type=Path, metavar="FILE", help="how raw data becomes the model's input"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the artifact goes")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Run the recipe, copy the artifact to --out, print both measured sides."""
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"{options.out} is a file.", hint="--out names a folder; it is made when missing.")
    recipe = studio.optimizer.recipe(options.recipe, options.settings)
    source = await studio.models.locate(options.model)
    advice = await studio.reports.advise(source.sha256, recipe.as_dict()["steps"], platform.machine())
    for remark in advice:
        console.say(f"note: {remark}")
    row = await studio.optimizer.optimize(
        source.sha256, recipe, data=options.data, pipeline=options.pipeline, calibration=options.calibration
    )
    artifact = await studio.models.export(row.sha256, options.out / Path(row.path).name)
    result = {
        "artifact": str(artifact),
        "sha256": row.sha256,
        "parent": row.parent,
        "recipe": row.recipe,
        "steps": [dict(step) for step in row.steps],
        "before": row.before,
        "after": row.after,
        "verdicts": row.verdicts,
        "warnings": list(row.warnings),
        "advice": advice,
        "pipeline": row.pipeline_path,
    }
    warnings = "".join(f"\nwarning: {warning}" for warning in row.warnings)
    console.result(result, f"{_card(row.before or {}, row.after or {})}{warnings}\n\n{artifact}")
    return 0


def _card(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    rows = [
        ("size", in_bytes(before.get("size_bytes")), in_bytes(after.get("size_bytes"))),
        ("latency", in_ms(before.get("latency_ms")), in_ms(after.get("latency_ms"))),
        ("accuracy", _accuracy(before.get("accuracy")), _accuracy(after.get("accuracy"))),
        ("error", "-", _error(after.get("error"))),
    ]
    return table(("", "before", "after"), rows)


def _accuracy(accuracy: Mapping[str, Any] | None) -> str:
    if not accuracy or accuracy.get("top1") is None:
        return "unknown"
    return f"{accuracy['top1']:.2%} of {accuracy.get('n', '?')}"


def _error(error: Mapping[str, Any] | None) -> str:
    if not error:
        return "unknown"
    parts = [f"{key} {value:.4g}" for key, value in error.items() if isinstance(value, int | float)]
    return ", ".join(parts) or "unknown"
