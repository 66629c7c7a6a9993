"""`edgestudio edit`: small edits of a model, each a step that makes a new one under its parent."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL [--rename OLD=NEW]… [--set NAME=SIZE]… [--shape INPUT=A,B,…]… [--inputs …] [--outputs …] …."""
    parser.add_argument(
        "model", metavar="MODEL", help="a model file, or a name or hash prefix in the library"
    )
    parser.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW", help="rename a tensor or node"
    )
    parser.add_argument(
        "--set", dest="sizes", action="append", default=[], metavar="SYMBOL=SIZE",
        help="give a symbolic dimension a size, such as batch=1",
    )  # fmt: skip
    parser.add_argument(
        "--shape", action="append", default=[], metavar="INPUT=A,B,…",
        help="give an input another shape; a word frees that dimension, such as x=N,3,224,224",
    )  # fmt: skip
    parser.add_argument(
        "--inputs", metavar="TENSOR,…", help="cut out a part: the tensors that it begins with"
    )
    parser.add_argument("--outputs", metavar="TENSOR,…", help="cut out a part: the tensors that it ends with")
    parser.add_argument("--drop", metavar="OUTPUT,…", help="remove outputs, and what only they needed")
    parser.add_argument("--opset", type=int, metavar="N", help="convert to another opset")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the result here")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Run the edits in the order: cut out, drop, rename, dimensions, opset."""
    steps = steps_of(options)
    source = await studio.models.locate(options.model)
    row = await studio.edits.edit(source.sha256, steps)
    artifact = await studio.models.export(row.sha256, options.out) if options.out else None
    result = {
        "artifact": str(artifact or row.path),
        "sha256": row.sha256,
        "parent": row.parent,
        "steps": [dict(step) for step in row.steps],
        "warnings": list(row.warnings),
    }
    said = "\n".join(
        f"{step.get('title')}: {(step.get('report') or {}).get('sentence', 'done')}" for step in row.steps
    )
    console.result(result, f"{said}\n\n{result['artifact']}")
    return 0


def steps_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The steps of the recipe that the arguments mean; raises UsageError when there are none."""
    steps: list[dict[str, Any]] = []
    if options.inputs or options.outputs:
        cut = {"inputs": _names(options.inputs), "outputs": _names(options.outputs)}
        steps.append({"pass": "extract", "options": cut})
    if options.drop:
        steps.append({"pass": "drop-outputs", "options": {"outputs": _names(options.drop)}})
    if options.rename:
        steps.append({"pass": "rename", "options": {"names": dict(map(_pair, options.rename))}})
    if options.sizes or options.shape:
        sizes = {name: _size(text) for name, text in map(_pair, options.sizes)}
        shapes = {name: [_size(part) for part in text.split(",")] for name, text in map(_pair, options.shape)}
        steps.append({"pass": "set-dimensions", "options": {"dimensions": sizes, "inputs": shapes}})
    if options.opset is not None:
        steps.append({"pass": "convert-opset", "options": {"opset": options.opset}})
    if not steps:
        raise UsageError("Nothing is said to be edited.", hint="See edgestudio edit --help.")
    return steps


def _names(text: str | None) -> list[str]:
    return [name for name in (text or "").split(",") if name]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise UsageError(f"`{text}` is no name with a value.", hint="Write NAME=VALUE.")
    return name, value


def _size(text: str) -> int | str:
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20 else text
