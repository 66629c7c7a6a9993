"""Alerts: raised after three windows, cleared with hysteresis, silent ones at once."""

from __future__ import annotations

from edgestudio.monitor.alerts import AlertBook, Limits
from edgestudio.monitor.series import BoardSeries
from edgestudio.wire.records import SensorReading, Window


def _feed(series: BoardSeries, seq: int, **fields: object) -> None:
    temperature = fields.pop("temperature", None)
    sensors = {} if temperature is None else {"cpu": SensorReading(float(str(temperature)), "°C")}
    series.add_window(
        Window(
            "board",
            "b1",
            seq,
            1000.0 + seq,
            float(seq),
            1.0,
            "digits",
            1,
            inferences=100,
            sensors=sensors,
            **fields,  # type: ignore[arg-type]
        )
    )


def test_heat_is_raised_after_three_windows_and_cleared_only_well_below() -> None:
    series, book = BoardSeries(), AlertBook()
    names = []
    for seq, value in enumerate([85, 70, 85, 85, 85, 91, 95, 79, 78, 79, 60, 60, 60]):
        _feed(series, seq, temperature=value)
        names.append([(c.alert.severity, c.is_over) for c in book.update(series.snapshot())])
    assert names[4] == [("warning", False)]
    assert names[5] == [("error", False)]
    assert names[6:12] == [[]] * 6
    assert names[12] == [("error", True)]
    assert book.active == ()


def test_failing_inferences_and_a_lost_board() -> None:
    series, book = BoardSeries(), AlertBook()
    for seq in range(4):
        _feed(series, seq, errors=50)
        book.update(series.snapshot())
    assert [alert.name for alert in book.active] == ["errors"]
    series.mark_gap("connection lost")
    changes = book.update(series.snapshot())
    assert [(c.alert.name, c.is_over) for c in changes] == [("silent", False)]
    _feed(series, 9)
    changes = book.update(series.snapshot())
    assert [(c.alert.name, c.is_over) for c in changes] == [("silent", True)]


def test_the_same_snapshot_counts_once() -> None:
    series, book = BoardSeries(), AlertBook(Limits(temperature_c=80))
    _feed(series, 1, temperature=99)
    assert [book.update(series.snapshot()) for _ in range(5)] == [[]] * 5
