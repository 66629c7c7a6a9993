"""Starts the window: the studio on its loop, the bridge between them, and a clean end."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, QSocketNotifier, QTimer
from PySide6.QtWidgets import QApplication, QMessageBox

from edgestudio import __version__
from edgestudio.studio.app import Studio
from edgestudio.studio.commands.catalogue import build_commands
from edgestudio.studio.loop import LoopThread
from edgestudio.studio.stores import Stores
from edgestudio.ui import icons, theme
from edgestudio.ui.bridge import Bridge
from edgestudio.ui.desk import Desk
from edgestudio.ui.main_window import MainWindow
from edgestudio.ui.memory import keep_large_blocks_apart
from edgestudio.ui.requests import Requests
from edgestudio.ui.selection import Selected
from edgestudio.wire.errors import EdgeStudioError

_STOP_S = 20.0


class App(QObject):
    """Owns what lives as long as the window: loop, studio, stores, bridge."""

    def __init__(self, studio: Studio) -> None:
        super().__init__()
        keep_large_blocks_apart()
        self.studio = studio
        self.loop = LoopThread()
        self.stores = Stores()
        self.bridge = Bridge(self.loop, studio.bus, self.stores)
        self.window = MainWindow()
        self._is_ending = False
        selected = Selected()
        commands = build_commands(
            studio, self.loop.submit, self.window.places, lambda: selected.rows(self.stores)
        )
        self.desk = Desk(self.stores, commands, selected)
        self.requests = Requests(studio, self.bridge)
        self.window.furnish(self.desk, self.requests, studio.monitor, studio.paths.home / "window.ini")
        self.window.may_close = self._may_close
        studio.edits.history.on_change(lambda: self.bridge.post(self.window.menus.refresh))
        studio.settings.on_change(lambda changed: self.bridge.post(lambda: self.window.apply(changed)))

    def begin(self, files: Sequence[Path], *, sample: bool, simulated_board: bool) -> None:
        """Start the services, then do what the command line asked for."""

        def started(result: object) -> None:
            self.window.attention.begin()
            self.bridge.call(self.studio.keep_worker_ready())
            if sample:
                self.desk.run("model.open_sample")
            if files:
                self.window.open_files(list(files))
            if simulated_board:
                self.desk.run("board.add_simulated")

        self.bridge.call(self.studio.start(), started, self.requests.report)

    def end(self) -> None:
        """Stop jobs, boards and the loop, then leave; the window stays responsive meanwhile."""
        if self._is_ending:
            return
        self._is_ending = True
        self.window.layouts.keep()
        self.window.hide()
        leave = QTimer(self)
        leave.setSingleShot(True)
        leave.timeout.connect(_leave)
        leave.start(round(_STOP_S * 1000))
        self.bridge.call(self.studio.stop(), lambda _: _leave(), lambda _: _leave())

    def close(self) -> bool:
        """After the last event: end the loop's thread; False when it did not end."""
        self.bridge.close()
        return self.loop.stop()

    def _may_close(self) -> bool:
        busy = [job.title for job in self.stores.jobs.rows() if not job.is_over]
        busy += [row.title for row in self.stores.deployments.rows() if row.state == "running"]
        if busy and not self._is_ending:
            self._ask(busy)
            return False
        self.end()
        return True

    def _ask(self, busy: list[str]) -> None:
        box = QMessageBox(self.window)
        box.setObjectName("quit-question")
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Quit EdgeStudio?")
        box.setText(f"Still running: {', '.join(busy[:4])}{' and more' if len(busy) > 4 else ''}.")
        box.setInformativeText("Quitting cancels it. Nothing is left half done: boards keep what they run.")
        stop = box.addButton("Cancel it and quit", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Keep working", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.finished.connect(lambda _: self.end() if box.clickedButton() is stop else None)
        box.finished.connect(box.deleteLater)
        box.open()


class Signals(QObject):
    """Lets Ctrl+C and a polite kill end the application the same way as closing its window."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self._ours, theirs = socket.socketpair()
        self._theirs = theirs
        for each in (self._ours, theirs):
            each.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._notifier = QSocketNotifier(self._ours.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(lambda *_: app.end())

    def close(self) -> None:
        """Back to the default behaviour."""
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._ours.close()
        self._theirs.close()


def run(argv: Sequence[str]) -> int:
    """Show the window until it is closed; returns the exit status."""
    options = _parse(argv)
    try:
        studio = Studio()
    except EdgeStudioError as error:
        print(f"{error.sentence}\n{error.hint}".strip(), file=sys.stderr)  # noqa: T201
        _show_refusal(error)
        return error.exit_code
    scale = studio.settings.current.scale_percent
    if scale != 100:
        os.environ.setdefault("QT_SCALE_FACTOR", str(scale / 100))
    qt = QApplication.instance() or QApplication(["edgestudio"])
    assert isinstance(qt, QApplication)
    qt.setApplicationName("EdgeStudio")
    qt.setApplicationVersion(__version__)
    qt.setDesktopFileName("edgestudio")
    qt.setWindowIcon(icons.application_icon())
    qt.setQuitOnLastWindowClosed(False)
    theme.install(qt, studio.settings.current.theme)
    app = App(studio)
    _report_bugs(app)
    signals = Signals(app) if threading.current_thread() is threading.main_thread() else None
    app.window.show()
    # After the first paint: what the user sees comes first.
    QTimer.singleShot(
        0, lambda: app.begin(options.files, sample=options.sample, simulated_board=options.simulated_board)
    )
    status = qt.exec()
    if signals is not None:
        signals.close()
    has_ended = app.close()
    sys.excepthook = sys.__excepthook__
    return status if has_ended else 3


def _show_refusal(error: EdgeStudioError) -> None:
    """Say it in a window too: whoever started this from a menu sees no stderr."""
    qt = QApplication.instance() or QApplication(["edgestudio"])
    assert isinstance(qt, QApplication)
    if qt.platformName() in ("offscreen", "minimal"):
        return
    theme.install(qt, "system")
    box = QMessageBox(QMessageBox.Icon.Critical, "EdgeStudio", error.sentence)
    box.setObjectName("refusal")
    box.setInformativeText(error.hint)
    box.exec()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="edgestudio",
        description="Opens the window; `edgestudio --help` lists the verbs of the command line.",
    )
    parser.add_argument("files", nargs="*", type=Path, help="models to open")
    parser.add_argument("--sample", action="store_true", help="open the sample model")
    parser.add_argument("--simulated-board", action="store_true", help="start a simulated board")
    return parser.parse_args(list(argv))


def _report_bugs(app: App) -> None:
    """What nobody expected becomes a notice with its details, and the window goes on."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            app.end()
        else:
            app.requests.report(error)

    sys.excepthook = hook


def _leave() -> None:
    QApplication.exit(0)
