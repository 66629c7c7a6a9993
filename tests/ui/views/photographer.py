"""Takes the pictures: each view in every size and both themes, with whatever pops up above it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QRect
from PySide6.QtWidgets import QApplication

from tests.journeys.hand import Hand

_SETTLE_S = 0.45


class Photographer:
    """`sizes` are of the window, in pixels that know nothing of the scale."""

    def __init__(
        self, app: Any, hand: Hand, output: Path, sizes: list[tuple[int, int]], only: str = ""
    ) -> None:
        self._app, self._hand, self._output, self._sizes, self._only = app, hand, output, sizes, only
        self.taken: list[str] = []
        self._modes = ["dark", "light"]

    def resize(self, width: int, height: int) -> None:
        """Give the window a size, at the screen's corner."""
        window = self._app.window
        self._hand.look(lambda: (window.move(0, 0), window.resize(width, height)))

    def take(self, name: str, *, settle_s: float = _SETTLE_S) -> None:
        """A picture of what is on the screen, for each size and theme."""
        from edgestudio.ui import theme

        if self._only and self._only not in name:
            return
        self.taken.append(name)
        # Changing the theme costs more than changing the size: each view begins with the theme of the one before.
        self._modes.reverse()
        for mode in self._modes:
            self._hand.look(lambda mode=mode: theme.set_mode(mode))
            for width, height in self._sizes:
                self.resize(width, height)
                time.sleep(settle_s)
                self.snap(self._output / f"{name}-{width}-{mode}.png", width, height)
        self.resize(*self._sizes[0])

    def snap(self, path: Path, width: int, height: int) -> None:
        """What the screen shows of the window, menus and dialogs included."""

        def save() -> bool:
            picture = QApplication.primaryScreen().grabWindow(0)
            ratio = picture.devicePixelRatio()
            part = QRect(0, 0, round(width * ratio), round(height * ratio))
            whole = picture.toImage().copy(part)
            return bool(whole.save(str(path)))

        if not self._hand.look(save):
            raise AssertionError(f"{path} could not be written")
