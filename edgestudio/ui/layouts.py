"""Where the docks are: remembered between runs, saved under names, and put back."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QMainWindow

# Raised when docks come or go, so that an older arrangement is not forced on them.
_VERSION = 2


class Layouts:
    """Keeps arrangements in one file of the studio's home; it is no setting, so nobody edits it."""

    def __init__(self, window: QMainWindow, path: Path) -> None:
        self._window = window
        self._file = QSettings(str(path), QSettings.Format.IniFormat)
        self._default: QByteArray | None = None

    def remember_default(self) -> None:
        """What `reset` goes back to: the arrangement of now."""
        self._default = self._window.saveState(_VERSION)

    def restore(self) -> None:
        """The arrangement of the last run."""
        geometry, state = self._file.value("geometry"), self._file.value("state")
        if isinstance(geometry, QByteArray):
            self._window.restoreGeometry(geometry)
        if isinstance(state, QByteArray):
            self._window.restoreState(state, _VERSION)

    def keep(self) -> None:
        """Remember the arrangement for the next run."""
        self._file.setValue("geometry", self._window.saveGeometry())
        self._file.setValue("state", self._window.saveState(_VERSION))
        self._file.sync()

    def reset(self) -> None:
        """Put everything where it was at first."""
        if self._default is not None:
            self._window.restoreState(self._default, _VERSION)

    def names(self) -> list[str]:
        """The saved arrangements."""
        self._file.beginGroup("named")
        names = sorted(self._file.childKeys())
        self._file.endGroup()
        return names

    def save(self, name: str) -> None:
        """Save the arrangement of now under a name."""
        self._file.setValue(f"named/{_key(name)}", self._window.saveState(_VERSION))
        self._file.sync()

    def load(self, name: str) -> bool:
        """Go to a saved arrangement; False when there is none of this name."""
        state = self._file.value(f"named/{_key(name)}")
        return isinstance(state, QByteArray) and self._window.restoreState(state, _VERSION)

    def remove(self, name: str) -> None:
        """Forget a saved arrangement."""
        self._file.remove(f"named/{_key(name)}")


def _key(name: str) -> str:
    return name.strip().replace("/", "-").replace("\\", "-")
