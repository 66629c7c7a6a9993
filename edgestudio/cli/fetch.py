"""`edgestudio import`: a model comes from a registry into the library."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.cli.library import describe
from edgestudio.cli.registry import ADDRESS
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME[@VERSION] --from REGISTRY."""
    parser.add_argument("name", metavar="NAME[@VERSION]", help="without a version the newest release")
    parser.add_argument("--from", dest="registry", required=True, metavar="REGISTRY", help=ADDRESS)


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Fetch, check, inspect and keep."""
    name, _, version = options.name.partition("@")
    row = await studio.registries.fetch(options.registry, name, version or None)
    console.result(describe(row), f"{row.name} {row.version} is in the library as {row.sha256[:12]}")
    return 0
