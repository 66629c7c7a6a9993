"""`edgestudio inspect`: what a model file is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestudio.cli.console import Console, facts, in_bytes, table
from edgestudio.studio.app import Studio

_LARGEST = 1 << 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL [--size NAME=N]…."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file or folder, of any format")
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        type=_size,
        metavar="NAME=N",
        help="give an open dimension a size: by its name (batch=4), or by input and axis (x:2=224)",
    )


def _size(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isascii() or not number.isdigit() or not 0 < int(number) < _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N with a whole number from 1 on")
    return name, int(number)


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Inspect in a worker and print."""
    summary = await studio.models.inspect(options.model, dict(options.size))
    console.result(summary, _text(options.model.name, summary))
    return 0


def _text(name: str, summary: Mapping[str, Any]) -> str:
    opsets = ", ".join(
        f"{domain or 'ai.onnx'} {version}" for domain, version in _pairs(summary.get("opsets"))
    )
    quantization = summary.get("quantization")
    parts = [
        facts(
            [
                ("file", name),
                (
                    "format",
                    f"{summary.get('format_title') or ''} {summary.get('format_version') or ''}".strip(),
                ),
                ("producer", summary.get("producer")),
                ("opsets", opsets or None),
                ("size", in_bytes(summary.get("size_bytes"))),
                ("nodes", summary.get("nodes")),
                ("parameters", _count(summary.get("parameters"))),
                ("MACs", _count(summary.get("macs"))),
                *_uncounted(summary.get("macs_unknown")),
                ("peak activations", in_bytes(summary.get("peak_activation_bytes"))),
                ("quantization", _said(quantization)),
            ]
        )
    ]
    for title in ("inputs", "outputs"):
        tensors = summary.get(title) or []
        rows = [(t.get("name"), t.get("dtype"), _shape(t.get("shape"))) for t in tensors]
        parts.append(table((title, "type", "shape"), rows))
    operators = summary.get("operators") or {}
    ordered = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    parts.append(table(("operator", "count"), ordered))
    parts.extend(f"warning: {warning}" for warning in summary.get("warnings") or [])
    return "\n\n".join(parts)


def _pairs(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _count(value: object) -> str | None:
    return f"{value:,}" if isinstance(value, int) else None


def _uncounted(operators: object) -> list[tuple[str, object]]:
    """Operators whose work is not known, most frequent first, where there are any."""
    if not isinstance(operators, Mapping) or not operators:
        return []
    ordered = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{op} ({number})" if number > 1 else op for op, number in ordered[:8])
    return [("not counted", shown + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else ""))]


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item) or "none"
    return "none" if value is None else str(value)


def _shape(shape: object) -> str:
    if not isinstance(shape, list | tuple):
        return "unknown"
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"
