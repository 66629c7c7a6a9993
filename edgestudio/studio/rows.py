"""What the stores hold and the panels show: frozen rows, keyed by stable identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JobState = Literal["queued", "running", "done", "failed", "crashed", "cancelled"]
Presence = Literal["online", "offline", "unknown"]
StepState = Literal["waiting", "running", "done", "failed", "skipped"]
NoticeLevel = Literal["info", "success", "warning", "error"]
ReportKind = Literal["check", "diff", "doctor", "sensitivity"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One artifact of the library; keyed by the SHA-256 of its content.

    `summary` is the result of `inspect` (see docs/cli.md), `graph_path` and `layout_path` point at the files
    that the worker wrote for the graph view, None until it has. `before` and `after` are the measured sides
    of the recipe that made this artifact (`size_bytes, latency_ms, accuracy, error`), None for a source;
    `verdicts` and `warnings` say what is to be thought of them. `calibration_path` is data that quantisation
    may look at, so that `data_path` stays unseen; None means the same data. `facts` are what people or
    a registry say about it: `training_date, dataset_version, metrics{}, tools{}`; `opened_from` is where its file was.
    `is_from_elsewhere` is a model that another window or a verb has just put into the library.
    """

    sha256: str
    name: str
    path: str
    format: str
    size_bytes: int
    created: float
    parent: str | None = None
    recipe: str | None = None
    version: str = ""
    tags: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    graph_path: str | None = None
    layout_path: str | None = None
    pipeline_path: str | None = None
    data_path: str | None = None
    calibration_path: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    verdicts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    opened_from: str | None = None
    is_from_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What an examination of a model found, as a table; a repeated one replaces the one before.

    `id` is the kind, the subject and what it was held against. `result` is the whole answer of the job.
    """

    id: str
    kind: ReportKind
    title: str
    subject: str
    verdict: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class JobRow:
    """One worker job; `fraction` is 0..1 of the whole, None when unknown. `log` holds its last lines."""

    id: str
    kind: str
    title: str
    state: JobState
    phase: str = ""
    fraction: float | None = None
    started: float | None = None
    ended: float | None = None
    message: str = ""
    hint: str = ""
    details: str = ""
    log: tuple[str, ...] = ()
    subject: str | None = None

    @property
    def is_over(self) -> bool:
        """True once nothing about this job will change any more."""
        return self.state in ("done", "failed", "crashed", "cancelled")


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """What a board runs: the slot's model name, release counter, version and artifact."""

    model: str
    release: int
    version: str
    sha256: str
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One board; keyed by the fingerprint of its certificate (an unpaired one by what it announces).

    `presence` comes from the session's heartbeat; a board that is not paired is "unknown", since mDNS says
    when a board appears and never reliably when it is gone. `screen` holds the last lines that a board
    started from here prints on its own console, such as the pairing code. `can_start` is true of one that was
    started from here and does not run now, `is_here` of one that runs on this computer, whoever started it.
    """

    id: str
    name: str
    address: str
    port: int
    presence: Presence = "unknown"
    is_paired: bool = False
    is_simulated: bool = False
    is_local: bool = False
    is_here: bool = False
    can_start: bool = False
    pairing_open: bool = False
    role: str = ""
    hardware: str = ""
    arch: str = ""
    runtimes: tuple[str, ...] = ()
    active: tuple[ActiveModel, ...] = ()
    last_seen: float | None = None
    problem: str = ""
    hint: str = ""
    screen: tuple[str, ...] = ()
    sensors: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One step of a deployment as the user sees it."""

    name: str
    state: StepState
    detail: str = ""
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One push of one artifact to one board, from preflight to commit or rollback."""

    id: str
    board: str
    model: str
    title: str
    state: Literal["running", "committed", "rolled-back", "failed", "cancelled"]
    steps: tuple[TimelineStep, ...] = ()
    reason: str = ""
    hint: str = ""
    active: str = ""
    previous: str = ""
    started: float = 0.0
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """Something the user should know; `details` unfold and can be copied."""

    id: str
    level: NoticeLevel
    message: str
    hint: str = ""
    details: str = ""
    time: float = 0.0
