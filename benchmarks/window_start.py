"""Time from process start to the first painted window: the product's beside a bare PySide6 window."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 7

_BARE = """
import sys, time
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
app = QApplication(sys.argv)
window = QMainWindow()
window.show()
QTimer.singleShot(0, lambda: (print(time.time(), flush=True), app.quit()))
app.exec()
"""


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.time()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    lines = [line for line in result.stdout.splitlines() if line.replace(".", "").isdigit()]
    if not lines:
        raise RuntimeError(result.stderr[-2000:])
    return float(lines[-1]) - started


def main() -> int:
    """Print the medians, their spread and the ratio."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "EDGESTUDIO_HOME": home}
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
        product = [sys.executable, "-m", "edgestudio", "--time-to-window"]
        bare = [sys.executable, "-c", _BARE]
        ours, theirs = [], []
        for _ in range(RUNS):  # interleaved, so that other load falls on both
            theirs.append(_seconds(bare, environment))
            ours.append(_seconds(product, environment))
    for name, values in (("bare PySide6 window", theirs), ("EdgeStudio's window", ours)):
        print(
            f"{name:22} median {statistics.median(values):.2f} s  ({min(values):.2f} to {max(values):.2f}, n={RUNS})"
        )
    print(f"ratio of medians       {statistics.median(ours) / statistics.median(theirs):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
