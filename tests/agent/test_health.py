"""Faults 34 and 35: the gate on golden answers, NaN, constants, latency, memory, errors and drift; the line."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edgestudio.agent.install.health import HealthGate, golden_failure, is_constant, over_budget
from edgestudio.agent.observe.creep import CreepWatch
from edgestudio.agent.run.queue import BACKGROUND, NORMAL, URGENT, JobQueue
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.golden import Golden
from edgestudio.wire.histogram import ConfidenceHistogram
from edgestudio.wire.release import HealthLimits

LIMITS = HealthLimits(
    trial_s=5, trial_inferences=10, latency_p95_ms=10.0, memory_bytes=1000, temperature_c=80.0
)


def golden(scale: float = 1.0) -> Golden:
    rng = np.random.default_rng(0)
    return Golden(
        {"x": rng.random((4, 1, 8)).astype(np.float32)},
        {"y": (rng.random((4, 1, 10)) * scale).astype(np.float32)},
    )


def answers(reference: Golden) -> list[dict[str, np.ndarray]]:
    return [{name: array.copy() for name, array in expected.items()} for _, expected in reference]


def answer(
    ms: float = 1.0, confidence: float = 0.9, *, finite: bool = True, mark: int = 0
) -> dict[str, object]:
    return {"stages_ms": {"infer": ms}, "confidence": confidence, "finite": finite, "mark": mark}


def test_golden_answers_that_hold_and_that_do_not() -> None:
    reference = golden(scale=50.0)
    assert golden_failure(reference, answers(reference), LIMITS) == ""
    near = answers(reference)
    near[0]["y"] += 0.1  # 0.2 % of the range
    assert golden_failure(reference, near, LIMITS) == ""
    cases = {
        "differ": lambda a: a.__setitem__("y", a["y"] + 5.0),
        "NaN": lambda a: a["y"].__setitem__((0, 0), np.nan),
        "shape": lambda a: a.__setitem__("y", a["y"][..., :5]),
        "no output": lambda a: a.pop("y"),
    }
    for word, spoil in cases.items():
        wrong = answers(reference)
        spoil(wrong[2])
        assert word in golden_failure(reference, wrong, LIMITS)
    flipped = answers(reference)
    for each in flipped:
        each["y"] = each["y"][..., ::-1]
    assert "differ" in golden_failure(reference, flipped, LIMITS)
    lenient = HealthLimits(golden_max_abs=10.0)
    assert "keep their label" in golden_failure(reference, flipped, lenient)


def test_a_constant_golden_allows_a_constant_model() -> None:
    reference = Golden({"x": np.zeros((3, 2))}, {"y": np.ones((3, 4))})
    assert is_constant(reference)
    assert golden_failure(reference, answers(reference), LIMITS) == ""
    assert not is_constant(golden())


def check(gate: HealthGate, rss: float | None = None, temperature: float | None = None) -> str:
    return gate.check(rss_bytes=rss, temperature_c=temperature)


def test_a_healthy_candidate_stays_and_is_enough_in_time() -> None:
    gate = HealthGate(LIMITS)
    for number in range(60):
        gate.observe(answer(mark=number), sample=number)
        assert check(gate, 500.0, 60.0) == ""
    assert not gate.is_enough(4.9)
    assert gate.is_enough(5.0)


def test_answers_that_are_nan_or_all_the_same_end_the_trial() -> None:
    gate = HealthGate(LIMITS)
    for _ in range(3):
        gate.observe(answer(finite=False))
    assert "NaN" in check(gate)
    gate = HealthGate(LIMITS)
    for number in range(8):
        gate.observe(answer(mark=7), sample=number)
    assert "same answer" in check(gate)
    gate = HealthGate(LIMITS, may_be_constant=True)
    for number in range(8):
        gate.observe(answer(mark=7), sample=number)
    assert check(gate) == ""
    gate = HealthGate(LIMITS)
    for _ in range(20):
        gate.observe(answer(mark=7), sample=3)  # one sample over and over proves nothing
    assert check(gate) == ""


def test_limits_that_chance_can_miss_must_be_missed_three_times_in_a_row() -> None:
    gate = HealthGate(LIMITS)
    for number in range(30):
        gate.observe(answer(ms=50.0, mark=number), sample=number)
    assert [bool(check(gate)) for _ in range(3)] == [False, False, True]
    gate = HealthGate(LIMITS)
    assert [bool(check(gate, rss=2000.0)) for _ in range(2)] == [False, False]
    assert check(gate, rss=500.0) == ""
    assert [bool(check(gate, rss=2000.0)) for _ in range(3)] == [False, False, True]
    gate = HealthGate(LIMITS)
    assert ["°C" in check(gate, temperature=95.0) for _ in range(3)] == [False, False, True]
    gate = HealthGate(LIMITS)
    assert check(gate, None, None) == "", "what nobody knows is no fault of the model"


def test_errors_and_drift_end_the_trial_once_there_is_enough_to_judge() -> None:
    gate = HealthGate(LIMITS)
    for number in range(15):
        gate.observe(answer(mark=number), sample=number)
    gate.observe_error()
    assert check(gate) == ""
    for _ in range(8):
        gate.observe_error()
    assert "requests failed" in check(gate)
    baseline = ConfidenceHistogram.of([0.95] * 500)
    gate = HealthGate(LIMITS, baseline)
    for number in range(60):
        gate.observe(answer(confidence=0.3, mark=number), sample=number)
    assert "baseline" in check(gate)
    gate = HealthGate(LIMITS, baseline)
    for number in range(60):
        gate.observe(answer(confidence=0.9, mark=number), sample=number)
    assert check(gate) == ""


def test_the_dry_run_forgives_one_slow_run() -> None:
    assert over_budget([1.0] * 19 + [100.0], LIMITS) == ""
    assert "dry run" in over_budget([20.0] * 20, LIMITS)
    assert over_budget([20.0] * 20, HealthLimits(latency_p95_ms=None)) == ""


def test_memory_that_grows_and_latency_that_creeps_are_told_once() -> None:
    steady, leaking, slowing = CreepWatch(), CreepWatch(), CreepWatch()
    told: dict[str, list[str]] = {"steady": [], "leak": [], "slow": []}
    for second in range(1200):
        told["steady"].append(steady.note(100e6 + (second % 7) * 1e6, 5.0 + second % 3))
        told["leak"].append(leaking.note(100e6 + second * 1e6, 5.0))
        told["slow"].append(slowing.note(100e6, 5.0 + second * 0.01))
    assert set(told["steady"]) == {""}
    assert next(why for why in told["leak"] if why).startswith("its memory grew")
    assert len([why for why in told["leak"] if why]) == 1
    assert len([why for why in told["slow"] if why]) == 1
    assert CreepWatch().note(None, None) == ""


def test_the_line_keeps_priorities_drops_by_policy_and_forgets_the_late() -> None:
    async def scenario() -> None:
        queue = JobQueue(capacity=3)
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        await queue.put("old background", priority=BACKGROUND)
        await queue.put("new background", priority=BACKGROUND)
        await queue.put("request", priority=NORMAL, answer=waiting)
        await queue.put("urgent", priority=URGENT)
        got = [(await queue.get()).work for _ in range(3)]
        assert got == ["urgent", "request", "new background"]
        assert queue.take_counts() == (1, 0, 4 - 1)
        queue.policy = "drop-newest"
        for work in "abcd":
            await queue.put(work)
        assert [(await queue.get()).work for _ in range(3)] == ["a", "b", "c"]
        late = loop.create_future()
        await queue.put("late", deadline_s=0.0, answer=late)
        await queue.put("in time")
        assert (await queue.get()).work == "in time"
        with pytest.raises(DeviceError, match="deadline"):
            await late
        queue.policy = "block"
        for work in "xyz":
            await queue.put(work)
        blocked = asyncio.ensure_future(queue.put("later"))
        await asyncio.sleep(0.02)
        assert not blocked.done()
        assert (await queue.get()).work == "x"
        await blocked
        queue.drain(DeviceError("over"))
        assert len(queue) == 0
        waiting.cancel()

    asyncio.run(scenario())


def test_numbers_of_classes_are_compared_by_being_equal() -> None:
    expected = np.tile(np.arange(10, dtype=np.int64), 10)
    reference = Golden({"x": np.zeros((1, 2))}, {"classes": expected[None]})
    near = expected.copy()
    near[:5] += 3  # some pixels at an edge fell to another class: far apart as numbers, few as places
    assert golden_failure(reference, [{"classes": near}], LIMITS) == ""
    near[:30] += 1
    assert "of the numbers in 'classes'" in golden_failure(reference, [{"classes": near}], LIMITS)


def test_random_answers_have_nothing_to_be_compared_with() -> None:
    reference = Golden({"x": np.zeros((2, 2))}, {})
    assert golden_failure(reference, [{"y": np.ones(2)}] * 2, LIMITS) == ""
    assert is_constant(reference)
