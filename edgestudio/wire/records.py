"""What boards report: telemetry windows, events and install steps, as frozen values and as they travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from edgestudio.wire.errors import InputError
from edgestudio.wire.fields import Fields, clean_text

RECORD_VERSION = 1
KIND_WINDOW = "win"
KIND_EVENT = "evt"
KIND_INSTALL = "install"
KIND_GAP = "gap"
"""A `gap{from,to}` stands for records that a slow reader missed; they can be had from the history."""

Quality = Literal["ok", "not_available", "denied", "stale", "simulated"]
Clock = Literal["ok", "bad"]
Level = Literal["info", "warning", "error"]
STAGES = ("load", "pre", "inf", "post", "tot", "queue")
"""Keys of `Window.latency`: load, preprocess, inference, postprocess, whole, time waited."""


@dataclass(frozen=True)
class SensorReading:
    """One reading: `value` in `unit`, None unless it is truly known, and then `reason` says why not.

    `quality` is "ok", "not_available" (reason), "denied" (reason says how to allow), "stale" (reason says
    for how long) or "simulated". A missing value is never zero.
    """

    value: float | None
    unit: str
    quality: Quality = "ok"
    reason: str = ""

    def to_wire(self) -> list[Any]:
        """As it travels: [value, unit, quality, reason]; trailing defaults are left out."""
        if self.reason:
            return [self.value, self.unit, self.quality, self.reason]
        return [self.value, self.unit] if self.quality == "ok" else [self.value, self.unit, self.quality]

    @classmethod
    def from_wire(cls, value: object) -> SensorReading:
        """Read what travelled; raises InputError."""
        if not isinstance(value, list) or not 2 <= len(value) <= 4:
            raise InputError("a sensor reading must be [value, unit, quality, reason]", code="bad-field")
        number, unit = value[:2]
        quality = value[2] if len(value) > 2 else "ok"
        reason = value[3] if len(value) > 3 else ""
        if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))):
            raise InputError("a sensor's value must be a number or null", code="bad-field")
        if quality not in get_args(Quality) or not isinstance(unit, str) or not isinstance(reason, str):
            raise InputError("a sensor reading has an unknown quality or unit", code="bad-field")
        return cls(number, clean_text(unit, 16), cast("Quality", quality), clean_text(reason, 300))


@dataclass(frozen=True)
class Window:
    """What one model did on one board in one stretch of time.

    `time_s` is the board's wall clock (Unix seconds), to be shown, never to order by: order is
    (`boot`, `seq`). `latency` maps each of `STAGES` to a `LatencyHistogram.to_dict()` or None; `confidence`
    and `margin` are `ConfidenceHistogram.to_dict()` or None; `sensors` are keyed by name, such as
    `cpu_temperature` or `power`.
    """

    device: str
    boot: str
    seq: int
    time_s: float
    mono_s: float
    duration_s: float
    model: str
    release: int
    version: str = ""
    slot: str = ""
    clock: Clock = "ok"
    inferences: int = 0
    errors: int = 0
    timeouts: int = 0
    dropped: int = 0
    queue_max: int = 0
    fallbacks: int = 0
    latency: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    confidence: Mapping[str, Any] | None = None
    margin: Mapping[str, Any] | None = None
    classes: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    sensors: Mapping[str, SensorReading] = field(default_factory=dict)
    simulated: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    """What else happened, by name: cached, batches, batched, invalid, expired, action_sent, remote_used, ..."""

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        wire: dict[str, Any] = {"v": RECORD_VERSION, "k": KIND_WINDOW}
        wire.update({key: getattr(self, name) for key, name in _WINDOW_KEYS.items()})
        wire["sys"] = {name: reading.to_wire() for name, reading in self.sensors.items()}
        return wire

    @classmethod
    def from_dict(cls, value: object) -> Window:
        """Read what travelled; raises InputError. Histograms are checked where they are merged."""
        f = Fields(value, "window")
        sensors = f.mapping("sys", limit=200, default={})
        return cls(
            **_origin(f),
            duration_s=f.number("dur", low=0) or 0.0,
            model=f.text("m", limit=100),
            release=f.integer("rel", default=0),
            version=f.text("ver", limit=100, default=""),
            slot=f.text("slot", limit=100, default=""),
            inferences=f.integer("n", default=0),
            errors=f.integer("err", default=0),
            timeouts=f.integer("timeout", default=0),
            dropped=f.integer("drop", default=0),
            queue_max=f.integer("q_max", default=0),
            fallbacks=f.integer("fallback", default=0),
            latency=f.mapping("lat", limit=32, default={}),
            confidence=f.mapping("conf") if "conf" in f else None,
            margin=f.mapping("margin") if "margin" in f else None,
            classes=f.mapping("cls", limit=2000, default={}),
            inputs=f.mapping("in", limit=64, default={}),
            counts=_counts(f.mapping("cnt", limit=64, default={})),
            sensors={clean_text(k, 64): SensorReading.from_wire(v) for k, v in sensors.items()},
        )


_WINDOW_KEYS = {
    "dev": "device", "boot": "boot", "seq": "seq", "t": "time_s", "mono": "mono_s", "clock": "clock",
    "dur": "duration_s", "m": "model", "rel": "release", "ver": "version", "slot": "slot", "n": "inferences",
    "err": "errors", "timeout": "timeouts", "drop": "dropped", "q_max": "queue_max", "fallback": "fallbacks",
    "lat": "latency", "conf": "confidence", "margin": "margin", "cls": "classes", "in": "inputs",
    "sim": "simulated", "cnt": "counts",
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something that happened once: `name` is a stable word (`install.committed`), `text` a sentence."""

    device: str
    boot: str
    seq: int
    time_s: float
    mono_s: float
    name: str
    text: str = ""
    level: Level = "info"
    model: str = ""
    release: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = "ok"
    simulated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return {
            "v": RECORD_VERSION, "k": KIND_EVENT, "dev": self.device, "boot": self.boot, "seq": self.seq,
            "t": self.time_s, "mono": self.mono_s, "clock": self.clock, "name": self.name, "level": self.level,
            "text": self.text, "m": self.model, "rel": self.release, "data": dict(self.data),
            "sim": self.simulated,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: object) -> Event:
        """Read what travelled; raises InputError."""
        f = Fields(value, "event")
        level = f.text("level", default="info")
        return cls(
            **_origin(f),
            name=f.text("name", limit=100),
            text=clean_text(f.text("text", limit=4000, default=""), 1000),
            level=cast("Level", level) if level in get_args(Level) else "info",
            model=f.text("m", limit=100, default=""),
            release=f.integer("rel", default=0),
            data=f.mapping("data", limit=100, default={}),
        )


def _counts(value: Mapping[str, Any]) -> dict[str, int]:
    if not all(type(count) is int and 0 <= count <= 2**53 for count in value.values()):
        raise InputError("the counts of a window must be whole numbers", code="bad-field")
    return {clean_text(str(name), 64): count for name, count in value.items()}


def kind_of(record: Mapping[str, Any]) -> str:
    """The kind of a record that travelled; raises InputError when its version is not understood."""
    f = Fields(record, "record")
    version = f.integer("v", default=RECORD_VERSION)
    if version != RECORD_VERSION:
        raise InputError(f"records of form {version} are not understood here", code="bad-version")
    return f.text("k", limit=32)


def _origin(f: Fields) -> dict[str, Any]:
    clock = f.text("clock", limit=8, default="ok")
    return {
        "device": f.text("dev", limit=100, default=""),
        "boot": f.text("boot", limit=64),
        "seq": f.integer("seq"),
        "time_s": f.number("t") or 0.0,
        "mono_s": f.number("mono", default=0.0) or 0.0,
        "clock": "bad" if clock == "bad" else "ok",
        "simulated": f.flag("sim", default=False),
    }
