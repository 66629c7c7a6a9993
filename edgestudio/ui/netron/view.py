"""Shows a model in Netron's own view, in a window and process of its own: `-m edgestudio.ui.netron.view FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import shiboken6
from PySide6.QtCore import QUrl
from PySide6.QtGui import QIcon
from PySide6.QtWebEngineCore import QWebEnginePage
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

from edgestudio.ui.netron.scheme import START, make_profile, register_scheme


def run(path: Path) -> int:
    """Open the window and return the exit status when it is closed."""
    register_scheme()
    app = QApplication([sys.argv[0]])
    app.setApplicationName("EdgeStudio")
    view = QWebEngineView()
    page = QWebEnginePage(make_profile(path, app, drawing=True), view)
    view.setPage(page)
    view.setWindowTitle(f"{path.name} in Netron")
    view.setWindowIcon(QIcon.fromTheme("edgestudio"))
    view.resize(1200, 850)
    page.load(QUrl(START))
    view.show()
    status = app.exec()
    shiboken6.delete(view)  # with its page, which must go before the profile does
    return status


def main() -> int:
    """Check the argument and run."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("Netron's view takes one model file.", file=sys.stderr)  # noqa: T201
        return 2
    return run(Path(sys.argv[1]).absolute())


if __name__ == "__main__":
    sys.exit(main())
