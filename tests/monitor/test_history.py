"""History and export: across restarts, bounded, and a damaged file is put aside."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from edgestudio.monitor.export import write_csv
from edgestudio.monitor.history import History
from edgestudio.monitor.series import BoardSeries
from edgestudio.wire.errors import InputError, RefusedError
from edgestudio.wire.records import SensorReading, Window


def _record(seq: int, time_s: float) -> dict[str, object]:
    return {"v": 1, "k": "win", "dev": "b", "boot": "x", "seq": seq, "t": time_s, "pad": "0" * 200}


def test_records_survive_a_restart_once_each(tmp_path: Path) -> None:
    first = History(tmp_path / "history.db")
    assert first.add("board", [_record(seq, 100.0 + seq) for seq in range(1200)]) == 1200
    assert first.add("board", [_record(seq, 100.0 + seq) for seq in range(10)]) == 0
    first.close()
    second = History(tmp_path / "history.db")
    assert [record["seq"] for record in second.read("board")] == list(range(1200))
    assert [record["seq"] for record in second.read("board", 105.5, 107.5)] == [6, 7]
    assert list(second.read("board", kind="evt")) == []
    assert list(second.read("other")) == []
    assert second.span("board") == (100.0, 1299.0)
    assert second.span("other") is None
    second.forget("board")
    assert list(second.read("board")) == []
    second.close()
    second.close()
    with pytest.raises(RefusedError, match="closed"):
        second.add("board", [_record(1, 1.0)])


def test_age_and_size_are_bounded(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    day = 86_400.0
    history.add("board", [_record(seq, seq * day) for seq in range(100)])
    assert history.prune(keep_days=30, now_s=100 * day) == 70
    history.add("board", [_record(1000 + seq, 100 * day + seq) for seq in range(5000)])
    assert history.prune(keep_days=30, max_bytes=500_000, now_s=101 * day) > 1000
    left = [record["seq"] for record in history.read("board")]
    assert left[-1] == 5999
    assert left == sorted(left)
    history.close()


def test_a_damaged_file_is_put_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"not a database at all" * 500)
    history = History(path)
    assert "put aside" in history.notice
    assert history.add("board", [_record(1, 1.0)]) == 1
    history.close()
    assert len(list(tmp_path.glob("history.db.damaged-*"))) == 1


def test_csv_has_empty_cells_where_nothing_was_measured(tmp_path: Path) -> None:
    series = BoardSeries()
    for seq, value in enumerate([50.0, None, 52.0]):
        sensors = {
            "cpu_temperature": SensorReading(value, "°C", "ok" if value else "not_available", "no sensor")
        }
        series.add_window(
            Window(
                "b", "x", seq, 1000.0 + seq, 0.0, 1.0, "m", 1, inferences=5, sensors=sensors, simulated=True
            )
        )
    assert write_csv(series.snapshot(), tmp_path / "out.csv", "pi") == 3
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cpu_temperature_c"] for row in rows] == ["50", "", "52"]
    assert rows[0]["time_utc"].startswith("1970-01-01T00:16:40")
    assert {row["simulated"] for row in rows} == {"true"}
    with pytest.raises(InputError):
        write_csv(series.snapshot(), tmp_path / "nowhere" / "out.csv", "pi")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv"]
