"""Where the studio keeps its state; `EDGESTUDIO_HOME` moves all of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from edgestudio.wire.errors import InputError


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files under one home."""

    home: Path

    @property
    def library(self) -> Path:
        """Models by content, with their lineage."""
        return self.home / "library"

    @property
    def jobs(self) -> Path:
        """One folder per running worker job; emptied when it ends."""
        return self.home / "jobs"

    @property
    def boards(self) -> Path:
        """Data of the boards that were started from here, one folder each."""
        return self.home / "boards"

    @property
    def identity(self) -> Path:
        """This desk's key and certificate."""
        return self.home / "identity"

    @property
    def publisher(self) -> Path:
        """The signing keys and the release repository."""
        return self.home / "publisher"

    @property
    def baselines(self) -> Path:
        """What the confidence of models on boards is compared with."""
        return self.home / "baselines"

    @property
    def history(self) -> Path:
        """What boards reported, across restarts."""
        return self.home / "history.sqlite"

    @property
    def broker(self) -> Path:
        """The broker through which boards may report, where the user wrote one down."""
        return self.home / "broker.yaml"

    @property
    def known_boards(self) -> Path:
        """The boards that this desk has paired with."""
        return self.home / "known-boards.json"

    @property
    def settings(self) -> Path:
        """The settings that differ from their defaults."""
        return self.home / "settings.json"

    @property
    def state(self) -> Path:
        """What is remembered between runs and is nobody's choice: recent files."""
        return self.home / "state.json"

    @property
    def logs(self) -> Path:
        """Logs of the studio and of the boards that it started."""
        return self.home / "logs"

    def create(self) -> None:
        """Make the home, readable by its owner alone; raises InputError when that is not possible."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.jobs, self.logs):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(
                f"{self.home} cannot be used for the studio's data: {error.strerror or error}",
                hint="Point EDGESTUDIO_HOME at a folder that you may write to.",
                code="home-unusable",
            ) from error


def default_paths() -> Paths:
    """The user's own home of the studio, or what `EDGESTUDIO_HOME` says."""
    moved = os.environ.get("EDGESTUDIO_HOME")
    home = Path(moved).expanduser() if moved else platformdirs.user_data_path("edgestudio", appauthor=False)
    return Paths(home.absolute())
