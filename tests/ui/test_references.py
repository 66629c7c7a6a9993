"""Some releases of Qt for Python lose a reference to None with every void call, which kills the process in minutes."""

from __future__ import annotations

import subprocess
import sys

_PROBE = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6.QtCore import QPointF, QRectF, QTimer
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from PySide6.QtWidgets import QApplication, QLabel, QWidget
app = QApplication([])
image = QImage(32, 32, QImage.Format.Format_ARGB32)
painter, pen, area = QPainter(image), QPen(QColor("red")), QRectF(0, 0, 9, 9)
widget, label, timer = QWidget(), QLabel(), QTimer()
calls = {
    "setPen": lambda: painter.setPen(pen),
    "drawRect": lambda: painter.drawRect(area),
    "drawText": lambda: painter.drawText(QPointF(1, 9), "a"),
    "save and restore": lambda: (painter.save(), painter.restore()),
    "setText": lambda: label.setText("a"),
    "update": lambda: widget.update(),
    "resize": lambda: widget.resize(9, 9),
    "setProperty": lambda: widget.setProperty("kind", "x"),
    "start and stop": lambda: (timer.start(50), timer.stop()),
    "emit": lambda: widget.windowTitleChanged.emit("a"),
    "QWidget()": lambda: QWidget(),
}
COUNT = 300
pins = [None] * 100_000  # so that a faulty release is told, and not felt
lost = []
for name, call in calls.items():
    call()
    before = sys.getrefcount(None)
    for _ in range(COUNT):
        call()
    if (before - sys.getrefcount(None)) / COUNT >= 0.5:
        lost.append(name)
painter.end()
print(",".join(lost) or "none")
sys.stdout.flush()
os._exit(0)
"""


def test_void_calls_keep_their_references() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "none"
