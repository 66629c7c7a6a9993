"""A timeline goes forwards, and ends with every step done, or with one that failed."""

from __future__ import annotations

from edgestudio.studio.boards.timeline import STEP_OF_STATE, STEPS, at, finished, planned, stopped


def states(steps):
    return [step.state for step in steps]


def test_goes_forwards_and_skips_what_was_too_quick_to_see():
    steps = at(planned(), "preflight", "looking")
    assert states(steps) == ["running", *["waiting"] * 6]
    steps = at(steps, "transfer", "10 %")
    assert states(steps)[:4] == ["done", "done", "running", "waiting"]
    started = steps[2].started
    steps = at(steps, "transfer", "90 %")
    assert (steps[2].started, steps[2].detail) == (started, "90 %")
    later = at(steps, "trial")
    assert at(later, "transfer", "late word") == later


def test_ends_well():
    steps = finished(at(planned(), "trial"), "release 3")
    assert set(states(steps)) == {"done"}
    assert steps[-1].detail == "release 3"
    assert all(step.ended is not None for step in steps)


def test_ends_badly_where_it_was():
    steps = stopped(at(planned(), "dry run"), "wrong answers")
    assert states(steps) == ["done"] * 4 + ["failed"] + ["skipped"] * 2
    assert steps[4].detail == "wrong answers"
    assert states(stopped(planned(), "at once"))[0] == "failed"


def test_every_state_of_a_board_has_its_step():
    assert set(STEP_OF_STATE.values()) <= set(STEPS)
