"""The rings: order, gaps, merged percentiles, known records, releases, memory."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import numpy as np
import pytest

from edgestudio.monitor.series import BoardSeries
from edgestudio.wire.baseline import baseline_of
from edgestudio.wire.errors import InputError
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.records import Event, SensorReading, Window


def _window(seq: int, *, latencies: list[float] | None = None, **fields: object) -> Window:
    values = latencies if latencies is not None else [2.0 + 0.1 * (seq % 5)] * 20
    base = Window(
        device="board", boot="b1", seq=seq, time_s=1000.0 + seq, mono_s=float(seq), duration_s=1.0, model="digits",
        release=1, version="1.0.0", inferences=len(values),
        latency={"inf": LatencyHistogram.of(values).to_dict(), "tot": LatencyHistogram.of(values).to_dict()},
        confidence=ConfidenceHistogram.of([0.9] * len(values)).to_dict(), classes={"3": len(values)},
        sensors={"cpu_temperature": SensorReading(50.0 + seq, "°C")},
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


def test_percentiles_are_of_the_merged_histograms_not_averaged() -> None:
    series = BoardSeries()
    fast, slow = [1.0] * 990, [100.0] * 10
    series.add_window(_window(1, latencies=fast))
    series.add_window(_window(2, latencies=slow))
    overall = series.snapshot().overall_ms["infer"]
    # The average of the two windows' medians would be 50.
    assert overall[50] == pytest.approx(1.0, rel=0.05)
    assert overall[99] == pytest.approx(1.0, rel=0.05)
    assert series.snapshot().latency_ms["total"][50] == pytest.approx([1.0, 100.0], rel=0.05)


def test_a_missing_sensor_is_a_gap_with_its_reason() -> None:
    series = BoardSeries()
    series.add_window(_window(1))
    series.add_window(
        _window(2, sensors={"cpu_temperature": SensorReading(None, "°C", "denied", "needs video group")})
    )
    series.add_window(_window(3, sensors={}))
    sensor = series.snapshot().sensors["cpu_temperature"]
    assert sensor.values[0] == 51.0
    assert np.isnan(sensor.values[1:]).all()
    assert sensor.latest is None
    assert sensor.reason == "needs video group"


def test_late_windows_find_their_place_and_known_ones_are_dropped() -> None:
    series = BoardSeries()
    for seq in (1, 4, 2, 3, 3, 1):
        series.add_window(_window(seq))
    snapshot = series.snapshot()
    assert snapshot.time.tolist() == [1001.0, 1002.0, 1003.0, 1004.0]
    assert snapshot.inferences == 80
    assert snapshot.sensors["cpu_temperature"].values.tolist() == [51.0, 52.0, 53.0, 54.0]
    assert snapshot.sensors["cpu_temperature"].latest == 54.0


def test_a_lost_connection_breaks_the_lines_until_the_next_window() -> None:
    series = BoardSeries()
    assert series.snapshot().gap
    series.add_window(_window(1))
    series.mark_gap("connection lost")
    series.mark_gap("connection lost")
    snapshot = series.snapshot()
    assert snapshot.gap == "connection lost"
    assert np.isnan(snapshot.throughput_hz).tolist() == [False, True]
    series.add_window(_window(9))
    assert series.snapshot().gap == ""


def test_another_release_starts_its_own_distribution() -> None:
    series = BoardSeries()
    series.set_baseline("digits", baseline_of([0.9] * 1000))
    for seq in range(40):
        series.add_window(_window(seq))
    assert series.snapshot().drift.windows > 0
    series.add_window(_window(41, release=2))
    snapshot = series.snapshot()
    assert snapshot.release == 2
    assert snapshot.inferences == 20
    assert snapshot.drift.windows == 0
    assert len(snapshot.time) == 41


def test_the_snapshot_is_the_same_object_until_something_arrives() -> None:
    series = BoardSeries()
    series.add_window(_window(1))
    first = series.snapshot()
    assert series.snapshot() is first
    series.add_event(Event("board", "b1", 2, 1002.0, 2.0, "install.committed", "1.0.0 committed"))
    second = series.snapshot()
    assert second.revision > first.revision
    assert [marker.name for marker in second.markers] == ["install.committed"]


def test_old_windows_leave_and_memory_is_bounded() -> None:
    series = BoardSeries(history_s=60)
    for seq in range(500):
        series.add_window(_window(seq))
    snapshot = series.snapshot()
    assert len(snapshot.time) == 60
    assert len(series.snapshot(span_s=10).time) == 11


def test_malformed_histograms_are_refused_and_change_nothing() -> None:
    series = BoardSeries()
    with pytest.raises(InputError):
        series.add_window(_window(1, latency={"inf": {"s": 99, "o": 0, "c": [1]}}))
    with pytest.raises(InputError):
        series.set_baseline("digits", {"b": 3, "c": [1, 2, 3]})
    assert series.revision == 0


def test_threads_may_write_and_read_at_once() -> None:
    series = BoardSeries()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(200):
                snapshot = series.snapshot(random.choice([None, 20.0]))
                assert len(snapshot.time) == len(snapshot.throughput_hz)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for seq in range(300):
        series.add_window(_window(seq))
    reader.join(30)
    assert not failures
    assert series.snapshot().inferences == 6000
