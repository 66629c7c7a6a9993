"""`edgestudio publish`: a model goes to a registry under a semantic version."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.cli.registry import ADDRESS
from edgestudio.studio.app import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --to REGISTRY [--name NAME] [--version VERSION]."""
    parser.add_argument(
        "model", metavar="MODEL", help="a model file, or a name or hash prefix in the library"
    )
    parser.add_argument("--to", required=True, metavar="REGISTRY", help=ADDRESS)
    parser.add_argument("--name", help="what it is called there; by default as in the library")
    parser.add_argument(
        "--version", help="semantic version; by default the model's own, else the next one that is free there"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Publish the files and the facts about them."""
    row = await studio.models.locate(options.model)
    said = await studio.registries.publish(row.sha256, options.to, name=options.name, version=options.version)
    console.result(said, f"{said['name']} {said['version']} is published as {said['reference']}")
    return 0
