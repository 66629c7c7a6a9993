"""What files dropped on the window do: they are opened, and one dropped on a board is installed there as well."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QPoint

from edgestudio.studio.rows import BoardRow, ModelRow
from edgestudio.ui.desk import Desk
from edgestudio.ui.panels import board_words
from edgestudio.ui.panels.devices import DevicesPanel
from edgestudio.ui.requests import Requests
from edgestudio.ui.widgets.drop_veil import Aim


class FileDrops:
    """Judges by where files hover what dropping them there would do, and does it."""

    def __init__(
        self,
        desk: Desk,
        requests: Requests,
        devices: DevicesPanel,
        opened: Callable[[list[Path]], object],
    ) -> None:
        self._desk, self._requests, self._devices, self._opened = desk, requests, devices, opened

    def aim(self, files: list[Path], where: QPoint) -> Aim:
        """What dropping `files` at a point of the screen would do."""
        board = self._devices.files_over(where)
        what = files[0].name if len(files) == 1 else f"{len(files)} files"
        words, opens = f"Drop to open {what}", partial(self._opened, files)
        if board is None:
            return Aim(words, opens)
        if len(files) > 1:
            return Aim(f"{words}\nDrop one alone to install it on {board.name}", opens)
        if not board_words.accepts_models(board):
            return Aim(f"{words}\n{board_words.refusal(board)} to install it there", opens)
        return Aim(f"{words} and install it on {board.name}", partial(self._install, files, board))

    def left(self) -> None:
        """The files hover over nothing any more."""
        self._devices.files_over(None)

    def _install(self, files: list[Path], board: BoardRow) -> None:
        opening = self._desk.run("model.open", paths=files)
        if opening is not None:
            self._requests.follow(opening, partial(self._push, board.id))

    def _push(self, board: str, rows: list[ModelRow | None] | None) -> None:
        """Once it is open; what could not be opened was told."""
        for row in rows or ():
            if row is not None:
                self._devices.push(row.sha256, board)
