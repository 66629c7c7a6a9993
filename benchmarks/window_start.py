"""Time from process start to the first painted window: the product's beside a bare PySide6 window."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 7
_AFTER_IMPORTS: list[float] = []

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

_PRODUCT = """
import sys, time
from PySide6.QtCore import QTimer
from edgestudio.ui import app as application
imported = time.time()

class Watched(application.App):
    def __init__(self, studio):
        super().__init__(studio)
        # Comes after the first paint, which the window's show has put into the queue.
        QTimer.singleShot(0, self.tell)

    def tell(self):
        now = time.time()
        print(f"after imports {now - imported:.3f}", flush=True)
        print(now, flush=True)
        self.end()

application.App = Watched
sys.exit(application.run([]))
"""


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.time()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    lines = [line for line in result.stdout.splitlines() if line.replace(".", "").isdigit()]
    if not lines:
        raise RuntimeError(result.stderr[-2000:])
    said = [line.split()[-1] for line in result.stdout.splitlines() if line.startswith("after imports")]
    _AFTER_IMPORTS.extend(float(seconds) for seconds in said)
    return float(lines[-1]) - started


def main() -> int:
    """Print the medians, their spread and the ratio."""
    runs = 3 if "--quick" in sys.argv else RUNS
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "EDGESTUDIO_HOME": home}
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
        product = [sys.executable, "-c", _PRODUCT]
        bare = [sys.executable, "-c", _BARE]
        ours, theirs = [], []
        for _ in range(runs):  # interleaved, so that other load falls on both
            theirs.append(_seconds(bare, environment))
            ours.append(_seconds(product, environment))
    for name, values in (("bare PySide6 window", theirs), ("EdgeStudio's window", ours)):
        print(
            f"{name:22} median {statistics.median(values):.2f} s  ({min(values):.2f} to {max(values):.2f}, n={runs})"
        )
    print(f"ratio of medians       {statistics.median(ours) / statistics.median(theirs):.2f}")
    print(f"of EdgeStudio's, after its imports: median {statistics.median(_AFTER_IMPORTS):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
