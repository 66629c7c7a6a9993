"""Times the graph view on generated graphs beside Netron and Model Explorer: first use, panning, zooming, memory.

    python -m benchmarks.graph_view [--quick] [--sizes 1000 10000 50000] [--families resnet transformer densenet]
                                    [--no-others] [--model-explorer PROGRAM] [--patience 60] [--json FILE]

Ours is the product's whole window (see graph_window): from the wish to open the file to a painted graph, and to one
that was panned, zoomed, searched and asked; once with the start of a fresh worker process and its imports, and once
with the worker that the window keeps waiting. The ratios are of the slower one. Frames are those of the view alone,
at 1600 x 1000 pixels. Netron runs in a headless Chromium where one is installed, and is timed from opening its page
to the first drawn node: parsing, layout and painting, without the browser's own start. Model Explorer is timed
likewise where its program is given or on the path, without its server's start; it first shows collapsed groups. Both
are given up after the patience, and what was not waited for is said.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import model_explorer_in_chromium, netron_in_chromium
from benchmarks.generated_graphs import FAMILIES, generate

SIZES = (1_000, 10_000, 50_000)
_FRAMES = 200


def measure(path: Path) -> dict[str, Any]:
    """Everything about one file; call it in a process of its own, so that its memory is its own."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import psutil
    from PySide6.QtWidgets import QApplication

    from edgestudio.model.picture.layout import Layout
    from edgestudio.ui import theme
    from edgestudio.ui.graph.view import GraphView
    from edgestudio.ui.memory import keep_large_blocks_apart

    keep_large_blocks_apart()
    app = QApplication([])
    theme.install(app, "light")
    view = GraphView()
    view.resize(1600, 1000)
    view.show()
    app.processEvents()
    with tempfile.TemporaryDirectory() as folder:
        layout_path = _inspect_in_worker(path, Path(folder))
        read = time.perf_counter()
        view.set_model(None, Layout.load(layout_path))
        view.viewport().repaint()
        painted = time.perf_counter()
    found: dict[str, Any] = {
        "file": path.name,
        "boxes": len(view.layout_shown),
        "edges": len(view.layout_shown.boxes.source),
        "window_part_s": painted - read,
    }
    for zoom in (1.0, 0.4, 0.2, 0.05):
        found[f"pan_ms@{zoom:g}"] = _percentiles(_pan(view, zoom))
    found["zoom_ms"] = _percentiles(_zoom(view))
    found["view_mb"] = psutil.Process().memory_info().rss / 1e6
    return found


def measure_window(path: Path, *, is_ready: bool, runs: int) -> dict[str, Any]:
    """Medians of the figures of `graph_window` over runs in processes of their own, and the spread of one."""
    command = [sys.executable, "-m", "benchmarks.graph_window", str(path), *(["--ready"] if is_ready else [])]
    rows = []
    for _ in range(runs):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    found: dict[str, Any] = {
        key: statistics.median(values)
        for key in rows[0]
        if (values := [row[key] for row in rows if row[key] is not None])
    }
    painted = [row["painted_s"] for row in rows]
    return {**found, "runs": runs, "painted_from": min(painted), "painted_to": max(painted)}


def _inspect_in_worker(path: Path, folder: Path) -> Path:
    """Run the product's own worker; returns as soon as it has published the layout."""
    request = {
        "id": "b",
        "kind": "inspect",
        "params": {"path": str(path), "layout": True},
        "out_dir": str(folder),
    }
    command = [sys.executable, "-m", "edgestudio", "--worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(request) + "\n")
        worker.stdin.flush()
        try:
            for line in worker.stdout:
                event = json.loads(line)
                if event.get("event") == "partial" and event.get("key") == "layout":
                    return Path(event["value"])
                if event.get("event") == "failed":
                    raise RuntimeError(event["message"])
        finally:
            worker.kill()
    raise RuntimeError("the worker ended without a layout")


def _pan(view: Any, zoom: float) -> list[tuple[float, float]]:
    """Milliseconds of each frame while dragging up and down, first to parts never seen before."""
    view.fit_width()
    view.zoom_to(zoom)
    view.viewport().repaint()
    times = []
    for frame in range(_FRAMES):
        begun = _now()
        view.pan(5 if frame % 4 == 0 else 0, -41 if frame % 20 < 16 else 63)
        view.viewport().repaint()
        times.append(_since(begun))
    return times


def _zoom(view: Any) -> list[tuple[float, float]]:
    """Milliseconds of each frame while zooming out from 2 and back in; every one is painted afresh."""
    view.zoom_to(2.0)
    times = []
    for frame in range(_FRAMES):
        begun = _now()
        view.zoom_by(0.95 if frame < _FRAMES // 2 else 1 / 0.95)
        view.viewport().repaint()
        times.append(_since(begun))
    return times


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def _since(begun: tuple[float, float]) -> tuple[float, float]:
    """Milliseconds by the clock, and of this thread's work alone, which other load does not touch."""
    return (time.perf_counter() - begun[0]) * 1000, (time.thread_time() - begun[1]) * 1000


def _percentiles(times: list[tuple[float, float]]) -> dict[str, float]:
    clock, work = sorted(wall for wall, _ in times), sorted(cpu for _, cpu in times)
    last = int(len(times) * 0.99)
    return {"p50": clock[len(clock) // 2], "p99": clock[last], "cpu_p99": work[last]}


def _report(found: dict[str, Any], others: dict[str, dict[str, Any]]) -> None:
    cold, warm = found["cold"], found["ready"]
    print(f"{found['file']}, {found['boxes']:,} boxes, {found['edges']:,} edges, n={cold['runs']}")
    for title, row in (("fresh worker", cold), ("worker that waited", warm)):
        print(
            f"  {title:20} painted {row['painted_s']:.2f} s ({row['painted_from']:.2f} to {row['painted_to']:.2f}), "
            f"searched and asked {row['usable_s']:.2f} s, all known {row['all_known_s']:.1f} s, "
            f"totals {row['totals_s']:.1f} s"
        )
    print(
        f"  memory               window {cold['before_mb']:.0f} MB before, {cold['rss_mb_painted']:.0f} MB painted, "
        f"{cold['rss_mb']:.0f} MB with all known, peak {cold['peak_mb']:.0f} MB; "
        f"the view alone {found['view_mb']:.0f} MB"
    )
    pans = [found[key] for key in found if key.startswith("pan_ms@")]
    worst, work = (max(pan[key] for pan in pans) for key in ("p99", "cpu_p99"))
    print(
        f"  frames               pan p50 {pans[0]['p50']:.1f} ms, worst p99 {worst:.1f} ms (own work {work:.1f} ms), "
        f"zoom p99 {found['zoom_ms']['p99']:.1f} ms (own work {found['zoom_ms']['cpu_p99']:.1f} ms); goal 8",
        flush=True,
    )
    for name, told in others.items():
        text = str(told.get("reason"))
        if "seconds" in told:
            ratios = (told["seconds"] / cold[key] for key in ("painted_s", "usable_s"))
            text = "{:.1f} s, peak {:.0f} MB: {:.0f} times as long to the picture, {:.0f} times to its use".format(
                told["seconds"], told["peak_mb"], *ratios
            )
        print(f"  {name:20} {text}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each graph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller sizes, one run each")
    parser.add_argument("--sizes", type=int, nargs="+", help="default: 1000 10000 50000")
    parser.add_argument("--runs", type=int, help="of the window for each graph; default 3")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--no-others", action="store_true", help="time neither Netron nor Model Explorer")
    parser.add_argument("--model-explorer", default="model-explorer", help="its program, on the path or not")
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds until one of the others is given up"
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgestudio-graphs")
    parser.add_argument("--json", type=Path, help="also write all figures there")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    everything = []
    runs = options.runs or (1 if options.quick else 3)
    for size in options.sizes or (SIZES[:2] if options.quick else SIZES):
        for family in options.families:
            path = generate(options.folder, family, size)
            command = [sys.executable, "-m", "benchmarks.graph_view", "--one", str(path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            for title, is_ready in (("cold", False), ("ready", True)):
                found[title] = measure_window(path, is_ready=is_ready, runs=runs)
            others: dict[str, dict[str, Any]] = {}
            if not options.no_others:
                others["Netron"] = netron_in_chromium.measure(path, options.patience)
                others["Model Explorer"] = model_explorer_in_chromium.measure(
                    path, options.patience, options.model_explorer
                )
            _report(found, others)
            everything.append({**found, "others": others})
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
