"""The steps of a deployment as the user sees them: which have been, which is on, which will not come."""

from __future__ import annotations

import time
from dataclasses import replace

from edgestudio.studio.rows import StepState, TimelineStep

# From the drop to the commit, in order.
STEPS = ("preflight", "package", "transfer", "verify", "dry run", "trial", "commit")
# Which step the board is at, by the state of its install.
STEP_OF_STATE = {
    "offered": "transfer",
    "receiving": "transfer",
    "verified": "verify",
    "inspected": "verify",
    "staged": "verify",
    "dryrun": "dry run",
    "trial": "trial",
    "committed": "commit",
}

Timeline = tuple[TimelineStep, ...]


def planned() -> Timeline:
    """All steps, waiting."""
    return tuple(TimelineStep(name, "waiting") for name in STEPS)


def at(steps: Timeline, name: str, detail: str = "") -> Timeline:
    """The step `name` is on: those before it are done, and going back is not shown."""
    index = STEPS.index(name)
    if any(step.state != "waiting" for step in steps[index + 1 :]):
        return steps
    now = time.time()
    before = tuple(_ended(step, "done", now) for step in steps[:index])
    step = steps[index]
    started = now if step.started is None else step.started
    on = replace(step, state="running", detail=detail or step.detail, started=started)
    return (*before, on, *steps[index + 1 :])


def finished(steps: Timeline, detail: str = "") -> Timeline:
    """Every step is done."""
    now = time.time()
    *before, last = steps
    ended = _ended(last, "done", now)
    return (*(_ended(step, "done", now) for step in before), replace(ended, detail=detail or ended.detail))


def stopped(steps: Timeline, detail: str = "") -> Timeline:
    """The step that was on has failed, and those after it do not come."""
    now = time.time()
    on = next((index for index, step in enumerate(steps) if step.state in ("running", "waiting")), None)
    if on is None:
        return steps
    failed = replace(_ended(steps[on], "failed", now), detail=detail or steps[on].detail)
    return (*steps[:on], failed, *(replace(step, state="skipped") for step in steps[on + 1 :]))


def _ended(step: TimelineStep, state: StepState, now: float) -> TimelineStep:
    if step.state not in ("running", "waiting"):
        return step
    return replace(step, state=state, started=step.started or now, ended=now)
