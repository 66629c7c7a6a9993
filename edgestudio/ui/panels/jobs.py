"""The Jobs: queue, phase, progress, time left, cancel, again, and the log of the selected one."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPlainTextEdit,
    QSplitter,
    QStackedWidget,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.rows import JobRow
from edgestudio.ui import theme
from edgestudio.ui.desk import Desk
from edgestudio.ui.menus import context_menu
from edgestudio.ui.panels.jobs_model import PROGRESS_COLUMN, ROW_ROLE, JobsModel
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.code import copy_to_clipboard
from edgestudio.ui.widgets.empty import EmptyState

_BAR_PX = 4
_WIDE_PX = 560


class ProgressDelegate(QStyledItemDelegate):
    """The phase in words above a thin bar; a bar without an end when the worker cannot say how far it is."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Paint one cell."""
        super().paint(painter, option, index)
        row = index.data(ROW_ROLE)
        if not isinstance(row, JobRow) or row.state != "running":
            return
        colors = theme.palette()
        track = QRectF(option.rect).adjusted(8, 0, -8, 0)
        track.setTop(track.bottom() - _BAR_PX - 2)
        track.setHeight(_BAR_PX)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colors.border))
        painter.drawRoundedRect(track, 2, 2)
        painter.setBrush(QColor(colors.accent))
        if row.fraction is not None:
            track.setWidth(max(4.0, track.width() * min(row.fraction, 1.0)))
        else:
            track = track.adjusted(track.width() * 0.35, 0, -track.width() * 0.35, 0)
        painter.drawRoundedRect(track, 2, 2)
        painter.restore()


class JobsPanel(QWidget):
    """A table and, beside it, the log."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("jobs-panel")
        self._desk = desk
        self._model = JobsModel(desk.stores.jobs)
        self._model.setParent(self)
        self._build()
        self._clock = QTimer(self)
        self._clock.setInterval(500)
        self._clock.timeout.connect(self._tick)
        store = desk.stores.jobs
        store.added.connect(self._changed)
        store.changed.connect(self._changed)
        store.removed.connect(self._changed)
        self._show_page()

    def _build(self) -> None:
        split = QSplitter()
        split.addWidget(self._build_table())
        split.addWidget(self._build_log())
        split.setSizes([400, 200])
        split.setChildrenCollapsible(False)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self._build_bar())
        column.addWidget(split, 1)
        self._stack = QStackedWidget()
        self._stack.addWidget(
            EmptyState(
                "jobs", "No jobs", "Reading, shrinking and measuring models run here, beside the window."
            )
        )
        self._stack.addWidget(page)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._stack)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The log beside the table needs room; without it, its button still shows it."""
        super().resizeEvent(event)
        self.log_button.setChecked(self.width() >= _WIDE_PX)

    def _build_bar(self) -> QHBoxLayout:
        self.cancel = Button("Cancel", "jobs-cancel", icon="cancel", run=lambda: self._desk.run("job.cancel"))
        self.retry = Button("Again", "jobs-retry", icon="retry", run=lambda: self._desk.run("job.retry"))
        self.log_button = Button("Log", "jobs-log-button", icon="jobs")
        self.log_button.setCheckable(True)
        self.log_button.toggled.connect(self.log.setVisible)
        self.log.hide()
        bar = QHBoxLayout()
        bar.setContentsMargins(8, 8, 8, 8)
        bar.setSpacing(8)
        bar.addWidget(self.cancel)
        bar.addWidget(self.retry)
        bar.addStretch(1)
        bar.addWidget(self.log_button)
        bar.addWidget(IconButton("copy", "Copy the log", "jobs-copy", self._copy_log))
        return bar

    def _build_table(self) -> QTableView:
        self.table = QTableView()
        self.table.setModel(self._model)
        self.table.setObjectName("jobs-table")
        self.table.setAccessibleName("Jobs")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)
        self.table.setMinimumWidth(280)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(36)
        self.table.setItemDelegateForColumn(PROGRESS_COLUMN, ProgressDelegate(self.table))
        head = self.table.horizontalHeader()
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for stretching in (0, PROGRESS_COLUMN):
            head.setSectionResizeMode(stretching, QHeaderView.ResizeMode.Stretch)
        self.table.selectionModel().selectionChanged.connect(self._select)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._menu)
        return self.table

    def _build_log(self) -> QWidget:
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setObjectName("jobs-log")
        self.log.setAccessibleName("Log of the selected job")
        self.log.setProperty("kind", "code")
        self.log.setFont(theme.mono_font())
        self.log.setPlaceholderText("The selected job has written no log yet")
        return self.log

    def _copy_log(self) -> None:
        copy_to_clipboard(self.log.toPlainText())

    def _menu(self, where: QPoint) -> None:
        menu = context_menu(self, self._desk, ("job.cancel", "job.retry", "", "job.clear"))
        menu.popup(self.table.viewport().mapToGlobal(where))

    def _select(self) -> None:
        rows = self.table.selectionModel().selectedRows()
        row = rows[0].data(ROW_ROLE) if rows else None
        self._desk.selected.select_job(row.id if isinstance(row, JobRow) else None)
        self._show_log()

    def _changed(self, row: JobRow) -> None:
        self._show_page()
        if row.state in ("queued", "running") and not self._clock.isActive():
            self._clock.start()
        if self._desk.selected.job is None and self._model.rowCount():
            self.table.selectRow(0)
        if row.id == self._desk.selected.job:
            self._show_log()

    def _show_log(self) -> None:
        row = self._desk.stores.jobs.get(self._desk.selected.job)
        self.cancel.setEnabled(row is not None and not row.is_over)
        self.retry.setEnabled(self._desk.commands.is_enabled("job.retry"))
        text = ""
        if row is not None:
            text = "\n".join(part for part in (*row.log, row.message, row.hint, row.details) if part)
        if text != self.log.toPlainText():
            self.log.setPlainText(text)
            self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())

    def _show_page(self) -> None:
        self._stack.setCurrentIndex(1 if self._model.rowCount() else 0)

    def _tick(self) -> None:
        self._model.tick()
        if not self._model.has_running():
            self._clock.stop()
