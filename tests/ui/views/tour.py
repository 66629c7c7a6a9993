"""Walks through the window with real models, jobs and boards, and has a picture taken of every view on the way."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QApplication, QDialog, QMenu

from tests.journeys.hand import Hand
from tests.ui.views import boards, graphs, models
from tests.ui.views.photographer import Photographer


class Tour:
    """Stations in order; one that fails is told and does not keep the others from being looked at."""

    def __init__(self, app: Any, output: Path, sizes: list[tuple[int, int]], only: str) -> None:
        self.app, self.hand = app, Hand()
        self.photographer = Photographer(app, self.hand, output, sizes, only)
        self.take = self.photographer.take
        self.failed: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="edgestudio-views-"))

    def play(self) -> None:
        """Everything, from the empty window to a board that reports."""
        self.photographer.resize(1280, 800)
        for station in (
            self.empty, self.sample, graphs.nodes, graphs.overlays, graphs.menus, self.recipe, self.results,
            self.comparison, self.examinations, boards.alone, boards.pairing, boards.pushing, boards.reporting,
            boards.dialogs,
            boards.others, self.formats, self.names, self.refusals, self.dialogs, self.registry,
        ):  # fmt: skip
            begun = time.monotonic()
            title = station.__name__.replace("_", " ")
            try:
                if station.__module__ != __name__:
                    station(self)
                else:
                    station()
                print(f"  {title} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception:
                self.failed.append(title)
                self.photographer.snap(self.photographer._output / f"failed-{title}.png", 1920, 1080)
                print(f"  {title}: FAILED", flush=True)
                traceback.print_exc()
                self.close_all()
        print(f"{len(self.photographer.taken)} views")

    # --- what the stations use

    def run(self, command: str, **arguments: Any) -> None:
        """Run a command on the window's thread."""
        self.hand.look(lambda: self.app.desk.run(command, **arguments) and None)

    def row(self, name: str, *, ready: bool = True) -> Any:
        """The row of the model of this name, once its graph can be drawn."""

        def found() -> Any:
            for row in self.app.stores.models.rows():
                if row.name == name and (not ready or row.graph_path or row.summary):
                    return row
            return None

        return self.hand.wait(f"the model {name}", found, timeout=60)

    def open(self, path: Path) -> Any:
        """Open a file and select it."""
        self.run("model.open", paths=[path])
        row = self.row(path.stem)
        self.select(row)
        return row

    def select(self, *rows: Any) -> None:
        """Select models."""
        self.hand.look(lambda: self.app.desk.selected.select_model(*(row.sha256 for row in rows)))

    def tab(self, name: str) -> None:
        """Turn to a tab of the centre."""
        self.hand.look(lambda: self.app.window.turn_to(name))

    def panel(self) -> Any:
        """The graph panel."""
        return self.app.window.graph.page.panel

    def close_all(self) -> None:
        """Close dialogs and menus that are open."""

        def close() -> None:
            for widget in QApplication.topLevelWidgets():
                if widget.isVisible() and isinstance(widget, QDialog | QMenu):
                    widget.close()

        self.hand.look(close)
        time.sleep(0.1)

    def dialog(self, name: str, command: str, then: Callable[[], None] | None = None) -> None:
        """Open a dialog by its command, take its picture, close it."""
        self.run(command)
        time.sleep(0.3)
        if then is not None:
            then()
        self.take(name)
        self.close_all()

    # --- stations

    def empty(self) -> None:
        """A first start: nothing is there yet."""
        self.hand.wait("the welcome page", lambda: self.hand.find("welcome-sample").isEnabled(), timeout=60)
        time.sleep(1.0)
        self.take("01-welcome-first")
        for tab in ("graph", "results", "compare", "reports", "dashboard"):
            self.tab(tab)
            self.take(f"02-empty-{tab}")
        for dock in ("properties", "jobs", "notices"):
            self.hand.look(lambda dock=dock: self.app.window.docks.bring_forward(dock))
            self.take(f"03-empty-{dock}")
        self.hand.look(lambda: self.app.window.docks.bring_forward("recipe"))
        self.hand.look(self.app.window.docks.fold)
        self.tab("welcome")

    def sample(self) -> None:
        """The sample, its graph and the search."""
        self.run("model.open_sample")
        row = self.row("digits")
        self.hand.wait("its figures", lambda: "macs" in self.app.stores.models.get(row.sha256).summary)
        self.hand.wait("its graph", lambda: self.panel().document is not None)
        time.sleep(0.5)
        self.take("10-graph-sample")
        self.hand.look(lambda: self.app.window.docks.bring_forward("properties"))
        self.take("11-model-properties")
        self.hand.look(lambda: self.app.window.docks.bring_forward("recipe"))

    def recipe(self) -> None:
        """The form, the run, a second and a third run for the chart."""
        sample = self.row("digits")
        self.select(sample)
        self.tab("graph")
        self.take("30-recipe-form")
        data = {"data": Path(sample.data_path), "calibration": Path(sample.calibration_path)}
        for number, recipe in enumerate(("int8-static", "fp16", "int8-dynamic")):
            self.run("optimize.run", model=sample.sha256, recipe=recipe, **data)
            if not number:
                self.hand.look(lambda: self.app.window.docks.bring_forward("jobs"))
                time.sleep(1.5)
                self.take("31-job-running", settle_s=0.3)
            self.hand.wait(
                f"the variant of {recipe}",
                lambda number=number: sum(bool(row.after) for row in self.app.stores.models.rows()) > number,
                timeout=120,
            )

    def results(self) -> None:
        """Cards and the chart of all variants."""
        self.hand.look(self.app.window.docks.fold)
        self.tab("results")
        time.sleep(0.5)
        self.take("32-results-variant")
        self.select(self.row("digits"))
        self.take("33-results-source")

        def scroll() -> None:
            from PySide6.QtWidgets import QScrollArea

            for area in self.app.window.results.page.findChildren(QScrollArea):
                area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())

        self.hand.look(scroll)
        self.take("34-results-foot")

    def comparison(self) -> None:
        """Two models as figures and graphs, then three."""
        window = self.app.window
        variant = next(row for row in self.app.stores.models.rows() if row.recipe == "int8-static")
        self.select(variant)
        self.tab("compare")
        self.take("40-compare-figures")
        self.hand.look(lambda: window.compare.button.click())
        self.hand.wait("the differences", lambda: window.compare.views.isTabVisible(1), timeout=60)
        time.sleep(1.0)
        self.take("41-compare-differences")
        self.hand.look(lambda: window.compare.views.setCurrentIndex(1))
        time.sleep(1.0)
        self.take("42-compare-graphs")
        self.hand.look(lambda: window.library.tree.selectAll())
        self.hand.look(lambda: window.compare.all_button.click())
        self.hand.wait("the table of three", lambda: window.compare.views.isTabVisible(2), timeout=60)
        self.hand.look(lambda: window.compare.views.setCurrentIndex(2))
        time.sleep(1.0)
        self.take("43-compare-three")
        self.select(variant)

    def examinations(self) -> None:
        """Reports: against a target, of the data, of the layers."""
        sample = self.row("digits")
        self.select(sample)
        self.dialog("50-check-dialog", "model.check")
        self.run("model.check", model=sample.sha256, target="edge-tpu")
        self._report(1)
        self.take("51-report-check")
        self.run("optimize.doctor", model=sample.sha256)
        self._report(2)
        self.take("52-report-doctor")
        self.run("optimize.sensitivity", model=sample.sha256)
        self._report(3)
        self.take("53-report-sensitivity")

    def _report(self, count: int) -> None:
        self.hand.wait(f"report {count}", lambda: len(self.app.stores.reports.rows()) >= count, timeout=90)
        time.sleep(0.4)

    def formats(self) -> None:
        """Graphs of several formats and sizes; the collected ones only where they are."""
        made = models.make_all(self.folder)
        for name in models.MAKERS:
            self.open(made[name])
            self.tab("graph")
            time.sleep(0.8)
            self.take(f"70-graph-{name}")
        where = os.environ.get("EDGESTUDIO_TEST_MODELS")
        for name in (
            "basic_pitch/nmp.tflite", "basic_pitch/nmp.mlpackage", "basic_pitch/nmp_savedmodel",
            "onnx_light_zoo/light_densenet121.onnx",
        ) if where else ():  # fmt: skip
            path = Path(where or "") / name
            if path.exists():
                self.open(path)
                time.sleep(2.0)
                self.take(f"71-graph-{path.name.replace('.', '-')}")

    def names(self) -> None:
        """Names that are long, or run from right to left."""
        made = models.make_all(self.folder)
        for name in (models.RIGHT_TO_LEFT, models.CHINESE, models.LONG):
            self.open(made[name])
        self.tab("graph")
        self.hand.look(lambda: self.panel().select_node(0))
        time.sleep(0.8)
        self.take("72-long-names-graph")
        self.hand.look(lambda: self.app.window.docks.bring_forward("properties"))
        self.take("73-long-names-properties")
        self.tab("results")
        self.take("74-long-names-results")
        self.tab("compare")
        self.take("75-long-names-compare")
        self.tab("welcome")
        self.take("76-welcome-recents")

    def refusals(self) -> None:
        """Files that cannot be opened."""
        text = self.folder / "notes.txt"
        text.write_text("not a model\n" * 20)
        page = self.folder / "downloaded.onnx"
        page.write_text("<!DOCTYPE html><html><body>404</body></html>")
        self.run("model.open", paths=[text, page, self.folder / "gone.onnx"])
        self.hand.wait("three notices", lambda: len(self.app.stores.notices.rows()) >= 3, timeout=60)
        self.tab("graph")
        self.take("80-bad-files")
        self.run("notice.clear")

    def dialogs(self) -> None:
        """Everything that opens above the window."""
        self.select(self.row("digits"))
        for name, command in (
            ("90-settings", "app.settings"), ("91-help", "help.contents"), ("92-keys", "help.keys"),
            ("93-board-missing", "help.doctor"), ("94-about", "help.about"), ("95-rename", "model.rename"),
            ("95-tags", "model.set_tags"), ("95-note", "model.note"), ("95-facts", "model.set_facts"),
            ("96-edit", "model.edit"), ("97-recovery-kit", "keys.export"), ("97-open", "model.open"),
            ("97-address", "board.add_address"), ("98-palette", "app.palette"),
        ):  # fmt: skip
            self.dialog(name, command)
            self.hand.key("Escape")

    def registry(self) -> None:
        """Publish to a folder, then look at what is there."""
        registry = self.folder / "registry"
        registry.mkdir()
        row = self.row("digits")
        self.select(row)

        self.dialog("60-publish", "model.publish")
        self.dialog("61-import", "model.import_registry")
        self.run("board.add_simulated")
        self.hand.look(lambda: self.app.window.close())
        time.sleep(0.3)
        self.take("99-quit")
        self.close_all()
