"""Compares what a model needs while it runs with the memory that a board has."""

from __future__ import annotations

from typing import Any, Literal

from edgestudio.model.totals.analysis import Analysis

_RUNTIME_BYTES = 60_000_000
"""What a process with Python, NumPy and a runtime takes before a model is loaded (measured: 35 to 64 MiB)."""
_SYSTEM_SHARE = 0.5
"""The part of a board's memory that the system and other programs are left with."""


def memory_finding(
    analysis: Analysis, kind: Literal["process", "arena"], board: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """`(memory, finding)`: bytes needed beside bytes there, and what to say when they do not fit.

    A process holds weights and activations; a microcontroller keeps weights in flash and needs RAM for the arena.
    """
    weights = sum(analysis.weight_bytes.values())
    activations = analysis.peak_activation_bytes
    beside = 0 if kind == "arena" else weights + _RUNTIME_BYTES
    needed = None if activations is None else activations + beside
    sizes = sorted(board.get("memory_bytes") or ()) if board is not None else []
    memory: dict[str, Any] = {
        "needed_bytes": needed,
        "weight_bytes": weights,
        "activation_bytes": activations,
        "board_bytes": list(sizes),
    }
    if needed is None or not sizes:
        return memory, None
    share = 1.0 if kind == "arena" else _SYSTEM_SHARE
    fitting = [size for size in sizes if needed <= size * share]
    if len(fitting) == len(sizes):
        return memory, None
    words = f"It needs about {_megabytes(needed)} while it runs"
    if not fitting:
        reason = f"{words}, and the largest of these boards has {_megabytes(sizes[-1])}."
        return memory, {
            "status": "unsupported",
            "reason": reason,
            "remedy": "Quantise it, or lower its input size.",
        }
    reason = f"{words}: boards with less than {_megabytes(fitting[0])} are too small."
    return memory, {
        "status": "partial",
        "reason": reason,
        "remedy": "Choose the larger board, or quantise it.",
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 10_000_000 else f"{size / 1e6:,.0f} MB"
