"""`edgestudio registry list`: what a registry of models has."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio

ADDRESS = "a folder, oci://host/prefix, or mlflow://host; +http where there is no TLS (oci+http://…)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list REGISTRY."""
    parser.add_argument("action", choices=("list",), metavar="ACTION", help="list")
    parser.add_argument("registry", metavar="REGISTRY", help=ADDRESS)


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """List the models with their versions, oldest first."""
    listed = await studio.registries.models(options.registry)
    shown = table(("model", "newest", "versions"), [
        (each.name, each.versions[-1] if each.versions else "-", ", ".join(each.versions)) for each in listed
    ])  # fmt: skip
    models = [{"name": each.name, "versions": list(each.versions)} for each in listed]
    console.result({"registry": options.registry, "models": models}, shown if models else "Nothing is there.")
    return 0
