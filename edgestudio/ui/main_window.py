"""The main window: puts the parts together, and does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, get_args

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget

from edgestudio.studio.boards.telemetry import TelemetryService
from edgestudio.studio.rows import ModelRow
from edgestudio.studio.settings import Settings
from edgestudio.ui import dialogs, icons, theme
from edgestudio.ui.ask import Question, ask_one
from edgestudio.ui.attention import Attention
from edgestudio.ui.board_questions import BoardQuestions
from edgestudio.ui.broker_questions import BrokerQuestions
from edgestudio.ui.capture_questions import CaptureQuestions
from edgestudio.ui.desk import Desk
from edgestudio.ui.docks import AREAS, Docks
from edgestudio.ui.file_drops import FileDrops
from edgestudio.ui.late import LatePage, build
from edgestudio.ui.layouts import Layouts
from edgestudio.ui.library_questions import LibraryQuestions
from edgestudio.ui.menus import MenuSet
from edgestudio.ui.panels.compare import ComparePanel
from edgestudio.ui.panels.devices import DevicesPanel
from edgestudio.ui.panels.jobs import JobsPanel
from edgestudio.ui.panels.library import LibraryPanel
from edgestudio.ui.panels.model_properties import ModelProperties
from edgestudio.ui.panels.notices import NoticesPanel
from edgestudio.ui.panels.recipe import RecipePanel
from edgestudio.ui.panels.reports import ReportsPanel
from edgestudio.ui.panels.timeline import TimelinePanel
from edgestudio.ui.panels.welcome import WelcomePanel
from edgestudio.ui.places import Places
from edgestudio.ui.questions import Questions
from edgestudio.ui.requests import Requests
from edgestudio.ui.status_line import StatusLine
from edgestudio.ui.toolbar import MainToolbar
from edgestudio.ui.tray import TraySwitches
from edgestudio.ui.widgets.command_palette import CommandPalette
from edgestudio.ui.widgets.drop_veil import DropVeil
from edgestudio.ui.widgets.focus import enter
from edgestudio.ui.widgets.pages import Pages
from edgestudio.ui.window_commands import window_commands

_MOST_STOPS = 500
TABS = ("welcome", "graph", "results", "compare", "reports", "dashboard")


class MainWindow(QMainWindow):
    """Made empty, so that commands can be built for it; `furnish` puts everything in."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("main-window")
        self.setWindowTitle("EdgeStudio")
        self.setWindowIcon(icons.application_icon())
        room = self.screen().availableSize()
        self.resize(min(1440, room.width()), min(900, room.height()))
        self.places = Places(self)
        self.desk: Desk
        self._is_arranged = False
        self._openings = 0
        self.may_close: Callable[[], bool] = lambda: True

    def furnish(self, desk: Desk, requests: Requests, monitor: TelemetryService, layout_file: Path) -> None:
        """Build the panels, the menus and the shortcuts."""
        self.desk, self._requests, self._monitor = desk, requests, monitor
        for command in window_commands(self.places.show, self.places.view, self._open_recent):
            desk.commands.add(command)
        self._questions = Questions(desk, requests, self)
        self._library_questions = LibraryQuestions(desk, requests, self)
        self._board_questions = BoardQuestions(desk, requests, self)
        self._broker_questions = BrokerQuestions(desk, requests, self)
        self._capture_questions = CaptureQuestions(desk, requests, self)
        desk.after["model.open"] = self._opening
        self._build_centre()
        self._build_docks()
        self.menus = MenuSet(desk, self)
        self.menus.fill(self.menuBar(), requests.recent_files)
        self.addToolBar(MainToolbar(desk, self.menus))
        self.setStatusBar(StatusLine(desk, TraySwitches(self.docks)))
        self.palette_popup = CommandPalette(desk, self)
        drops = FileDrops(desk, requests, self.devices, self.open_files)
        self._veil = DropVeil(self, drops.aim, drops.left)
        self.attention = Attention(desk, self.docks.peek, self.turn_to, self.docks.set_count, self)
        self.layouts = Layouts(self, layout_file)
        self._learn_places()
        selected = desk.selected
        for signal in (selected.model_changed, selected.boards_changed, selected.job_changed):
            signal.connect(self.menus.refresh)
        for store in (desk.stores.models, desk.stores.boards, desk.stores.jobs):
            store.changed.connect(self._rows_changed)
            store.removed.connect(self._rows_changed)

    def turn_to(self, tab: str) -> None:
        """Show a tab of the centre."""
        self.tabs.setCurrentIndex(TABS.index(tab))

    def _go_to(self, tab: str) -> None:
        """Show a tab because the user asked for it: the keyboard goes along."""
        self.turn_to(tab)
        enter(self.tabs.currentWidget())

    def open_files(self, files: list[Path]) -> None:
        """Open what was dropped or given."""
        if files:
            self.desk.run("model.open", paths=files)

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        if settings.theme != theme.mode():
            theme.set_mode(settings.theme)

    def showEvent(self, event: QShowEvent) -> None:
        """Arrange the docks once the window has its size."""
        super().showEvent(event)
        if not self._is_arranged:
            self._is_arranged = True
            self.docks.arrange(self.width(), self.height())
            self.layouts.remember_default()
            self.layouts.restore()

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, FBT001 - Qt's signature
        """Tab passes over what lies in a dock behind another one."""
        for _ in range(_MOST_STOPS):
            if not super().focusNextPrevChild(next):
                return False
            if not self.docks.hides(QApplication.focusWidget()):
                break
        return True

    def closeEvent(self, event: QCloseEvent) -> None:
        """Close when nothing would be lost by it; `may_close` asks otherwise."""
        if self.may_close():
            if self._is_arranged:
                self.layouts.keep()
            event.accept()
        else:
            event.ignore()

    def _build_centre(self) -> None:
        desk, requests = self.desk, self._requests
        self.tabs = Pages("centre-tabs", "Pages")
        self.welcome = WelcomePanel(desk, requests.recent_files)
        self.graph = LatePage("graph-page", self._make_graph)
        self.results = LatePage("results-page", self._make_results)
        self.compare = ComparePanel(desk, requests.diff)
        self.reports = ReportsPanel(desk)
        self.reports.node_wanted.connect(self._show_node)
        desk.dialogs["optimize.run"] = self._optimize
        desk.dialogs["model.export_failing"] = self._export_failing
        self.dashboard = LatePage("dashboard-page", self._make_dashboard)
        pages: tuple[QWidget, ...] = (
            self.welcome, self.graph, self.results, self.compare, self.reports, self.dashboard,
        )  # fmt: skip
        for name, page in zip(TABS, pages, strict=True):
            self.tabs.addTab(page, name.capitalize())
        self.setCentralWidget(self.tabs)

    def _make_graph(self) -> QWidget:
        return build("edgestudio.ui.panels.graph_page:GraphPage", self.desk, self._requests.graph)

    def _make_results(self) -> QWidget:
        return build("edgestudio.ui.panels.results:ResultsPanel", self.desk)

    def _make_dashboard(self) -> QWidget:
        rate_hz = self._requests.settings().chart_rate_hz
        return build("edgestudio.ui.panels.dashboard:DashboardPanel", self.desk, self._monitor, rate_hz)

    def _build_docks(self) -> None:
        desk = self.desk
        self.docks = Docks(self)
        self.library = LibraryPanel(desk)
        self.library.model_opened.connect(lambda sha256: self._go_to("graph"))
        self.devices = DevicesPanel(desk)
        self.recipe = RecipePanel(desk)
        panels: dict[str, QWidget] = {
            "library": self.library,
            "recipe": self.recipe,
            "properties": ModelProperties(desk),
            "devices": self.devices,
            "timeline": TimelinePanel(desk),
            "jobs": JobsPanel(desk),
            "notices": NoticesPanel(desk, self._requests.dismiss_notice),
        }
        for name in AREAS:
            self.docks.add(name, panels[name])

    def _learn_places(self) -> None:
        shows, views = self.places.shows, self.places.views
        for name in AREAS:
            shows[name] = partial(self.docks.bring_forward, name)
            views[f"toggle-{name}"] = partial(self.docks.toggle, name)
        for name in TABS:
            shows[name] = partial(self._go_to, name)
        shows["find"] = self._find
        shows["model"] = shows["properties"]
        shows["properties"] = self._show_properties
        shows["palette"] = self.palette_popup.open
        shows["settings"] = lambda: dialogs.SettingsDialog(self._requests, self).show()
        shows["doctor"] = lambda: dialogs.DoctorDialog(self._requests, self).show()
        shows["help"] = lambda: dialogs.HelpDialog(self).show()
        shows["keys"] = lambda: dialogs.KeysDialog(self.desk.commands, self).show()
        shows["about"] = lambda: dialogs.AboutDialog(self).show()
        views["tray"] = self.docks.turn_tray
        views["reset"] = self.layouts.reset
        views["full-screen"] = self._full_screen
        views["layout-save"] = self._save_layout
        views["layout-load"] = self._load_layout
        views["theme-next"] = lambda: self._set_theme("light" if theme.palette().is_dark else "dark")
        for mode in get_args(theme.Mode):
            views[f"theme-{mode}"] = partial(self._set_theme, mode)

    def _set_theme(self, mode: theme.Mode) -> None:
        self._requests.change_settings({"theme": mode})
        theme.set_mode(mode)

    def _find(self) -> None:
        page = self.graph.page if self.tabs.currentWidget() is self.graph else None
        line = page.findChild(QWidget, "graph-search") if page else None
        (line or self.library.search).setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _show_properties(self) -> None:
        if self.tabs.currentWidget() is self.graph:
            from edgestudio.ui.panels.graph_page import GraphPage  # loaded with its tab, not with the window

            page = self.graph.page
            assert isinstance(page, GraphPage)
            page.panel.show_properties()
        else:
            self.docks.bring_forward("properties")

    def _optimize(self) -> None:
        """Show the form; asked for again from within it, run the recipe."""
        if self.recipe.isVisible() and self.recipe.isAncestorOf(self.focusWidget()):
            self.recipe.run()
        else:
            self.docks.bring_forward("recipe")

    def _export_failing(self) -> None:
        self.turn_to("reports")
        self.reports.export_of(self.desk.selected.model)

    def _show_node(self, model: str, node: int | str) -> None:
        self.turn_to("graph")
        from edgestudio.ui.panels.graph_page import GraphPage  # loaded with its tab, not with the window

        page = self.graph.page
        assert isinstance(page, GraphPage)
        page.show_node(model, node)

    def _full_screen(self) -> None:
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def _open_recent(self, number: int) -> None:
        paths = self._requests.recent_files()
        if number <= len(paths):
            self.open_files([paths[number - 1]])

    def _opening(self, arguments: dict[str, Any], future: Future[Any]) -> None:
        """Remember what opened, and select it, also when the library had it already."""
        paths = list(arguments.get("paths") or ())
        self._openings += 1
        number = self._openings

        def opened(rows: list[ModelRow | None] | None) -> None:
            for path, row in zip(paths, rows or (), strict=False):
                if row is not None:
                    self._requests.remember(path)
                    if number == self._openings:  # of several at once, the one asked for last
                        self.desk.selected.select_model(row.sha256)
                        self.turn_to("graph")
            self.welcome.refresh()

        self._requests.follow(future, opened)

    def _save_layout(self) -> None:
        ask_one("layout-dialog", "Save the layout", self, Question("answer", "Name"), self.layouts.save)

    def _load_layout(self) -> None:
        names = self.layouts.names()
        if names:
            choices = tuple((name, name) for name in names)
            question = Question("answer", "Layout", kind="choice", choices=choices)
            ask_one("layout-dialog", "Go to a layout", self, question, self.layouts.load, accept="Go")
        else:
            dialogs.MessageDialog(
                "layout-dialog", "No layout is saved yet",
                "View > Save the layout as … keeps the arrangement of now under a name.", self,
            ).show()  # fmt: skip

    def _rows_changed(self, row: object) -> None:
        self.menus.refresh()
