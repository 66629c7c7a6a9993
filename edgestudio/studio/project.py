"""A project file: the models, words about them, boards and selection of a piece of work, to be put back later."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestudio.studio.boards.boards import BoardService
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import EdgeStudioError, InputError
from edgestudio.wire.files import write_atomically

Migration = Callable[[dict[str, Any]], dict[str, Any]]
# The i-th turns a document of version i+1 into one of version i+2.
MIGRATIONS: tuple[Migration, ...] = ()
SCHEMA_VERSION = len(MIGRATIONS) + 1
_MOST_BYTES = 16 << 20


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectModel(_Document):
    """One model, named by its content, with what was said about it."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="The model's content.")
    name: str = Field(description="What it is called.")
    version: str = Field(default="", description="Its semantic version.")
    tags: tuple[str, ...] = Field(default=(), description="Its tags.")
    note: str = Field(default="", description="The note beside it.")
    facts: dict[str, Any] = Field(default_factory=dict, description="How it was made: see `library note`.")
    parent: str | None = Field(default=None, description="The content that it was made from.")
    recipe: str | None = Field(default=None, description="The recipe that made it.")
    steps: tuple[dict[str, Any], ...] = Field(
        default=(), description="The recipe's steps with their options."
    )
    data: str | None = Field(default=None, description="Its labelled data.")
    calibration: str | None = Field(default=None, description="Its calibration data.")
    file: str | None = Field(default=None, description="Where to find it when the library lost it.")


class ProjectBoard(_Document):
    """One board that belongs to the work."""

    id: str = Field(description="Fingerprint of its certificate.")
    name: str = Field(default="", description="What it is called.")
    host: str = Field(default="", description="Where it was last.")
    port: int = Field(default=0, ge=0, le=65535, description="Its port there.")


class Project(_Document):
    """The whole file."""

    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout.")
    saved: float = Field(default=0.0, description="When it was written, in Unix seconds.")
    models: tuple[ProjectModel, ...] = Field(default=(), description="The models, oldest first.")
    boards: tuple[ProjectBoard, ...] = Field(default=(), description="The boards.")
    selected_model: str | None = Field(default=None, description="The model that was selected.")
    selected_boards: tuple[str, ...] = Field(default=(), description="The boards that were selected.")
    layout: str = Field(default="", description="Name of the window's layout.")


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of restoring: hashes of models that are as the project says, those that are missing, and why."""

    project: Project
    models: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    boards: tuple[str, ...]
    unknown_boards: tuple[str, ...]


class ProjectService:
    """Saves and restores; restoring adds and renames, and never deletes."""

    def __init__(self, models: ModelService, boards: BoardService) -> None:
        self._models = models
        self._boards = boards
        self.current: Path | None = None

    async def save(
        self,
        path: Path,
        selected_model: str | None = None,
        selected_boards: Sequence[str] = (),
        layout: str = "",
    ) -> Path:
        """Write the state of the library and the boards; the file becomes the current project."""
        await self._models.start()
        project = Project(
            saved=time.time(),
            models=tuple(_model(row) for row in self._models.rows),
            boards=tuple(
                ProjectBoard(id=row.id, name=row.name, host=row.address, port=row.port)
                for row in self._boards.rows
                if row.is_paired
            ),
            selected_model=selected_model,
            selected_boards=tuple(selected_boards),
            layout=layout,
        )
        text = json.dumps(project.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        try:
            await asyncio.to_thread(write_atomically, path.absolute(), text, mode=0o644)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}.",
                hint="Choose another place.",
                code="unwritable",
            ) from error
        self.current = path.absolute()
        return self.current

    async def open(self, path: Path) -> Restored:
        """Read a project and put its state back; raises InputError (`bad-project`) for what is none."""
        project = await asyncio.to_thread(read_project, path)
        restored = await self.restore(project)
        self.current = path.absolute()
        return restored

    async def restore(self, project: Project) -> Restored:
        """Give every model of the project its words back, and open again what the library lost."""
        await self._models.start()
        there: list[str] = []
        missing: list[tuple[str, str]] = []
        for model in project.models:
            reason = await self._put_back(model)
            if reason:
                missing.append((model.name, reason))
            else:
                there.append(model.sha256)
        known = {row.id for row in self._boards.rows}
        return Restored(
            project,
            tuple(there),
            tuple(missing),
            tuple(board.id for board in project.boards if board.id in known),
            tuple(board.name or board.id[:12] for board in project.boards if board.id not in known),
        )

    async def _put_back(self, model: ProjectModel) -> str:
        """Why the model is missing, "" when it is there as the project says."""
        if self._models.rows.get(model.sha256) is None:
            reason = await self._find_again(model)
            if reason:
                return reason
        await self._models.set_words(
            model.sha256,
            name=model.name,
            tags=model.tags,
            version=model.version,
            note=model.note,
            facts=model.facts,
        )
        return ""

    async def _find_again(self, model: ProjectModel) -> str:
        try:
            await self._models.bring_back(model.sha256)
        except InputError:
            if model.file is None or not Path(model.file).exists():
                return "it is neither in the library nor where it was opened from"
            try:
                row = await self._models.open(Path(model.file), name=model.name)
            except EdgeStudioError as error:
                return error.sentence
            if row.sha256 != model.sha256:
                return f"{model.file} holds another model now"
        return ""


def read_project(path: Path) -> Project:
    """The project in a file; raises InputError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too big")
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document.get("schema_version") if isinstance(document, dict) else None
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            raise ValueError(f"its layout {version!r} is not one that this version reads")
        for migrate in MIGRATIONS[version - 1 :]:
            document = migrate(document)
        return Project.model_validate({**document, "schema_version": SCHEMA_VERSION})
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", hint="Check the path.", code="missing-file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is no project: {where}: {first['msg']}", hint=_HINT, code="bad-project"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no project: {error}.", hint=_HINT, code="bad-project") from error


def _model(row: ModelRow) -> ProjectModel:
    steps = tuple({"pass": step.get("pass"), "options": step.get("options")} for step in row.steps)
    return ProjectModel(
        sha256=row.sha256,
        name=row.name,
        version=row.version,
        tags=row.tags,
        note=row.note,
        facts=dict(row.facts),
        parent=row.parent,
        recipe=row.recipe,
        steps=steps,
        data=row.data_path,
        calibration=row.calibration_path,
        file=row.opened_from,
    )


_HINT = "A project is a file that EdgeStudio saved; it was changed, cut short, or is of a newer version."
