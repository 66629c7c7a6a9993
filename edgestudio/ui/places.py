"""What commands may ask of the window, handed on to it; see `studio.commands.commands.Window`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QInputDialog, QWidget


class Places:
    """Answers the commands; where to go is looked up by name in `shows` and `views`.

    The questions block until they are answered. The window itself never asks them this way (see
    `Desk.dialogs`); they serve whoever runs a command without its arguments.
    """

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self.shows: dict[str, Callable[[], object]] = {}
        self.views: dict[str, Callable[[], object]] = {}

    def ask_model_files(self) -> list[Path]:
        """Files that the user picks."""
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open model")
        return [Path(name) for name in names]

    def ask_save_path(self, title: str, suggested: str) -> Path | None:
        """Where to write."""
        name, _ = QFileDialog.getSaveFileName(self._window, title, suggested)
        return Path(name) if name else None

    def ask_text(self, title: str, prompt: str, initial: str = "") -> str | None:
        """One line."""
        text, is_given = QInputDialog.getText(self._window, title, prompt, text=initial)
        return text.strip() if is_given and text.strip() else None

    def show(self, what: str) -> None:
        """Bring a place forward; an unknown one is ignored."""
        self.shows.get(what, lambda: None)()

    def view(self, action: str) -> None:
        """Change the layout or the colours."""
        self.views.get(action, lambda: None)()

    def close(self) -> None:
        """Close the window."""
        self._window.close()
