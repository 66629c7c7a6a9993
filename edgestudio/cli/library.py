"""`edgestudio library`: list, search and describe the models that are kept here."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console, facts, in_bytes, table
from edgestudio.runtime.format_names import format_title
from edgestudio.studio.app import Studio
from edgestudio.studio.library.facts import facts_of
from edgestudio.studio.library.search import search
from edgestudio.studio.library.semantic_version import parse_version
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list | search | show | tag | version | note | rename | facts | remove | export."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    def verb(name: str, summary: str, *, of_model: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=summary, description=summary, parents=[common])
        if of_model:
            made.add_argument(
                "model", metavar="MODEL", help="a name or hash prefix in the library, or a file"
            )
        return made

    listing = verb("list", "all models, oldest first", of_model=False)
    listing.add_argument("--sort", choices=("age", "name", "version", "size"), default="age")
    found = verb("search", "models that match, such as: tag:release op:Conv size<1M", of_model=False)
    found.add_argument("query", nargs="+", metavar="TERM", help="words, key:value, or measure<number")
    verb("show", "everything that is known about a model")
    tags = verb("tag", "add tags, or take some away")
    tags.add_argument("tags", nargs="+", metavar="TAG", help="a tag, or `^tag` to take it away")
    verb("version", "set the semantic version").add_argument("version", metavar="VERSION")
    verb("note", "replace the note").add_argument("note", metavar="TEXT")
    verb("rename", "give it another name").add_argument("name", metavar="NAME")
    said = verb("facts", "say how it was made")
    said.add_argument("--trained", metavar="DAY", help="day of the training, as 2026-03-31")
    said.add_argument("--dataset", metavar="TEXT", help="the data that it was trained on, with its version")
    said.add_argument("--metric", action="append", default=[], metavar="NAME=NUMBER", help="a measured value")
    said.add_argument("--tool", action="append", default=[], metavar="NAME=VERSION", help="what made it")
    verb("remove", "take it out of the library")
    verb("export", "copy its file or folder").add_argument("to", type=Path, metavar="PATH")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Do the one action and print what is there afterwards."""
    await studio.models.start()
    if options.action in ("list", "search"):
        rows = search(studio.models.rows, " ".join(options.query) if options.action == "search" else "")
        _list(in_sequence(rows, getattr(options, "sort", "age")), console)
        await studio.tell_damage()
        for notice in studio.notices.rows:
            console.say(f"{notice.level}: {notice.message} {notice.hint}")
        return 0
    row = await studio.models.locate(options.model)
    if options.action == "remove":
        await studio.models.remove(row.sha256)
        console.result({"sha256": row.sha256, "removed": True}, f"{row.name} is no longer in the library.")
    elif options.action == "export":
        path = await studio.models.export(row.sha256, options.to)
        console.result({"sha256": row.sha256, "artifact": str(path)}, str(path))
    else:
        row = await _changed(studio, row, options)
        console.result(describe(row), _text(row))
    return 0


async def _changed(studio: Studio, row: ModelRow, options: argparse.Namespace) -> ModelRow:
    models = studio.models
    if options.action == "tag":
        gone = {tag[1:] for tag in options.tags if tag.startswith("^")}
        new = [tag for tag in options.tags if not tag.startswith("^")]
        return await models.set_tags(row.sha256, [tag for tag in (*row.tags, *new) if tag not in gone])
    if options.action == "version":
        return await models.set_version(row.sha256, options.version)
    if options.action == "note":
        return await models.set_note(row.sha256, options.note)
    if options.action == "rename":
        return await models.rename(row.sha256, options.name)
    if options.action == "facts":
        return await models.set_facts(row.sha256, _facts(row, options))
    return row


def _facts(row: ModelRow, options: argparse.Namespace) -> dict[str, Any]:
    """What was said before with what is said now."""
    known: dict[str, Any] = dict(row.facts)
    if options.trained is not None:
        known["training_date"] = options.trained
    if options.dataset is not None:
        known["dataset_version"] = options.dataset
    metrics = {name: _number(name, text) for name, text in _pairs(options.metric)}
    known["metrics"] = {**dict(known.get("metrics") or {}), **metrics}
    known["tools"] = {**dict(known.get("tools") or {}), **dict(_pairs(options.tool))}
    return known


def _pairs(settings: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals and text):
            raise UsageError(f"`{setting}` is no name with a value.", hint="Write NAME=VALUE.")
        pairs.append((name, text))
    return pairs


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(
            f"The metric {name} needs a number, not {text!r}.", hint="Such as top1=0.98."
        ) from error


def in_sequence(rows: Sequence[ModelRow], by: str) -> list[ModelRow]:
    """Rows in the order that was asked for; those without a version come first in that order."""
    if by == "name":
        return sorted(rows, key=lambda row: row.name)
    if by == "size":
        return sorted(rows, key=lambda row: row.size_bytes)
    if by == "version":
        return sorted(rows, key=_version_order)
    return list(rows)


def _version_order(row: ModelRow) -> Any:
    try:
        return (1, parse_version(row.version))
    except InputError:
        return (0, parse_version("0.0.0"))


def _list(rows: Sequence[ModelRow], console: Console) -> None:
    listing = table(
        ("name", "version", "format", "size", "recipe", "tags", "hash"),
        [
            (row.name, row.version or "-", format_title(row.format), in_bytes(row.size_bytes), row.recipe or "-",
             ", ".join(row.tags), row.sha256[:12])
            for row in rows
        ],
    )  # fmt: skip
    text = listing if rows else "No model is like that. `edgestudio library list` shows all of them."
    console.result({"models": [describe(row) for row in rows]}, text)


def describe(row: ModelRow) -> dict[str, Any]:
    """A model as it is printed under `--json`."""
    summary: Mapping[str, Any] = row.summary
    return {
        "sha256": row.sha256,
        "name": row.name,
        "version": row.version or None,
        "format": row.format,
        "size_bytes": row.size_bytes,
        "created": row.created,
        "parent": row.parent,
        "recipe": row.recipe,
        "steps": [{"pass": step.get("pass"), "options": step.get("options")} for step in row.steps],
        "tags": list(row.tags),
        "note": row.note or None,
        "path": row.path,
        "opened_from": row.opened_from,
        "pipeline": row.pipeline_path,
        "data": row.data_path,
        "operators": summary.get("operators") or {},
        "parameters": summary.get("parameters"),
        "macs": summary.get("macs"),
        **facts_of(row),
    }


def _text(row: ModelRow) -> str:
    known = facts_of(row)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in known["metrics"].items())
    tools = ", ".join(f"{name} {value}" for name, value in known["tools"].items())
    pairs = [
        ("name", row.name),
        ("version", row.version or "-"),
        ("hash", row.sha256),
        ("format", format_title(row.format)),
        ("size", in_bytes(row.size_bytes)),
        ("added", time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created))),
        ("parent", row.parent or "-"),
        ("recipe", row.recipe or "-"),
        ("tags", ", ".join(row.tags) or "-"),
        ("trained", known["training_date"]),
        ("data set", known["dataset_version"]),
        ("metrics", metrics or None),
        ("tools", tools or None),
        ("file", row.path),
        ("note", row.note or "-"),
    ]
    return facts(pairs)
