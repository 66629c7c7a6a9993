"""The dashboard: live figures, gaps with reasons, the badge of simulated sensors, crosshair, pause, many boards."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from edgestudio.monitor.series import BoardSeries
from edgestudio.studio.bus import RowEvent
from edgestudio.studio.commands.commands import CommandSet
from edgestudio.studio.rows import BoardRow
from edgestudio.studio.stores import Stores
from edgestudio.ui import theme
from edgestudio.ui.desk import Desk
from edgestudio.ui.panels.dashboard import DashboardPanel
from edgestudio.ui.selection import Selected
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.records import Event, SensorReading, Window

START = 1_760_000_000.0


class Rings:
    """Series by board, as the telemetry service keeps them."""

    def __init__(self) -> None:
        self.known: dict[str, BoardSeries] = {}

    def series(self, board_id: str) -> BoardSeries:
        return self.known.setdefault(board_id, BoardSeries())


def latencies(*values: float) -> dict[str, object]:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    return histogram.to_dict()


def window(number: int, *, heat: float | None = 48.0, simulated: bool = True) -> Window:
    base = 2.0 + math.sin(number / 5)
    reading = SensorReading(heat, "°C", "simulated") if heat is not None else SensorReading(
        None, "°C", "not_available", "this board has no thermal zone"
    )  # fmt: skip
    return Window(
        "dev", "boot", number, START + number * 5, number * 5.0, 5.0, "digits", 3, "1.2.0",
        inferences=200,
        latency={"pre": latencies(0.3), "inf": latencies(base, base * 1.2), "post": latencies(0.05),
                 "tot": latencies(base, base * 1.1, base * 2)},
        confidence=ConfidenceHistogram.of([0.9, 0.97, 0.99, 0.6]).to_dict(),
        sensors={"cpu_temperature": reading},
        simulated=simulated,
    )  # fmt: skip


@pytest.fixture
def rings() -> Rings:
    return Rings()


@pytest.fixture
def desk() -> Desk:
    stores, selected = Stores(), Selected()
    return Desk(stores, CommandSet([], lambda: selected.rows(stores)), selected)


@pytest.fixture
def panel(qtbot: QtBot, desk: Desk, rings: Rings) -> DashboardPanel:
    made = DashboardPanel(desk, rings, 30)
    qtbot.addWidget(made)
    made.resize(1100, 800)
    return made


def shown(qtbot: QtBot, panel: DashboardPanel) -> None:
    panel.show()
    qtbot.waitExposed(panel)
    qtbot.wait(80)


def add_board(desk: Desk, board: str = "b1", *, simulated: bool = True) -> None:
    row = BoardRow(board, f"board {board}", "127.0.0.1", 1, "online", is_paired=True, is_simulated=simulated)
    desk.stores.apply(RowEvent("boards", "added", row))


def test_without_a_board_it_says_what_to_do(qtbot: QtBot, panel: DashboardPanel) -> None:
    shown(qtbot, panel)
    assert panel.findChild(object, "dashboard-simulate") is not None


def test_figures_follow_the_rings_without_any_call(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    for number in range(40):
        rings.series("b1").add_window(window(number))
    shown(qtbot, panel)
    assert panel.throughput.figure("rate") == "40 /s"
    assert panel.temperature.figure("now") == "48.0 °C"
    assert panel.latency.figure("p50").startswith("p50 ")
    before = panel.latency.figure("p50")
    for number in range(40, 46):
        rings.series("b1").add_window(window(number, heat=61.5))
    qtbot.waitUntil(lambda: panel.temperature.figure("now") == "61.5 °C", timeout=2000)
    assert panel.latency.figure("p50") != before
    assert "1,200 inferences" not in panel.findChild(object, "dashboard-about").text()  # type: ignore[attr-defined]


def test_a_missing_sensor_is_a_reason_and_never_a_zero(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    for number in range(5):
        rings.series("b1").add_window(window(number, heat=None))
    shown(qtbot, panel)
    assert panel.temperature.reason() == "No temperature: this board has no thermal zone"
    assert "0" not in panel.temperature.figure("now")


def test_simulated_sensors_carry_their_badge(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk, simulated=False)
    rings.series("b1").add_window(window(0, simulated=False))
    shown(qtbot, panel)
    badge = panel.findChild(object, "dashboard-simulated")
    assert not badge.isVisible()  # type: ignore[attr-defined]
    rings.series("b1").add_window(window(1))
    qtbot.waitUntil(badge.isVisible, timeout=2000)  # type: ignore[attr-defined]
    assert badge.text() == "SIMULATED SENSORS"  # type: ignore[attr-defined]


def test_nodes_that_fell_back_to_the_processor_stay_in_sight(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    rings.series("b1").add_window(window(0))
    shown(qtbot, panel)
    badge = panel.findChild(QLabel, "dashboard-fallback")
    assert badge is not None
    assert not badge.isVisible()
    rings.series("b1").add_window(dataclasses.replace(window(1), counts={"cpu_fallback_nodes": 29}))
    qtbot.waitUntil(badge.isVisible, timeout=2000)
    assert badge.text() == "29 NODES ON THE CPU"
    assert badge.width() >= badge.sizeHint().width()
    rings.series("b1").add_window(window(2))
    qtbot.waitUntil(lambda: not badge.isVisible(), timeout=2000)


def test_the_crosshair_is_shared(qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings) -> None:
    add_board(desk)
    for number in range(40):
        rings.series("b1").add_window(window(number, heat=40.0 + number / 10))
    shown(qtbot, panel)
    place = panel.throughput.place_of(START + 20 * 5).toPoint()
    qtbot.mouseMove(panel.throughput.plot.viewport(), place)
    qtbot.waitUntil(lambda: panel.temperature.figure("now") != "43.9 °C", timeout=2000)
    assert float(panel.temperature.figure("now").split()[0]) == pytest.approx(42.0, abs=0.3)


def test_pausing_stands_still_and_hiding_stops_the_timer(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    rings.series("b1").add_window(window(0))
    shown(qtbot, panel)
    assert panel.timer.isActive()
    qtbot.mouseClick(panel.findChild(object, "dashboard-pause"), Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    assert panel.is_paused
    rings.series("b1").add_window(window(1, heat=77.0))
    qtbot.wait(150)
    assert panel.temperature.figure("now") == "48.0 °C"
    qtbot.mouseClick(panel.findChild(object, "dashboard-pause"), Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    qtbot.waitUntil(lambda: panel.temperature.figure("now") == "77.0 °C", timeout=2000)
    panel.hide()
    assert not panel.timer.isActive()


def test_a_lost_board_says_so(qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings) -> None:
    add_board(desk)
    rings.series("b1").add_window(window(0))
    rings.series("b1").mark_gap("the board does not answer")
    shown(qtbot, panel)
    assert "the board does not answer" in panel.findChild(object, "dashboard-about").text()  # type: ignore[attr-defined]


def test_events_and_the_baseline_are_drawn(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    series = rings.series("b1")
    series.set_baseline("digits", ConfidenceHistogram.of([0.95] * 50).to_dict())
    for number in range(10):
        series.add_window(window(number))
    series.add_event(Event("dev", "boot", 900, START + 25, 25.0, "install.committed", "Release 3 committed"))
    shown(qtbot, panel)
    assert panel.confidence.figure("baseline") == "baseline"
    assert "live 40" in panel.confidence.figure("live")
    assert len(panel.latency._markers) == 1


def test_many_boards_are_a_wall(qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings) -> None:
    for index in range(30):
        add_board(desk, f"b{index}")
        for number in range(20):
            rings.series(f"b{index}").add_window(window(number))
    shown(qtbot, panel)
    qtbot.mouseClick(panel.findChild(object, "dashboard-all"), Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    wall = panel._wall
    qtbot.waitUntil(wall.isVisible)
    qtbot.mouseClick(wall, Qt.MouseButton.LeftButton, pos=wall.tile_rect(7).center())
    assert desk.selected.board == "b7"
    assert not wall.isVisible()


def test_what_is_shown_can_be_saved(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings, tmp_path: Path
) -> None:
    add_board(desk)
    for number in range(3):
        rings.series("b1").add_window(window(number, heat=None if number == 1 else 50.0))
    shown(qtbot, panel)
    panel.write_csv(tmp_path / "d.csv")
    rows = list(csv.DictReader((tmp_path / "d.csv").read_text().splitlines()))
    assert [row["cpu_temperature_°C"] for row in rows] == ["50.0", "", "50.0"]
    assert float(rows[0]["throughput_hz"]) == 40


def test_both_themes_draw(qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings) -> None:
    add_board(desk)
    for number in range(20):
        rings.series("b1").add_window(window(number))
    shown(qtbot, panel)
    pictures = []
    for mode in ("light", "dark"):
        theme.set_mode(mode)  # type: ignore[arg-type]
        qtbot.wait(60)
        pictures.append(panel.latency.grab().toImage())
    theme.set_mode("light")
    buffers = [np.frombuffer(picture.constBits(), np.uint8) for picture in pictures]
    assert buffers[0].mean() > 180 > 90 > buffers[1][: len(buffers[1])].reshape(-1, 4)[:, :3].mean()


@pytest.mark.parametrize("size", [(850, 560), (1100, 800)])
def test_every_card_is_in_view_and_nothing_is_cut(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings, size: tuple[int, int]
) -> None:
    add_board(desk)
    for number in range(20):
        rings.series("b1").add_window(window(number))
    panel.resize(*size)
    shown(qtbot, panel)
    cards = (*panel.charts, panel.confidence)
    for card in cards:
        assert card.visibleRegion().boundingRect() == card.rect()
        assert card.height() >= 150
        for words in card.findChildren(QLabel):
            if words.isVisible() and not words.wordWrap():
                assert words.width() >= words.sizeHint().width(), words.text()
                assert card.rect().contains(words.geometry().translated(words.parent().mapTo(card, QPoint())))
    assert len({(card.x(), card.y()) for card in cards}) == len(cards)


def test_the_time_axis_begins_with_the_data(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    for number in range(12):
        rings.series("b1").add_window(window(number))
    shown(qtbot, panel)
    (left, right), _ = panel.latency.plot.getPlotItem().viewRange()
    assert right - left == pytest.approx(11 * 5)
    for number in range(12, 200):
        rings.series("b1").add_window(window(number))

    def follows() -> bool:
        (left, right), _ = panel.latency.plot.getPlotItem().viewRange()
        return bool(abs(right - left - 300) < 1)

    qtbot.waitUntil(follows, timeout=2000)


def test_a_sensor_that_falls_silent_says_so_above_its_line(
    qtbot: QtBot, panel: DashboardPanel, desk: Desk, rings: Rings
) -> None:
    add_board(desk)
    for number in range(6):
        rings.series("b1").add_window(window(number, heat=50.0 if number < 4 else None))
    shown(qtbot, panel)
    note = panel.findChild(QLabel, "chart-temperature-note")
    assert note.text() == "No reading now: this board has no thermal zone"
    assert note.isVisible()
    rings.series("b1").add_window(window(6, heat=51.0))
    qtbot.waitUntil(lambda: not note.isVisible(), timeout=2000)
