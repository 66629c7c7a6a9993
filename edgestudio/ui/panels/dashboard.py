"""The dashboard: what the selected board reports, live, and all boards side by side; drawn only while visible."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from edgestudio.monitor.series import BoardSeries, Snapshot
from edgestudio.studio.rows import BoardRow
from edgestudio.ui import wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.card_grid import CardGrid
from edgestudio.ui.widgets.chart_card import ChartCard
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.flow import WrapLayout
from edgestudio.ui.widgets.histogram import Histogram
from edgestudio.ui.widgets.line_chart import LineChart
from edgestudio.ui.widgets.sparkline import SparkWall, Tile
from edgestudio.ui.widgets.text import ElidedLabel, badge, label, set_role

_SPANS_S = {"1 minute": 60.0, "5 minutes": 300.0, "15 minutes": 900.0}
_LEAST_SPAN_S = 20.0
_TEMPERATURES = ("cpu_temperature", "soc_temperature", "temperature")


class Monitor(Protocol):
    """Where the series of boards come from."""

    def series(self, board_id: str) -> BoardSeries:
        """A board's series; may be read from any thread."""


class DashboardPanel(QWidget):
    """Reads the rings `rate_hz` times a second while it is visible and not paused."""

    def __init__(self, desk: Desk, monitor: Monitor, rate_hz: int = 20) -> None:
        super().__init__()
        self.setObjectName("dashboard-panel")
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._desk, self._monitor = desk, monitor
        self._drawn: tuple[str, int, float] | None = None
        self._snapshot: Snapshot | None = None
        self._make_charts()
        self._pages = QStackedWidget()
        self._wall = SparkWall()
        self._wall.chosen.connect(self._choose)
        for page in (self._nothing(), self._detail(), _scrolled(self._wall)):
            self._pages.addWidget(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._head())
        column.addWidget(self._pages, 1)
        self.timer = QTimer(self)
        self.timer.setInterval(max(16, round(1000 / max(1, rate_hz))))
        self.timer.timeout.connect(self.refresh)
        desk.selected.boards_changed.connect(self.refresh)
        self.refresh()

    @property
    def is_paused(self) -> bool:
        """True while the picture stands still; the rings go on filling."""
        return self._pause.isChecked()

    def board(self) -> BoardRow | None:
        """The board that is shown: the selected one, else the only one that reports."""
        row = self._desk.stores.boards.get(self._desk.selected.board)
        if row is not None:
            return row
        paired = [each for each in self._desk.stores.boards.rows() if each.is_paired]
        return paired[0] if paired else None

    def refresh(self) -> None:
        """Draw what has arrived since the last frame."""
        boards = [row for row in self._desk.stores.boards.rows() if row.is_paired]
        row = self.board()
        if self._all.isChecked() and boards:
            self._pages.setCurrentIndex(2)
            # What needs a look comes first.
            self._wall.draw(sorted((self._tile(each) for each in boards), key=lambda tile: tile.is_well))
            self._title.setText("All boards")
            self._about.setText(f"{len(boards)} paired")
            self._simulated.setVisible(any(each.is_simulated for each in boards))
            self._fallback.hide()
            return
        self._pages.setCurrentIndex(1 if row is not None else 0)
        if row is None:
            self._title.setText("Dashboard")
            self._about.setText("")
            self._simulated.hide()
            self._fallback.hide()
            return
        self._show_board(row)

    def showEvent(self, event: QShowEvent) -> None:
        """Draw from now on."""
        super().showEvent(event)
        self.refresh()
        if not self.is_paused:
            self.timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """What nobody sees is not drawn."""
        super().hideEvent(event)
        self.timer.stop()

    def write_csv(self, path: Path) -> None:
        """Write the series that is shown, a row for each window; an empty cell is a missing value."""
        shown = self._snapshot
        if shown is None:
            return
        columns: dict[str, np.ndarray] = {"time": shown.time, "throughput_hz": shown.throughput_hz}
        for stage, lines in shown.latency_ms.items():
            columns |= {f"{stage}_p{percent}_ms": values for percent, values in lines.items()}
        for name, sensor in shown.sensors.items():
            columns[f"{name}_{sensor.unit}".rstrip("_")] = sensor.values
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in zip(*columns.values(), strict=True):
                writer.writerow(["" if math.isnan(value) else repr(float(value)) for value in row])

    # --- inside

    def _head(self) -> QWidget:
        self._title = label("Dashboard", "title", name="dashboard-title")
        self._about = ElidedLabel("", "muted")
        self._about.setObjectName("dashboard-about")
        self._simulated = badge("SIMULATED SENSORS", "simulated")
        self._simulated.setObjectName("dashboard-simulated")
        self._fallback = badge("", "bad")
        self._fallback.setObjectName("dashboard-fallback")
        self._fallback.setToolTip("The board's events say which accelerator could not be used, and why.")
        self._fallback.hide()
        self._span = QComboBox()
        self._span.setObjectName("dashboard-span")
        self._span.setAccessibleName("How much is shown")
        self._span.addItems(list(_SPANS_S))
        self._span.setCurrentIndex(1)
        self._span.activated.connect(self.refresh)
        self._all = Button("All boards", "dashboard-all", kind="quiet")
        self._all.setCheckable(True)
        self._all.toggled.connect(self._toggle_all)
        self._pause = IconButton("pause", "Pause the picture", "dashboard-pause")
        self._pause.setCheckable(True)
        self._pause.toggled.connect(self._toggle_pause)
        save = IconButton("export", "Save what is shown as CSV", "dashboard-export", self._ask_csv)
        name = _beside(self._title, self._simulated, self._fallback, fills=True)
        name.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row = WrapLayout(spacing=12)
        row.addWidget(name)
        row.addWidget(_beside(self._all, self._span, self._pause, save))
        bar = QWidget()
        column = QVBoxLayout(bar)
        column.setContentsMargins(16, 8, 16, 4)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self._about)
        return bar

    def _make_charts(self) -> None:
        self.latency = LineChart(
            "Latency, ms", "chart-latency", ("p50", "p90", "p99"), wording.figure, names_markers=True
        )
        self.stages = LineChart(
            "Stages p50, ms", "chart-stages", ("pre", "infer", "post", "queue"), wording.figure
        )
        self.throughput = LineChart(
            "Throughput", "chart-throughput", ("rate",), lambda value: f"{value:.3g} /s"
        )
        self.temperature = LineChart(
            "Temperature, °C", "chart-temperature", ("now",), lambda value: f"{value:.1f} °C", floor=20
        )
        self.drift = LineChart(
            "Distance from the baseline", "chart-drift", ("distance",), lambda value: f"{value:.3f}"
        )
        self.confidence = ChartCard("Confidence", "chart-confidence", ("live", "baseline"))
        self._histogram = Histogram()
        self.confidence.set_body(self._histogram)
        self.charts = (self.latency, self.stages, self.throughput, self.temperature, self.drift)
        for chart in self.charts:
            chart.pointed.connect(self._point)

    def _detail(self) -> QWidget:
        order = (self.latency, self.stages, self.throughput, self.temperature, self.confidence, self.drift)
        return CardGrid(order, width_px=250, height_px=150)

    def _nothing(self) -> QWidget:
        return EmptyState(
            "dashboard",
            "No board reports",
            "Pair a board and push a model to it: its latency, temperature and confidence appear here.",
            Button(
                "Add a simulated board",
                "dashboard-simulate",
                run=lambda: self._desk.run("board.add_simulated"),
            ),
        )

    def _show_board(self, row: BoardRow) -> None:
        span_s = _SPANS_S[self._span.currentText()]
        series = self._monitor.series(row.id)
        key = (row.id, series.revision, span_s)
        snapshot = series.snapshot(span_s)
        self._simulated.setVisible(row.is_simulated or snapshot.is_simulated)
        self._fallback.setText(f"{snapshot.fallback_nodes:,} NODES ON THE CPU")
        self._fallback.setVisible(snapshot.fallback_nodes > 0)
        self._title.setText(row.name)
        model = f"{snapshot.model} {snapshot.version or snapshot.release}".strip() if snapshot.model else ""
        problem = snapshot.gap or (row.problem if row.presence != "online" else "")
        parts = (
            row.presence,
            model,
            f"{snapshot.inferences:,} inferences" if snapshot.inferences else "",
            problem,
        )
        self._about.setText("   ·   ".join(part for part in parts if part))
        if key != self._drawn:
            self._drawn, self._snapshot = key, snapshot
            self._draw(snapshot, span_s)

    def _draw(self, shown: Snapshot, span_s: float) -> None:
        if not len(shown.time):
            for card in (*self.charts, self.confidence):
                card.explain(shown.gap or "Nothing has been reported yet.")
            return
        end = float(shown.time[-1])
        # From the first value on: minutes in which nothing was there yet say nothing.
        span = (min(max(end - span_s, float(shown.time[0])), end - _LEAST_SPAN_S), end)
        total = shown.latency_ms.get("total", {})
        stages = {
            stage: lines[50] for stage, lines in shown.latency_ms.items() if stage != "total" and 50 in lines
        }
        self._line(
            self.latency,
            shown,
            {f"p{p}": values for p, values in total.items()},
            span,
            "The board reports no latency.",
        )
        self._line(self.stages, shown, stages, span, "The board reports no stages.")
        self._line(
            self.throughput, shown, {"rate": shown.throughput_hz}, span, "The board reports no inferences."
        )
        sensor = next((shown.sensors[name] for name in _TEMPERATURES if name in shown.sensors), None)
        reason = sensor.reason if sensor else "This board has no temperature sensor."
        values = sensor.values if sensor else np.full(len(shown.time), np.nan)
        self._line(
            self.temperature, shown, {"now": values}, span, f"No temperature: {reason}" if sensor else reason
        )
        self.temperature.note(f"No reading now: {reason}" if reason and np.isfinite(values).any() else "")
        self._line(
            self.drift,
            shown,
            {"distance": shown.drift_distance},
            span,
            f"No verdict yet: {shown.drift.reason}.",
        )
        self._draw_confidence(shown)

    def _line(
        self,
        chart: LineChart,
        shown: Snapshot,
        values: dict[str, np.ndarray],
        span: tuple[float, float],
        missing: str,
    ) -> None:
        """Draw the lines; where not one value is known, say why instead."""
        if any(np.isfinite(each).any() for each in values.values()):
            chart.explain("")
            chart.draw(shown.time, values, span, shown.markers)
        else:
            chart.explain(missing)

    def _draw_confidence(self, shown: Snapshot) -> None:
        if shown.confidence is None:
            self.confidence.explain("The model reports no confidence.")
            return
        self.confidence.explain("")
        self._histogram.draw(shown.confidence, shown.baseline)
        shift = f", shift {shown.shift_psi:.2f}" if shown.shift_psi is not None else ""
        self.confidence.show_figure("live", f"live {shown.confidence.sum():,.0f}{shift}")
        has_baseline = shown.baseline is not None
        self.confidence.show_figure("baseline", "baseline" if has_baseline else "no baseline came with it")

    def _tile(self, row: BoardRow) -> Tile:
        shown = self._monitor.series(row.id).snapshot(300.0)
        total = shown.latency_ms.get("total", {}).get(50, np.zeros(0))
        sensor = next((shown.sensors[name] for name in _TEMPERATURES if name in shown.sensors), None)
        heat = sensor.values if sensor else np.zeros(0)
        lines = (
            (_last(total, wording.latency), total),
            (_last(shown.throughput_hz, lambda value: f"{value:.3g} /s"), shown.throughput_hz),
            (_last(heat, lambda value: f"{value:.1f} °C"), heat),
        )
        is_well = row.presence == "online" and not row.problem
        is_well = is_well and shown.drift.level != "red" and not shown.fallback_nodes
        return Tile(row.id, row.name, row.presence, is_well, row.is_simulated or shown.is_simulated, lines)

    def _point(self, at: float) -> None:
        for chart in self.charts:
            chart.point(at)

    def _choose(self, board: str) -> None:
        self._desk.selected.select_boards(board)
        self._all.setChecked(False)

    def _toggle_all(self, is_all: bool) -> None:  # noqa: FBT001 - Qt's signature
        self._all.setText("One board" if is_all else "All boards")
        self.refresh()

    def _toggle_pause(self, is_paused: bool) -> None:  # noqa: FBT001 - Qt's signature
        self._pause.show_icon("run" if is_paused else "pause", "Go on" if is_paused else "Pause the picture")
        set_role(self._about, "warning" if is_paused else "muted")
        if is_paused:
            self.timer.stop()
            self._about.setText(f"paused at {wording.clock(time.time())}")
        elif self.isVisible():
            self.timer.start()

    def _ask_csv(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save as CSV", "dashboard.csv", "CSV (*.csv)")
        if path:
            self.write_csv(Path(path))


def _last(values: np.ndarray, text: Callable[[float], str]) -> str:
    known = values[np.isfinite(values)] if len(values) else values
    return text(float(known[-1])) if len(known) else wording.DASH


def _beside(*widgets: QWidget, fills: bool = False) -> QWidget:
    group = QWidget()
    row = QHBoxLayout(group)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(12)
    for widget in widgets:
        row.addWidget(widget)
    if fills:
        row.addStretch(1)
    return group


def _scrolled(inside: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    inside.setProperty("kind", "page")
    inside.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    area.setWidget(inside)
    return area
