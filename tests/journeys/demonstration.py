"""Plays the main job through the real window with a real pointer and real keys, and says whether it truly happened.

`python -m tests.journeys.demonstration` runs it on a virtual screen of its own, prints each step with its result and
time, saves a screenshot of each into demo-output/, and ends with 0 only if every step did what it says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.journeys.screen import ScreenUnavailableError, virtual_screen
from tests.journeys.stage import perform

ROOT = Path(__file__).resolve().parents[2]
SIZE = "1600x1000"
MOST_SECONDS = 420


class Demonstration:
    """The steps in order; each looks at what the window and its stores then show."""

    def __init__(self, app: Any, output: Path) -> None:
        from tests.journeys.hand import Hand

        self.app = app
        self.hand = Hand()
        self.output = output
        self.failed: list[str] = []
        self._number = 0
        self.board = ""
        self.variant = ""

    def play(self) -> None:
        """All steps; a step that fails ends the demonstration, since the next ones stand on it."""
        steps: list[tuple[str, Callable[[], str]]] = [
            ("The window opens on its welcome page", self.window_opens),
            ("A simulated board starts and is found over mDNS", self.board_appears),
            ("The sample model opens, with its figures and its graph", self.sample_opens),
            ("The graph is searched, and a node shows its properties", self.graph_is_searched),
            ("INT8 static shrinks it, measured before and after", self.recipe_runs),
            ("The board is paired with the code on its screen", self.board_is_paired),
            ("The variant is dragged onto the board and committed", self.variant_is_dropped),
            ("The dashboard is live without another click", self.dashboard_is_live),
            ("A second variant is pushed by its button", self.second_push),
            ("The board goes back to the one before", self.board_rolls_back),
            ("The same in dark", self.dark),
        ]
        started = time.monotonic()
        for title, step in steps:
            begun = time.monotonic()
            try:
                result = step()
            except Exception as problem:
                self.failed.append(title)
                self._photograph("failed")
                self._print(title, f"FAILED: {problem}", begun)
                traceback.print_exc()
                break
            self._print(title, result, begun)
        count = self._number
        word, seconds = "FAILED" if self.failed else "done", time.monotonic() - started
        print(f"{word} in {seconds:.0f} s, {count} screenshots in {self.output.name}/")

    def window_opens(self) -> str:
        """The welcome page offers the sample, this computer and a simulated board."""
        hand = self.hand
        hand.wait("the welcome page", lambda: hand.find("welcome-sample").isEnabled(), timeout=60)
        hand.look(lambda: self.app.window.resize(1600, 1000))
        hand.look(lambda: self.app.window.move(0, 0))
        self._settle()
        self._photograph("welcome")
        heavy = [
            name
            for name in ("onnx", "onnxruntime", "torch", "tensorflow", "coremltools")
            if name in sys.modules
        ]
        assert not heavy, f"the window has imported {heavy}"
        return "no machine-learning library in the window's process"

    def board_appears(self) -> str:
        """Its card says that the sensors are simulated, and its console shows a pairing code."""
        hand = self.hand
        hand.click("welcome-simulated")
        row = hand.wait("the board's card", lambda: self._board_row(), timeout=60)
        self.board = row.name
        hand.wait("the card on the screen", lambda: hand.find(f"board-card-{row.name}", within=self._is_ours))
        hand.wait("the code on the board's screen", lambda: self._code(), timeout=30)
        assert row.is_simulated, "the board does not say that it is simulated"
        self._photograph("board-found")
        return f"{row.name} at {row.address}:{row.port}, simulated sensors, not paired"

    def sample_opens(self) -> str:
        """It is read in a worker, laid out there, and shown."""
        hand = self.hand
        hand.key("ctrl+shift+p")
        hand.wait("the palette", lambda: hand.find("command-palette-line"))
        hand.type("open the sample")
        hand.key("Return")
        row = hand.wait("the sample's row", lambda: self._model_row("digits", with_summary=True), timeout=60)
        hand.wait("the graph", lambda: hand.find("graph-view").isVisible())
        self._settle()
        self._photograph("graph")
        summary = row.summary
        return (
            f"{summary['format']}, {summary['nodes']} operators, {summary['parameters']:,} parameters, "
            f"{summary['macs']:,} MACs, {summary['peak_activation_bytes']:,} bytes peak"
        )

    def graph_is_searched(self) -> str:
        """Ctrl+F, a query, Return; the search counts and selects."""
        hand = self.hand
        hand.key("ctrl+f")
        hand.wait("the search line", lambda: hand.find("graph-search").hasFocus())
        hand.type("op:Conv k>1")
        hand.key("Return")
        count = hand.wait("the count of hits", lambda: hand.find("graph-search-count").text())
        hand.key("ctrl+Return")
        shown = hand.wait("the properties", lambda: _plain(hand.find("graph-properties-text")))
        assert "Conv" in shown, f"the properties do not speak of the node found: {shown[:200]}"
        self._settle()
        self._photograph("search")
        return f"op:Conv k>1: {count}"

    def recipe_runs(self) -> str:
        """The recipe form runs; the variant stands under its parent and has a card."""
        row = self._run_recipe("INT8 static", "int8-static")
        self.variant = row.sha256
        self._settle()
        self._photograph("results")
        before, after = row.before, row.after
        assert after["size_bytes"] < before["size_bytes"], "the variant is not smaller"
        assert after["accuracy"]["top1"] > before["accuracy"]["top1"] - 0.02, (
            "the variant is much less accurate"
        )
        was, now = before["latency_ms"], after["latency_ms"]
        return (
            f"{before['size_bytes']:,} to {after['size_bytes']:,} bytes, "
            f"p50 {was['p50']:.3f} to {now['p50']:.3f} ms (n={now['n']}), "
            f"top-1 {before['accuracy']['top1']:.4f} to {after['accuracy']['top1']:.4f} (n={after['accuracy']['n']})"
        )

    def board_is_paired(self) -> str:
        """A wrong code is refused with a sentence; the right one pairs."""
        hand = self.hand
        hand.click(f"board-pair-{self.board}", within=self._is_ours)
        hand.click("pairing-code")
        code = self._code()
        hand.type(code)
        self._photograph("pairing")
        hand.key("Return")
        row = hand.wait("the board to be paired and online", lambda: self._board_row(online=True), timeout=40)
        self._settle()
        self._photograph("paired")
        return f"code {code}; role {row.role or 'owner'}; certificate {row.id[:16]}…"

    def variant_is_dropped(self) -> str:
        """Pressed on its row in the Library, carried over the card, let go there."""
        from tests.journeys.hand import row_middle

        hand = self.hand
        name = hand.look(lambda: self.app.stores.models.get(self.variant).name)
        start = hand.wait("the variant's row", lambda: row_middle(hand.find("library-tree"), name))
        end = hand.look(lambda: self._card_middle())
        hand.drag(start, end, halfway=lambda: self._photograph("drag"))
        hand.wait("the deployment to begin", lambda: self._deployment(), timeout=20)
        self._photograph("deploying")
        row = hand.wait("the deployment to end", lambda: self._deployment(ended=True), timeout=150)
        assert row.state == "committed", f"{row.state}: {row.reason} {row.hint}"
        hand.wait("the board to say so", lambda: self._active() == self.variant)
        self._photograph("committed")
        done = [step.name for step in row.steps if step.state == "done"]
        return " → ".join(done)

    def dashboard_is_live(self) -> str:
        """Windows of telemetry arrive and are drawn."""
        hand = self.hand
        snapshot = hand.wait("telemetry", lambda: self._windows(3), timeout=60)
        hand.wait("the dashboard in front", lambda: hand.find("dashboard-panel"))
        time.sleep(6)
        self._photograph("dashboard")
        return snapshot

    def second_push(self) -> str:
        """FP16, selected in the Library, installed by the card's button."""
        hand = self.hand
        row = self._run_recipe("FP16", "fp16")
        hand.click_row("library-tree", row.name)
        hand.click(f"board-push-{self.board}", within=self._is_ours)
        ended = hand.wait(
            "the deployment to end", lambda: self._deployment(row.sha256, ended=True), timeout=150
        )
        assert ended.state == "committed", f"{ended.state}: {ended.reason} {ended.hint}"
        hand.wait("the board to say so", lambda: self._active() == row.sha256)
        self._photograph("second-push")
        return f"{row.name} active"

    def board_rolls_back(self) -> str:
        """By the palette, as a person who fears the mouse would."""
        hand = self.hand
        hand.press_at(hand.look(lambda: self._card_middle()))
        hand.key("ctrl+shift+p")
        hand.wait("the palette", lambda: hand.find("command-palette-line"))
        hand.type("roll back")
        hand.key("Return")
        hand.wait(
            "the earlier variant to be active again", lambda: self._active() == self.variant, timeout=90
        )
        self._settle()
        self._photograph("rolled-back")
        return "the earlier release answered its golden inputs again and is active"

    def dark(self) -> str:
        """The same places once more with the dark colours."""
        hand = self.hand
        hand.key("ctrl+shift+p")
        hand.wait("the palette", lambda: hand.find("command-palette-line"))
        hand.type("dark")
        hand.key("Return")
        self._settle()
        for tab in ("graph", "results", "dashboard", "welcome"):
            hand.look(lambda tab=tab: self.app.desk.run(f"view.{tab}") and None)
            self._settle()
            self._photograph(f"dark-{tab}")
        return "graph, results, dashboard and welcome page"

    def _run_recipe(self, title: str, word: str) -> Any:
        hand = self.hand
        source = hand.look(lambda: self._model_row("digits", with_summary=True))
        hand.click_row("library-tree", source.name)
        hand.wait("the recipe's list", lambda: hand.find("recipe-choice"))
        hand.press_at(hand.look(lambda: hand.middle("recipe-choice")))
        hand.type(title)
        hand.key("Return")
        hand.click("recipe-run")

        def variant() -> Any:
            rows = [row for row in self.app.stores.models.rows() if row.parent == source.sha256 and row.after]
            return next(
                (row for row in rows if row.recipe and word in row.recipe.lower().replace(" ", "-")), None
            )

        return hand.wait(f"the variant of {title}", variant, timeout=150)

    def _board_row(self, *, online: bool = False) -> Any:
        """The board started from here; other people's may be on this network too."""
        for row in self.app.stores.boards.rows():
            is_found = row.screen and row.is_simulated and row.address
            if is_found and (not online or (row.is_paired and row.presence == "online")):
                return row
        return None

    def _code(self) -> str:
        import re

        row = self._board_row()
        found = re.findall(r"pairing code: (\S+)", "\n".join(row.screen)) if row is not None else []
        return found[-1] if found else ""

    def _model_row(self, name: str, *, with_summary: bool = False) -> Any:
        for row in self.app.stores.models.rows():
            if (
                row.parent is None
                and name in row.name.lower()
                and ("macs" in row.summary or not with_summary)
            ):
                return row
        return None

    def _deployment(self, model: str | None = None, *, ended: bool = False) -> Any:
        for row in self.app.stores.deployments.rows():
            if row.model == (model or self.variant) and (not ended or row.state != "running"):
                return row
        return None

    def _active(self) -> str:
        row = self._board_row()
        return row.active[0].sha256 if row is not None and row.active else ""

    def _is_ours(self, widget: Any) -> bool:
        return getattr(getattr(widget, "row", None), "id", "") == self._board_row().id

    def _card_middle(self) -> Any:
        card = self.hand.find(f"board-card-{self.board}", within=self._is_ours)
        return card.mapToGlobal(card.rect().center())

    def _windows(self, count: int) -> str:
        snapshot = self.app.studio.monitor.series(self._board_row().id).snapshot()
        if len(snapshot.time) < count or not snapshot.inferences or snapshot.confidence is None:
            return ""
        total = snapshot.overall_ms["total"]
        heat = {
            name: sensor.latest
            for name, sensor in snapshot.sensors.items()
            if sensor.unit in ("C", "°C", "celsius")
        }
        assert snapshot.is_simulated, "the records do not say that the sensors are simulated"
        assert snapshot.baseline is not None, "no baseline came with the model"
        measured = f"{snapshot.inferences} inferences in {len(snapshot.time)} windows"
        return f"{measured}, p50 {total[50]:.2f} ms, p99 {total[99]:.2f} ms, temperatures {heat}"

    def _settle(self) -> None:
        time.sleep(0.8)

    def _photograph(self, name: str) -> None:
        self._number += 1
        self.hand.photograph(self.output / f"{self._number:02d}-{name}.png")

    def _print(self, title: str, result: str, begun: float) -> None:
        print(f"  {title} ({time.monotonic() - begun:.1f} s)\n      {result}", flush=True)


def _plain(widget: Any) -> str:
    text = widget.toPlainText() if hasattr(widget, "toPlainText") else widget.text()
    return str(text)


def main() -> int:
    """Bring a screen, play, and give the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "demo-output")
    parser.add_argument(
        "--on-this-display", action="store_true", help="play on $DISPLAY instead of a virtual screen"
    )
    arguments = parser.parse_args()
    output = arguments.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    if arguments.on_this_display:
        return perform(lambda app: Demonstration(app, output))
    for old in output.glob("[0-9][0-9]-*.png"):
        old.unlink()
    try:
        with virtual_screen(SIZE) as display, tempfile.TemporaryDirectory(prefix="edgestudio-demo-") as home:
            print(
                f"EdgeStudio's main job on a virtual screen {SIZE}; screenshots go to {output.name}/",
                flush=True,
            )
            environment = {
                **os.environ,
                "DISPLAY": display,
                "QT_QPA_PLATFORM": "xcb",
                "EDGESTUDIO_HOME": home,
            }
            environment.pop("WAYLAND_DISPLAY", None)
            command = [
                sys.executable,
                "-m",
                "tests.journeys.demonstration",
                "--on-this-display",
                "--output",
                str(output),
            ]
            return subprocess.run(command, env=environment, cwd=ROOT, timeout=MOST_SECONDS).returncode
    except ScreenUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.TimeoutExpired:
        print(f"FAILED: not done after {MOST_SECONDS} s", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
