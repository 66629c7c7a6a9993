"""Models on their way between disk, library and rows."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgestudio.model.copying import content_sha256
from edgestudio.model.library.library import Entry
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError, ModelError

_LONGEST_PATH = 200


def row_of(entry: Entry) -> ModelRow:
    """An entry of the library as the stores hold it."""
    return ModelRow(
        sha256=entry.sha256,
        name=entry.name,
        path=str(entry.path),
        format=entry.format,
        size_bytes=entry.size_bytes,
        created=entry.created,
        parent=entry.parent,
        recipe=entry.recipe,
        version=entry.version,
        tags=entry.tags,
        summary=entry.summary,
        graph_path=text_or_none(entry.graph_path),
        layout_path=text_or_none(entry.layout_path),
        pipeline_path=text_or_none(entry.pipeline_path),
        data_path=entry.data,
        calibration_path=entry.calibration,
        before=entry.before,
        after=entry.after,
        steps=entry.steps,
        verdicts=entry.verdicts,
        warnings=entry.warnings,
        note=entry.note,
        facts=entry.facts,
        opened_from=entry.opened_from,
    )


def _in_the_way(path: Path) -> InputError:
    what = "a folder" if path.is_dir() else "another file"
    return InputError(
        f"{path} is {what} that is there already; it is not replaced.",
        hint="Choose another place, or take it away first.",
        code="unwritable",
    )


def copy_model(entry: Entry, to: Path) -> Path:
    """Copy a model and what it needs beside it to `to`, or into it where that is a folder; returns where it is.

    Raises InputError and leaves nothing half written: a folder is never replaced, nor another model's data file.
    """
    to = to / entry.path.name if to.is_dir() else to
    partial = to.with_name(f".{to.name}.partial")
    try:
        if to.is_dir():
            raise _in_the_way(to)
        to.parent.mkdir(parents=True, exist_ok=True)
        if entry.path.is_dir():
            shutil.copytree(entry.path, partial)
        else:
            shutil.copyfile(entry.path, partial)
        if not entry.companions and content_sha256(partial) != entry.sha256:
            raise ModelError(
                f"{entry.name} was changed in the library since it came there: its hash is another.",
                hint="Remove it and open it again from where it came from.",
                code="damaged-model",
            )
        for companion in entry.companions:
            beside = to.parent / companion.relative_to(entry.path.parent)
            if beside.exists() and not (beside.is_file() and filecmp.cmp(companion, beside, shallow=False)):
                raise _in_the_way(beside)
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(companion, beside)
        partial.replace(to)
        return to
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise InputError(
            f"{to} cannot be written: {why}.", hint="Choose another place.", code="unwritable"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink(missing_ok=True)


def keep_failing(made: Sequence[Path], to: Path) -> list[str]:
    """Copy small models to a folder, or the first of them to a file of a model's name; raises InputError."""
    is_file = to.suffix in (".onnx", ".tflite", ".json") and not to.is_dir()
    kept: list[str] = []
    if not made:
        return kept
    try:
        (to.parent if is_file else to).mkdir(parents=True, exist_ok=True)
        for file in made[:1] if is_file else made:
            target = to if is_file else to / file.name
            shutil.copyfile(file, target)
            kept.append(str(target.absolute()))
    except OSError as error:
        raise InputError(
            f"{to} cannot be written: {error.strerror}.", hint="Choose another place.", code="unwritable"
        ) from error
    return kept


def companions(path: Path, result: Mapping[str, Any]) -> tuple[Path, ...]:
    """The files beside a model that a worker says it needs."""
    return tuple(path.parent / name for name in result.get("companions") or ())


def _shortened(path: Path) -> str:
    text = str(path)
    return text if len(text) <= _LONGEST_PATH else f"{text[:_LONGEST_PATH]} …"


def problem_of(path: Path) -> ModelError | None:
    """Why a path cannot be opened, or None."""
    try:
        if not path.exists():
            return ModelError(f"There is no file {path}.", hint="Check the path.", code="missing-file")
        if not (path.is_file() or path.is_dir()):
            # A pipe or a device never says that it has ended.
            return ModelError(
                f"{path} is neither a file nor a folder.",
                hint="Choose a file or a folder.",
                code="not-a-file",
            )
        if not os.access(path, os.R_OK):
            return ModelError(
                f"{path} may not be read.", hint="Check the permissions of the file.", code="unreadable-file"
            )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return ModelError(
            f"{_shortened(path)} cannot be used: {reason[:1].lower()}{reason[1:]}.",
            hint="Check the path.",
            code="unreadable-file",
        )
    return None


def path_or_none(text: str | None) -> Path | None:
    """A path that may be absent."""
    return None if text is None else Path(text)


def text_or_none(path: Path | None) -> str | None:
    """A path that may be absent, as rows and requests hold it."""
    return None if path is None else str(path.absolute())
