"""Which jobs a worker can run: the entry point by name, its limits, its lane. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job.

    `entry` is "module:function", called with (params, out_dir, progress). `memory_bytes` bounds the address
    space of the worker, which libraries reserve far more of than they use. Jobs of the heavy lane run one
    after the other, so that they do not fight for memory nor blur each other's timings.
    """

    entry: str
    title: str
    memory_bytes: int
    timeout_s: float
    lane: Literal["light", "heavy"] = "heavy"
    niceness: int = 5


KINDS: dict[str, JobKind] = {
    "inspect": JobKind("edgestudio.model.inspection:inspect_job", "Inspect", 12 * GIB, 300, "light"),
    "inspect-graph": JobKind(
        "edgestudio.model.saved_graph:inspect_graph_job", "Inspect", 12 * GIB, 300, "light"
    ),
    # Its page reserves far more address space than it uses.
    "read-with-netron": JobKind(
        "edgestudio.ui.netron.reader:read_job", "Read with Netron", 4096 * GIB, 150, "light"
    ),
    "diff": JobKind("edgestudio.model.compare.diff:diff_job", "Compare", 16 * GIB, 300, "light"),
    "check": JobKind("edgestudio.model.target.check:check_job", "Check", 12 * GIB, 300, "light"),
    "statistics": JobKind(
        "edgestudio.model.statistics:statistics_job", "Weight statistics", 12 * GIB, 900, "light"
    ),
    "package": JobKind("edgestudio.optimize.package:package_job", "Package", 16 * GIB, 900, "light"),
    "optimize": JobKind("edgestudio.optimize.run:optimize_job", "Optimise", 32 * GIB, 6 * 3600),
    "evaluate": JobKind("edgestudio.optimize.evaluate:evaluate_job", "Evaluate", 32 * GIB, 6 * 3600),
    "doctor": JobKind(
        "edgestudio.optimize.calibration:doctor_job", "Examine the data", 16 * GIB, 900, "light"
    ),
    "sensitivity": JobKind(
        "edgestudio.optimize.sensitivity:sensitivity_job", "Sensitivity of layers", 32 * GIB, 6 * 3600
    ),
    "replay": JobKind("edgestudio.runtime.replay:replay_job", "Replay", 32 * GIB, 1800, "light"),
    # Not niced: a benchmark that yields to every other program measures the other programs.
    "bench": JobKind("edgestudio.runtime.bench:bench_job", "Benchmark", 32 * GIB, 24 * 3600, niceness=0),
}
