"""`edgestudio project`: keep the state of the library in a file, and put it back."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio
from edgestudio.studio.project import read_project


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """save FILE | show FILE | restore FILE."""
    parser.add_argument(
        "action", choices=("save", "show", "restore"), metavar="ACTION", help="save, show, restore"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the project file")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Save, show or restore; restoring never deletes."""
    if options.action == "save":
        await studio.boards.load()
        path = await studio.project.save(options.file)
        document = read_project(path)
        said = {"project": str(path), "models": len(document.models), "boards": len(document.boards)}
        console.result(said, f"{len(document.models)} models and {len(document.boards)} boards are in {path}")
        return 0
    if options.action == "show":
        document = read_project(options.file)
        lines = [f"{model.name} {model.version}  {model.sha256[:12]}" for model in document.models]
        console.result(document.model_dump(mode="json"), "\n".join(lines) or "It holds no models.")
        return 0
    restored = await studio.project.open(options.file)
    said = {
        "project": str(options.file),
        "restored": list(restored.models),
        "missing": [{"name": name, "reason": reason} for name, reason in restored.missing],
        "unknown_boards": list(restored.unknown_boards),
    }
    lines = [f"{len(restored.models)} models are as the project says."]
    lines += [f"missing: {name}: {reason}" for name, reason in restored.missing]
    lines += [f"not paired here: {name}" for name in restored.unknown_boards]
    console.result(said, "\n".join(lines))
    return 0
