"""Lines over time with gaps, event markers and a crosshair that several charts share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QMouseEvent, QPen
from PySide6.QtWidgets import QSizePolicy

from edgestudio.monitor.series import Marker
from edgestudio.ui import theme, wording
from edgestudio.ui.widgets.chart_card import ChartCard, line_pen

Floats = NDArray[np.float64]
_ROOM_ABOVE = 1.15
_SHRINK_BELOW = 0.45
# Of a chart's width, what a marker's name takes.
_NAME_SHARE = 0.3
_MOST_MARKERS = 40
_TICK_POINTS = 8.0


class LineChart(ChartCard):
    """Draws up to five lines; `pointed` carries the time under the pointer, NaN when it leaves."""

    pointed = Signal(float)

    def __init__(
        self,
        title: str,
        name: str,
        lines: tuple[str, ...],
        text: Callable[[float], str],
        *,
        floor: float = 0.0,
        names_markers: bool = False,
    ) -> None:
        super().__init__(title, name, lines)
        self._text, self._floor, self._names_markers = text, floor, names_markers
        self._time: Floats = np.zeros(0)
        self._values: dict[str, Floats] = {}
        self._top = 0.0
        self._at = math.nan
        axis = pg.DateAxisItem(orientation="bottom")
        self._plot = pg.PlotWidget(axisItems={"bottom": axis}, background=None)
        self._plot.setFrameShape(self._plot.Shape.NoFrame)
        # As tall as its card leaves it: the picture's own wish would push its neighbours out of sight.
        self._plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._plot.setMinimumSize(40, 40)
        item = self._plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(False, False)
        item.enableAutoRange(x=False, y=False)
        item.getAxis("left").setWidth(38)
        item.getAxis("left").enableAutoSIPrefix(False)
        item.showGrid(y=True, alpha=0.18)
        self._curves = {line: pg.PlotCurveItem(connect="finite") for line in lines}
        for curve in self._curves.values():
            item.addItem(curve)
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._cross.hide()
        item.addItem(self._cross, ignoreBounds=True)
        self._markers: list[pg.InfiniteLine] = []
        self._shown_markers: tuple[Marker, ...] = ()
        viewport = self._plot.viewport()
        viewport.setMouseTracking(True)
        viewport.installEventFilter(self)
        self.set_body(self._plot)
        self._style()
        theme.changed.connect(self._style)

    def draw(
        self, time: Floats, values: Mapping[str, Floats], span: tuple[float, float], markers: Sequence[Marker]
    ) -> None:
        """Draw these lines over `span` (Unix seconds); NaN breaks a line."""
        self._time, self._values = time, dict(values)
        for line, curve in self._curves.items():
            curve.setData(time, self._values.get(line, np.full(len(time), np.nan)), connect="finite")
        item = self._plot.getPlotItem()
        item.setXRange(*span, padding=0)
        self._scale()
        self._mark(tuple(m for m in markers if span[0] <= m.time <= span[1])[-_MOST_MARKERS:])
        self._write_figures()

    def point(self, time: float) -> None:
        """Show the crosshair at a time; NaN hides it."""
        self._at = time
        self._cross.setVisible(math.isfinite(time))
        if math.isfinite(time):
            self._cross.setPos(time)
        self._write_figures()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Tell where the pointer is."""
        if isinstance(event, QMouseEvent) and event.type() == QEvent.Type.MouseMove:
            box = self._plot.getPlotItem().getViewBox()
            self.pointed.emit(
                float(box.mapSceneToView(self._plot.mapToScene(event.position().toPoint())).x())
            )
        elif event.type() == QEvent.Type.Leave:
            self.pointed.emit(math.nan)
        return False

    def place_of(self, time: float) -> QPointF:
        """Where a time is, in this widget's plot; for tests and hints."""
        scene = self._plot.getPlotItem().getViewBox().mapViewToScene(QPointF(time, self._top / 2))
        return QPointF(self._plot.mapFromScene(scene))

    @property
    def plot(self) -> pg.PlotWidget:
        """The drawing itself."""
        return self._plot

    def _scale(self) -> None:
        """Leave room above the highest value, and change the scale only when it no longer fits well."""
        known = [v[np.isfinite(v)] for v in self._values.values() if len(v)]
        highest = max((float(v.max()) for v in known if len(v)), default=0.0)
        lowest = min((float(v.min()) for v in known if len(v)), default=self._floor)
        base = min(self._floor, lowest)
        wanted = base + max(highest - base, 1e-9) * _ROOM_ABOVE
        if highest > self._top or highest < base + (self._top - base) * _SHRINK_BELOW:
            self._top = wanted
            self._plot.getPlotItem().setYRange(base, self._top, padding=0)

    def _mark(self, markers: tuple[Marker, ...]) -> None:
        if markers == self._shown_markers:
            return
        item = self._plot.getPlotItem()
        for line in self._markers:
            item.removeItem(line)
        self._shown_markers, self._markers = markers, []
        start, end = item.getViewBox().viewRange()[0]
        free_from = start
        for marker in markers:
            line = self._marker_line(marker)
            if self._names_markers and marker.time >= free_from:
                _add_name(line, marker)
                free_from = marker.time + (end - start) * _NAME_SHARE
            item.addItem(line, ignoreBounds=True)
            self._markers.append(line)

    def _marker_line(self, marker: Marker) -> pg.InfiniteLine:
        role = {"error": "bad", "warning": "warning"}.get(marker.level, "muted")
        pen = QPen(QColor(getattr(theme.palette(), role)), 1.2, Qt.PenStyle.DashLine)
        pen.setCosmetic(True)
        line = pg.InfiniteLine(pos=marker.time, angle=90, pen=pen, movable=False)
        line.setToolTip(f"{wording.clock(marker.time)}  {marker.text or marker.name}")
        return line

    def _write_figures(self) -> None:
        many = len(self._curves) > 1
        for line in self._curves:
            self.show_line(line, line in self._values)
            value = self._value(self._values.get(line))
            text = self._text(value) if math.isfinite(value) else wording.DASH
            self.show_figure(line, f"{line} {text}" if many else text)

    def _value(self, values: Floats | None) -> float:
        """The value at the crosshair, else the newest."""
        if values is None or not len(values):
            return math.nan
        if math.isfinite(self._at):
            return float(values[min(int(np.searchsorted(self._time, self._at)), len(values) - 1)])
        return float(values[-1])

    def _style(self) -> None:
        colors = theme.palette()
        for number, curve in enumerate(self._curves.values()):
            curve.setPen(line_pen(number))
        pen = QPen(QColor(colors.outline), 1.0)
        pen.setCosmetic(True)
        self._cross.setPen(pen)
        self._plot.setBackground(QColor(colors.raised))
        item = self._plot.getPlotItem()
        font = QFont(theme.figures(self.font()))
        font.setPointSizeF(_TICK_POINTS)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setPen(QColor(colors.border))
            axis.setTextPen(QColor(colors.muted))
            axis.setTickFont(font)
        self._shown_markers = ()


def _add_name(line: pg.InfiniteLine, marker: Marker) -> None:
    """The last word of what happened (`install.committed`), beside its line; the tool tip has the sentence."""
    word = marker.name.rpartition(".")[2].replace("_", " ")
    name = pg.InfLineLabel(
        line, text=word, position=0.93, rotateAxis=None, anchors=[(0, 0.5), (1, 0.5)], color=line.pen.color()
    )
    font = QFont(name.textItem.font())
    font.setPointSizeF(_TICK_POINTS)
    name.setFont(font)
