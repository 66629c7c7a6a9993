"""Turns numbers into the short texts that panels show, with their units; what is unknown is a dash."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from edgestudio.runtime.format_names import format_title

DASH = "–"
_SIZES = ("B", "kB", "MB", "GB", "TB")
_COUNTS = ("", "k", "M", "G", "T")


def size(size_bytes: float | None) -> str:
    """Bytes in powers of 1000, three digits: `26.4 kB`."""
    if size_bytes is None:
        return DASH
    value, unit = _scaled(float(size_bytes), _SIZES)
    return f"{int(size_bytes)} B" if unit == "B" else f"{_three_digits(value)} {unit}"


def count(number: float | None) -> str:
    """A number of things, three digits: `1.25 M`."""
    if number is None:
        return DASH
    value, unit = _scaled(float(number), _COUNTS)
    return f"{number:,.0f}" if not unit else f"{_three_digits(value)} {unit}"


def latency(latency_ms: object) -> str:
    """Milliseconds, or microseconds below a hundredth; takes a number or a mapping with `p50`."""
    value = latency_ms.get("p50") if isinstance(latency_ms, Mapping) else latency_ms
    if not isinstance(value, int | float):
        return DASH
    if value < 0.01:
        return f"{_three_digits(value * 1000)} µs"
    return f"{_three_digits(value)} ms" if value < 1000 else f"{_three_digits(value / 1000)} s"


def figure(value: float) -> str:
    """A number with three digits, for where the unit stands beside it."""
    return _three_digits(value)


def accuracy(value: object) -> str:
    """A share as percent with one decimal; takes a share or a mapping with `top1`."""
    share = value.get("top1") if isinstance(value, Mapping) else value
    return f"{share * 100:.1f} %" if isinstance(share, int | float) else DASH


def change(before: float | None, after: float | None) -> str:
    """The relative change in percent with its sign: `−73 %`."""
    if not before or after is None:
        return ""
    percent = (after - before) / before * 100
    return f"{'−' if percent < 0 else '+'}{abs(percent):.0f} %" if abs(percent) >= 0.5 else "same"


def duration(seconds: float | None) -> str:
    """How long something took or will take: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return DASH
    if seconds < 10 and not isinstance(seconds, int):
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ago(moment: float | None, now: float | None = None) -> str:
    """How long ago a time (seconds since the epoch) was."""
    if not moment:
        return "never"
    seconds = (time.time() if now is None else now) - moment
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def clock(moment: float) -> str:
    """The time of day of a time, in the user's zone."""
    return time.strftime("%H:%M:%S", time.localtime(moment))


def shape(dimensions: object) -> str:
    """A tensor's shape: `1 × 28 × 28`."""
    if not isinstance(dimensions, list | tuple):
        return DASH
    return " × ".join("?" if each is None else str(each) for each in dimensions) or "scalar"


def facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What `inspect` found, as pairs of a name and a text; unknown ones are left out."""
    version = str(summary.get("format_version") or "")
    opsets = summary.get("opsets")
    if isinstance(opsets, Mapping) and opsets:
        version = ", ".join(f"{name or 'ai.onnx'} {number}" for name, number in opsets.items())
    rows: list[tuple[str, str | None]] = [
        ("Format", summary.get("format") and format_title(f"{summary['format']}")),
        ("Version", version),
        ("Producer", str(summary.get("producer") or "")),
        ("Size", summary.get("size_bytes") and size(summary["size_bytes"])),
        ("Parameters", _known(summary, "parameters")),
        ("MACs", _known(summary, "macs")),
        ("MACs not counted", _uncounted(summary.get("macs_unknown"))),
        ("Peak activations", summary.get("peak_activation_bytes") and size(summary["peak_activation_bytes"])),
        ("Nodes", _known(summary, "nodes")),
        ("Quantisation", _quantization(summary.get("quantization"))),
    ]
    return [(name, text) for name, text in rows if text]


def _known(summary: Mapping[str, Any], key: str) -> str | None:
    value = summary.get(key)
    return count(value) if isinstance(value, int | float) else None


def _uncounted(operators: object) -> str:
    """Operators whose work is not known, most frequent first."""
    if not isinstance(operators, Mapping):
        return ""
    ordered = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(op for op, _ in ordered[:3]) + more


def _quantization(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        parts = [str(value.get("kind") or "")]
        parts += [f"{value[key]} {key}" for key in ("weights", "activations") if value.get(key)]
        parts += ["per channel"] if value.get("per_channel") else []
        return ", ".join(part for part in parts if part)
    return ""


def _scaled(value: float, units: tuple[str, ...]) -> tuple[float, str]:
    for unit in units[:-1]:
        if abs(value) < 999.5:
            return value, unit
        value /= 1000
    return value, units[-1]


def _three_digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.0995 or value == 0 else f"{value:.3f}"
