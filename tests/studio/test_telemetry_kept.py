"""What boards report outlives the studio, rings when something is wrong, and leaves as CSV."""

from __future__ import annotations

import asyncio
import csv
import time

import pytest

from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.wire.errors import DeviceError, InputError
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.records import SensorReading, Window
from tests.studio.test_models import in_studio

BOARD = "b" * 64


def window(seq: int, at: float, *, temperature_c: float = 45.0, errors: int = 0) -> dict:
    latency, confidence = LatencyHistogram(), ConfidenceHistogram()
    for _ in range(10):
        latency.record(4.0)
        confidence.record(0.9)
    made = Window(
        device=BOARD, boot="boot", seq=seq, time_s=at, mono_s=float(seq), duration_s=1.0,
        model="digits", release=1, version="1.1",
        inferences=10, errors=errors, dropped=0, queue_max=1,
        latency={"inf": latency.to_dict(), "tot": latency.to_dict()}, confidence=confidence.to_dict(),
        classes={"3": 10}, sensors={"cpu_temp": SensorReading(temperature_c, "degC")},
        simulated=True,
    )  # fmt: skip
    return made.to_dict()


def test_telemetry_is_there_after_a_restart_with_a_gap(tmp_path):
    start = time.time() - 60

    async def report(studio):
        for seq in range(5):
            studio.monitor.take(BOARD, window(seq, start + seq))
        studio.monitor.take(BOARD, {"k": "win", "broken": True})

    async def look(studio):
        snapshot = studio.monitor.series(BOARD).snapshot()
        assert snapshot.inferences == 50
        assert snapshot.gap == "the studio was closed"
        assert snapshot.is_simulated
        rows = await studio.monitor.export(BOARD, tmp_path / "out.csv")
        longer = await studio.monitor.export(BOARD, tmp_path / "long.csv", 3 * 3600.0)
        assert rows == longer
        with pytest.raises(InputError) as caught:
            await studio.monitor.export("c" * 64, tmp_path / "none.csv")
        assert caught.value.code == "no-telemetry"

    in_studio(report)
    in_studio(look)
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["throughput_hz"] for row in rows[:5]] == ["10"] * 5
    assert rows[0]["simulated"] == "true"


def test_an_alert_becomes_one_notice_and_one_when_it_is_over():
    start = time.time() - 60

    async def scenario(studio):
        for seq in range(6):
            studio.monitor.take(BOARD, window(seq, start + seq, temperature_c=86.0))
        hot = [row for row in studio.notices.rows if "°C" in row.message]
        assert len(hot) == 1
        assert hot[0].level == "warning"
        assert hot[0].message.startswith(BOARD[:12])
        for seq in range(6, 12):
            studio.monitor.take(BOARD, window(seq, start + seq, temperature_c=40.0))
        assert any(row.level == "success" and "over" in row.message for row in studio.notices.rows)
        studio.monitor.presence(BOARD, "offline", DeviceError("the cable is out"))
        assert any("the cable is out" in row.message and row.level == "error" for row in studio.notices.rows)
        assert studio.monitor.series(BOARD).snapshot().gap == "the cable is out"

    in_studio(scenario)


def test_whoever_asks_after_the_end_opens_no_history(tmp_path):
    """A panel's last look, or a thread whose caller was cancelled, comes after the file was closed."""
    file = tmp_path / "history.db"
    monitor = TelemetryService(tmp_path, history=file)
    asyncio.run(monitor.stop())
    assert monitor.newest(BOARD) is None
    assert not len(monitor.series(BOARD).snapshot().time)
    assert not file.exists()
