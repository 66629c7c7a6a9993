"""Opens a file in the product's own window, as a user does, and times it from the wish to a graph that can be used.

    python -m benchmarks.graph_window FILE [--ready]    (prints a line of JSON; graph_view calls it for each graph)

With --ready a worker waits already, as the window keeps one by default; without, its start and its imports count.
The window runs on Qt's offscreen platform with a home of its own. The clock starts when the file is handed to it
(File > Open, a drop) and covers hashing, the worker, reading, layout, transfer and the first painted frame. A graph
counts as usable when it is painted and was panned, zoomed, searched by operator, and a match selected and described.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_LIMIT_S = 180.0


def measure(path: Path, *, is_ready: bool, goes_on: bool = True) -> dict[str, Any]:
    """Seconds from opening to the steps, and the window's memory; call it in a process of its own.

    With `goes_on` the totals, which come last, are waited for; without, it ends with the whole graph.
    """
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory() as home:
        os.environ["EDGESTUDIO_HOME"] = home
        settings = Path(home) / "settings.json"
        from PySide6.QtWidgets import QApplication

        from edgestudio.studio.app import Studio
        from edgestudio.studio.settings import Settings
        from edgestudio.ui import theme
        from edgestudio.ui.app import App

        settings.write_text(Settings(discovery=False, worker_ready=is_ready).model_dump_json(), "utf-8")
        qt = QApplication(["edgestudio"])
        theme.install(qt, "light")
        app = App(Studio())
        app.window.resize(1600, 1000)
        app.window.show()
        app.begin([], sample=False, simulated_board=False)
        _until(qt, lambda: app.studio.models._is_loaded)
        if is_ready:
            _until(qt, lambda: app.studio.jobs.ready.pid)
        _rest(qt, 3.0)
        try:
            return _open(qt, app, path, goes_on=goes_on)
        finally:
            app.end()
            _until(qt, lambda: not any(row.state == "running" for row in app.studio.jobs.rows))
            app.close()


def _open(qt: Any, app: Any, path: Path, *, goes_on: bool) -> dict[str, Any]:
    import psutil

    own = psutil.Process()
    before = own.memory_info().rss
    begun = time.perf_counter()
    app.window.open_files([path])
    _until(qt, lambda: _panel(app) is not None and _panel(app).has_picture)
    panel = _panel(app)
    panel.view.viewport().repaint()
    painted = time.perf_counter()
    found: dict[str, Any] = {"painted_s": painted - begun, "boxes": len(panel.view.layout_shown)}
    found["before_mb"] = before / 1e6
    found["rss_mb_painted"] = own.memory_info().rss / 1e6
    workers = own.children()
    peaks = [_peak_mb(worker.pid) for worker in workers]
    panel.view.pan(0, -300)
    panel.view.zoom_by(0.8)
    panel.view.viewport().repaint()
    operator = panel.view.layout_shown.boxes.labels[panel.view.layout_shown.boxes.label[1]]
    panel.search(f"op:{operator}")
    panel.step(1)
    panel.view.viewport().repaint()
    assert panel.matches
    assert panel.view.node_of(panel.view.selected_box) == panel.matches[0]
    assert operator in panel.properties.text()
    found["usable_s"] = time.perf_counter() - begun
    _until(qt, lambda: panel.document is not None)
    found["all_known_s"] = time.perf_counter() - begun
    peaks += [_peak_mb(worker.pid) for worker in workers]
    found["worker_peak_mb"] = max((peak for peak in peaks if peak is not None), default=None)
    if not goes_on:
        return found
    _until(qt, lambda: any(row.summary.get("operators") for row in app.studio.models.rows))
    found["totals_s"] = time.perf_counter() - begun
    known = id(panel.document)
    with contextlib.suppress(TimeoutError):  # where the totals add nothing to the graph, it is not read again
        _until(qt, lambda: id(panel.document) != known, 20.0)
    _rest(qt, 2.0)
    found["peak_mb"] = _peak_mb(own.pid)
    found["rss_mb"] = own.memory_info().rss / 1e6
    found["grown_mb"] = (own.memory_info().rss - before) / 1e6
    return found


def _peak_mb(pid: int) -> float | None:
    """The most memory that a process had resident so far; None once it is gone, or where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), None)


def _panel(app: Any) -> Any:
    page = app.window.graph.page
    return None if page is None else page.panel


def _until(qt: Any, is_so: Any, limit_s: float = _LIMIT_S) -> None:
    limit = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > limit:
            raise TimeoutError(f"nothing within {limit_s:.0f} s")
        qt.processEvents()
        time.sleep(0.0005)


def _rest(qt: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        qt.processEvents()
        time.sleep(0.005)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), is_ready="--ready" in sys.argv)))
