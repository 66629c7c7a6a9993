"""What the user may choose: one JSON file with the values that differ, `EDGESTUDIO_*` on top."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestudio.wire.errors import InputError
from edgestudio.wire.files import write_atomically

Migration = Callable[[dict[str, Any]], dict[str, Any]]
# The i-th turns a document of version i+1 into one of version i+2; the layout's version follows from them.
MIGRATIONS: tuple[Migration, ...] = ()
# Spelled like an override, but something else: where the state is, and the tests' collected models.
_NOT_SETTINGS = frozenset({"EDGESTUDIO_HOME", "EDGESTUDIO_TEST_MODELS"})


class Settings(BaseModel):
    """Every choice with its default; forms are built from this model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(1, description="Version of this document's layout.")
    theme: Literal["system", "light", "dark"] = Field("system", description="Colours of the window.")
    scale_percent: int = Field(100, ge=75, le=200, description="Size of text and controls, in percent.")
    heavy_jobs: int = Field(1, ge=1, le=16, description="How many heavy jobs may run at once.")
    worker_ready: bool = Field(
        True, description="Keep one worker process waiting (about 40 MB), so that models open sooner."
    )
    recent_files: int = Field(9, ge=0, le=50, description="How many recently opened files are remembered.")
    discovery: bool = Field(True, description="Look for boards on the local network.")
    discovery_interfaces: tuple[str, ...] = Field(
        (), description="Addresses of the interfaces to look on; empty means all, the loopback included."
    )
    chart_rate_hz: int = Field(20, ge=1, le=60, description="How often the dashboard is redrawn, per second.")
    history_minutes: int = Field(15, ge=1, le=240, description="How much telemetry the dashboard keeps.")
    reopen_last: bool = Field(False, description="Open the last model again at start.")


class SettingsStore:
    """Loads, changes and saves the settings; raises InputError for a file that cannot be used."""

    def __init__(self, path: Path, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._path = path
        self._migrations = migrations
        self._version = len(migrations) + 1
        self._saved: dict[str, Any] = {}
        self._listeners: list[Callable[[Settings], None]] = []
        self.current = Settings()

    def load(self) -> Settings:
        """Read the file, migrate it (with a copy of the old one beside it), apply the environment."""
        document = self._read()
        version = document.get("schema_version", 1)
        if not isinstance(version, int) or not 1 <= version <= self._version:
            raise InputError(
                f"{self._path} was written by another version of EdgeStudio (layout {version!r}).",
                hint="Update EdgeStudio, or move the file away to start from the defaults.",
                code="bad-settings",
            )
        if version < self._version:
            shutil.copy2(self._path, self._path.with_suffix(f".v{version}.json"))
            for migrate in self._migrations[version - 1 :]:
                document = migrate(document)
        document.pop("schema_version", None)
        self._saved = self._different(self._validate(document, str(self._path)))
        if version < self._version:
            self._write()
        self.current = self._validate({**self._saved, **_overrides()}, "An EDGESTUDIO_ variable")
        return self.current

    def change(self, **values: Any) -> Settings:
        """Set some values, save those that differ from their defaults, tell the listeners."""
        self._saved = self._different(self._validate({**self._saved, **values}, "This setting"))
        self._write()
        self.current = self._validate({**self._saved, **_overrides()}, "An EDGESTUDIO_ variable")
        for listener in tuple(self._listeners):
            listener(self.current)
        return self.current

    def on_change(self, listener: Callable[[Settings], None]) -> None:
        """Call `listener` with the new settings after each change, on the thread that changes them."""
        self._listeners.append(listener)

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._path} cannot be read: {error}",
                hint="Mend the file, or move it away to start from the defaults.",
                code="bad-settings",
            ) from error
        if not isinstance(document, dict):
            raise InputError(
                f"{self._path} holds no settings: it must be a JSON object.",
                hint="Mend the file, or move it away to start from the defaults.",
                code="bad-settings",
            )
        return document

    def _write(self) -> None:
        document = {"schema_version": self._version, **self._saved}
        write_atomically(self._path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def _validate(document: dict[str, Any], where: str) -> Settings:
        try:
            return Settings.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"{where} has a value that cannot be used: {name}: {first['msg']}",
                hint="Correct it, or remove it to use the default.",
                code="bad-settings",
            ) from error

    @staticmethod
    def _different(settings: Settings) -> dict[str, Any]:
        return settings.model_dump(mode="json", exclude_defaults=True)


def _overrides() -> dict[str, Any]:
    """Values from the environment: EDGESTUDIO_THEME=dark; lists are separated by commas."""
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        variable = f"EDGESTUDIO_{name.upper()}"
        value = os.environ.get(variable)
        if value is None or variable in _NOT_SETTINGS or name == "schema_version":
            continue
        is_list = "tuple" in str(field.annotation)
        found[name] = [part for part in value.split(",") if part] if is_list else value
    return found
