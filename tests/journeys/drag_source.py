"""A little program beside the window: a file to be dragged out of it with a real pointer."""

from __future__ import annotations

import sys

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    """Begins a drag of the file as soon as it is pressed."""

    def __init__(self, path: str) -> None:
        super().__init__("drag me")
        self._path = path
        self.setWindowFlag(Qt.WindowType.FramelessWindowHint)
        self.setWindowFlag(Qt.WindowType.WindowStaysOnTopHint)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Offer the file to whoever takes files."""
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(self._path)])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)


def main() -> int:
    """Show the source at X Y until the program is ended."""
    path, x, y = sys.argv[1:4]
    app = QApplication(sys.argv[:1])
    source = Source(path)
    source.setGeometry(int(x), int(y), 90, 40)
    source.show()
    print("ready", flush=True)  # noqa: T201
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
