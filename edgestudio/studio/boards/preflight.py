"""Before anything is sent: whether a board has the runtime, memory, disk and cool that a model needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgestudio.runtime.backend import BACKENDS, runtime_title
from edgestudio.runtime.format_names import format_title
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import DeviceError

# The board keeps this free beyond the release, and needs a tenth more while receiving it.
_DISK_MARGIN_BYTES = 64 << 20
_DISK_FACTOR = 1.1
# A runtime's own memory beside weights and activations.
_RUNTIME_BYTES = 64 << 20
_HOT_C = 85.0
# Where the target check has another word for a runtime.
_TARGETS = {"onnx": "onnxruntime", "tensorrt_rtx": "tensorrt"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `ok` is None where the board does not say."""

    name: str
    ok: bool | None
    detail: str


def examine(model: ModelRow, info: Mapping[str, Any], state: Mapping[str, Any]) -> list[Finding]:
    """Compare what the model needs with what the board says about itself; what it does not say is unknown."""
    return [
        _runtime(model, info),
        _memory(model, info),
        _disk(model, info, state),
        _temperature(info, state),
    ]


def refuse(findings: Iterable[Finding], board: str) -> None:
    """Raise DeviceError for the first finding that does not hold."""
    for finding in findings:
        if finding.ok is False:
            raise DeviceError(
                f"{board} cannot take this model: {finding.detail}.",
                hint="Choose another variant, or another board.",
                code=f"preflight-{finding.name}",
            )


def sentence(findings: Iterable[Finding]) -> str:
    """All findings in one line for the timeline."""
    mark = {True: "✓", False: "✗", None: "?"}
    return ", ".join(f"{finding.name} {mark[finding.ok]}" for finding in findings)


def targets_for(model: ModelRow, info: Mapping[str, Any]) -> list[str]:
    """What the target check calls the board's own runtimes that open this model's format."""
    wanted = runtimes_for(model.format)
    if model.format == "tensorrt":  # an engine was built for its board; what it holds is not told
        return []
    return [_TARGETS.get(name, name) for name in _names(info.get("runtimes")) if name in wanted]


def operators(checks: Mapping[str, Mapping[str, Any]]) -> Finding:
    """Whether one of the runtimes has every operator, from the target check's answer for each of them."""
    if not checks:
        return Finding("operators", ok=None, detail="nothing is known about its runtimes")
    runs = [name for name, check in checks.items() if check.get("verdict") in ("runs", "runs with limits")]
    if runs:
        return Finding("operators", ok=True, detail=f"{runs[0]} has all of them")
    if any(check.get("verdict") == "unknown" for check in checks.values()):
        return Finding("operators", ok=None, detail="some are not known to run there")
    return Finding("operators", ok=False, detail="; ".join(_lacking(*each) for each in checks.items()))


def _lacking(name: str, check: Mapping[str, Any]) -> str:
    """What a runtime lacks, with the first remedy."""
    bad = [row for row in check.get("operators") or () if row.get("status") == "unsupported"]
    remedy = next((str(row["remedy"]) for row in bad if row.get("remedy")), "")
    if bad:
        listed = ", ".join(str(row.get("op")) for row in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        return f"{name} there has no {listed}{more}" + (f" ({remedy.rstrip('.')})" if remedy else "")
    bad = [row for row in check.get("findings") or () if row.get("status") == "unsupported"]
    reason = str(bad[0].get("reason")) if bad else "it does not run there"
    return f"{name}: {reason}".rstrip(".")


def runtimes_for(model_format: str) -> tuple[str, ...]:
    """The runtimes that open models of this format, by their names on a board."""
    return tuple(spec.name for spec in BACKENDS if model_format in (*spec.formats, *spec.builds_from))


def _runtime(model: ModelRow, info: Mapping[str, Any]) -> Finding:
    wanted = runtimes_for(model.format)
    if not wanted:
        return Finding(
            "runtime", ok=False, detail=f"no board runs {format_title(model.format)} models; convert it first"
        )
    names = _names(info.get("runtimes"))
    if not names:
        return Finding("runtime", ok=None, detail="the board does not say which runtimes it has")
    found = [name for name in names if name in wanted]
    if found:
        return Finding("runtime", ok=True, detail=runtime_title(found[0]))
    has = ", ".join(map(runtime_title, names))
    needs = " or ".join(map(runtime_title, wanted))
    return Finding("runtime", ok=False, detail=f"it needs {needs}, and the board has {has}")


def _memory(model: ModelRow, info: Mapping[str, Any]) -> Finding:
    has = _number(info, "memory_available_bytes", "memory_bytes", "memory_total_bytes")
    peak = model.summary.get("peak_activation_bytes")
    needs = model.size_bytes + (peak if isinstance(peak, int) else 0) + _RUNTIME_BYTES
    if has is None:
        return Finding("memory", ok=None, detail="the board does not say how much memory it has")
    detail = f"it needs about {_mib(needs)} of memory, and the board has {_mib(has)}"
    return Finding("memory", ok=needs <= has, detail=detail)


def _disk(model: ModelRow, info: Mapping[str, Any], state: Mapping[str, Any]) -> Finding:
    free = _number({**info, **state}, "disk_free_bytes", "free_bytes")
    needs = int(model.size_bytes * _DISK_FACTOR) + _DISK_MARGIN_BYTES
    if free is None:
        return Finding("disk", ok=None, detail="the board does not say how much disk is free")
    detail = f"it needs {_mib(needs)} of disk, and the board has {_mib(free)} free"
    return Finding("disk", ok=needs <= free, detail=detail)


def _temperature(info: Mapping[str, Any], state: Mapping[str, Any]) -> Finding:
    sensors = state.get("sensors") or info.get("sensors") or {}
    for name, reading in sensors.items() if isinstance(sensors, Mapping) else ():
        if "temp" in str(name):
            value = reading[0] if isinstance(reading, list | tuple) and reading else None
            if isinstance(value, int | float):
                detail = f"its {name} is at {value:.0f} °C, and from {_HOT_C:.0f} °C it slows down"
                return Finding("head-room", ok=value < _HOT_C, detail=detail)
    return Finding("head-room", ok=None, detail="the board has no temperature sensor")


def _names(runtimes: object) -> list[str]:
    if isinstance(runtimes, Mapping):
        return [str(name) for name in runtimes]
    if isinstance(runtimes, list | tuple):
        return [str(entry.get("name") if isinstance(entry, Mapping) else entry) for entry in runtimes]
    return []


def _number(values: Mapping[str, Any], *names: str) -> int | None:
    return next((int(values[name]) for name in names if isinstance(values.get(name), int | float)), None)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
