"""`edgestudio examine`: whether data can carry a quantisation, and which layers it would hurt."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """data | layers MODEL --data DATA [--pipeline FILE]."""
    parser.add_argument("what", choices=("data", "layers"), metavar="WHAT",
                        help="data: is it fit to calibrate with; layers: which are better kept in float")  # fmt: skip
    parser.add_argument(
        "model", metavar="MODEL", help="a model file, or a name or hash prefix in the library"
    )
    parser.add_argument("--data", type=Path, help="the data; by default the model's own")
    parser.add_argument(
        "--pipeline", type=Path, metavar="FILE", help="how raw data becomes the model's input"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Examine in a worker and print a row for each finding or layer."""
    row = await studio.models.locate(options.model)
    work = studio.reports.doctor if options.what == "data" else studio.reports.sensitivity
    report = await work(row.sha256, data=options.data, pipeline=options.pipeline)
    console.result(dict(report.result), f"{table(report.columns, report.rows)}\n\n{report.verdict}")
    return 0
