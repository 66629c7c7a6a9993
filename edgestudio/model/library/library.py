"""The library: models by the hash of their content, each with its lineage, kept whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgestudio.model.copying import copy_in, tree_sha256
from edgestudio.model.graph import is_current
from edgestudio.model.library.folder_lock import FolderLock
from edgestudio.model.links import refuse_link
from edgestudio.model.texts import writable
from edgestudio.wire.errors import InputError, ModelError

SCHEMA_VERSION = 1
ENTRY, _CONTENT, _GRAPH, _LAYOUT, _PIPELINE = (
    "entry.json", "content", "graph.json", "layout.npz", "pipeline.yaml",
)  # fmt: skip
_STALE_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the library. `file` is its name inside the entry's folder, `folder` where that is.

    `parent` and `recipe` say what it was made from; `before`, `after` and `steps` what was measured then.
    `data` and `calibration` are where its data lies, outside of the library. `facts` are what is said about it:
    `training_date, dataset_version, metrics, tools`; `opened_from` is where its file was.
    """

    sha256: str
    name: str
    format: str
    file: str
    size_bytes: int
    created: float
    folder: Path
    parent: str | None = None
    recipe: str | None = None
    version: str = ""
    tags: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    calibration: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    verdicts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    opened_from: str | None = None

    @property
    def path(self) -> Path:
        """The model itself, a file or a folder."""
        return self.folder / _CONTENT / self.file

    @property
    def companions(self) -> tuple[Path, ...]:
        """What the model needs beside it, such as external weights."""
        content = self.folder / _CONTENT
        inside = self.path
        return tuple(
            item
            for item in sorted(content.rglob("*"))
            if item.is_file() and item != inside and inside not in item.parents
        )

    @property
    def graph_path(self) -> Path | None:
        """The graph without weights, None when there is none or another version saved it."""
        path = _existing(self.folder / _GRAPH)
        return path if path is not None and is_current(path) else None

    @property
    def is_outdated(self) -> bool:
        """True when the graph was saved in a form that this version does not read: the model wants inspecting."""
        return self.graph_path is None and _existing(self.folder / _GRAPH) is not None

    @property
    def layout_path(self) -> Path | None:
        """Where the graph's nodes are drawn, None when there is none."""
        return _existing(self.folder / _LAYOUT)

    @property
    def pipeline_path(self) -> Path | None:
        """How raw data becomes its input, None when nobody said."""
        return _existing(self.folder / _PIPELINE)


class Library:
    """Reads and writes files and hashes models: call it in a thread. Safe for several processes at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changing = threading.Lock()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Change what is said about a model: one thread of one process at a time, so that nothing said is lost.

        The folder's time tells the others; see `model.library.watch`.
        """
        with self._changing, contextlib.ExitStack() as held:
            try:
                held.enter_context(FolderLock(self._directory).held())
            except TimeoutError as error:
                raise InputError(
                    "The library is being changed by another program, and that does not end.",
                    hint="End the other edgestudio that hangs, then try again.",
                    code="library-in-use",
                ) from error
            except OSError as error:
                raise _unwritable(error) from error
            yield
            os.utime(self._directory)

    @property
    def directory(self) -> Path:
        """Where the library is kept."""
        return self._directory

    def entries(self) -> Iterator[Entry]:
        """All models, oldest first; what cannot be read is left out and stays on the disk."""
        found: list[Entry] = []
        if self._directory.is_dir():
            for folder in self._directory.iterdir():
                entry = _read(folder) if len(folder.name) == 64 else None
                if entry is not None:
                    found.append(entry)
        yield from sorted(found, key=lambda entry: entry.created)

    def damaged(self) -> list[Path]:
        """Folders of models whose description cannot be read; their files are as they were."""
        folders = self._directory.iterdir() if self._directory.is_dir() else ()
        return sorted(folder for folder in folders if len(folder.name) == 64 and _read(folder) is None)

    def get(self, sha256: str) -> Entry | None:
        """The model with this hash, or None."""
        return _read(self._directory / sha256)

    def add(
        self,
        source: Path,
        *,
        name: str,
        format: str,  # noqa: A002  the field's own name
        graph: Path | None = None,
        layout: Path | None = None,
        pipeline: Path | None = None,
        companions: Iterable[Path] = (),
        expected_sha256: str | None = None,
        **facts: Any,
    ) -> Entry:
        """Copy a model in and return its entry; a model that is there already keeps its content and age.

        `companions` are files that the model needs beside it, such as external weights. Raises ModelError
        when the source cannot be read or is not the expected content, InputError when the disk is full.
        """
        self._sweep()
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            staging = Path(tempfile.mkdtemp(dir=self._directory, prefix=".adding-"))
        except OSError as error:
            raise _unwritable(error) from error
        try:
            (staging / _CONTENT).mkdir()
            sha256, size = copy_in(source, staging / _CONTENT / source.name)
            hashes = {source.name: sha256}
            for companion in companions:
                inside = companion.relative_to(source.parent)
                refuse_link(companion, source.parent)
                hashes[inside.as_posix()], part = copy_in(companion, staging / _CONTENT / inside)
                size += part
            if expected_sha256 not in (None, sha256):
                raise ModelError(
                    f"{source} changed while it was being read.",
                    hint="Wait until whatever writes it has finished, then open it again.",
                    code="changed-file",
                )
            if len(hashes) > 1:  # the same graph with other weights beside it is another model
                sha256 = tree_sha256(hashes)
            shown, place = writable(name), self._directory / sha256
            entry = Entry(sha256, shown, format, source.name, size, time.time(), place, **facts)
            for extra, kept in ((graph, _GRAPH), (layout, _LAYOUT), (pipeline, _PIPELINE)):
                if extra is not None:
                    shutil.copyfile(extra, staging / kept)
            _write(entry, staging)
            with self._change():
                return self._place(staging, entry)
        except OSError as error:
            raise _unwritable(error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def update(
        self,
        sha256: str,
        *,
        graph: Path | None = None,
        layout: Path | None = None,
        pipeline: Path | None = None,
        **facts: Any,
    ) -> Entry:
        """Change what is said about a model; raises InputError when it is not there."""
        if self.get(sha256) is None:
            raise InputError(f"There is no model {sha256[:12]} in the library.", code="no-model")
        with self._change():
            entry = self.get(sha256)
            if entry is None:
                raise InputError(f"There is no model {sha256[:12]} in the library.", code="no-model")
            entry = replace(entry, **facts)
            try:
                for extra, kept in ((graph, _GRAPH), (layout, _LAYOUT), (pipeline, _PIPELINE)):
                    if extra is not None and extra != entry.folder / kept:
                        new = entry.folder / f".{kept}.{os.getpid()}"
                        shutil.copyfile(extra, new)
                        new.replace(entry.folder / kept)
                _write(entry, entry.folder)
            except OSError as error:
                raise _unwritable(error) from error
            return entry

    def remove(self, sha256: str) -> None:
        """Take a model out; its variants stay and still name it as their parent."""
        folder = self._directory / sha256
        if folder.is_dir():
            trash = self._directory / f".removed-{sha256[:16]}-{os.getpid()}"
            folder.rename(trash)
            shutil.rmtree(trash, ignore_errors=True)

    def set_aside(self, sha256: str) -> None:
        """Take a model out so that this process can `bring_back` it; raises InputError when it is not there."""
        folder = self._directory / sha256
        if not folder.is_dir():
            raise InputError(f"There is no model {sha256[:12]} in the library.", code="no-model")
        os.utime(folder)  # what is left by a crash is removed by its age
        folder.rename(self._aside(sha256))

    def bring_back(self, sha256: str) -> Entry:
        """Undo `set_aside`; raises InputError when it is gone."""
        known = self.get(sha256)
        if known is not None:
            return known
        try:
            self._aside(sha256).rename(self._directory / sha256)
        except OSError as error:
            raise InputError(
                f"The model {sha256[:12]} cannot be brought back.",
                hint="Open its file again.",
                code="no-model",
            ) from error
        entry = self.get(sha256)
        assert entry is not None
        return entry

    def drop_aside(self) -> None:
        """Remove for good what this process set aside."""
        for folder in self._directory.glob(f".aside-{os.getpid()}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _aside(self, sha256: str) -> Path:
        return self._directory / f".aside-{os.getpid()}-{sha256}"

    def _place(self, staging: Path, entry: Entry) -> Entry:
        known = self.get(entry.sha256)
        if known is None:
            _sync(staging)
            staging.rename(entry.folder)
            return entry
        # The content is the same; newer views of it replace the older ones.
        for extra in (_GRAPH, _LAYOUT, _PIPELINE):
            if (staging / extra).exists():
                (staging / extra).replace(entry.folder / extra)
        entry = replace(
            entry,
            created=known.created,
            file=known.file,
            tags=known.tags or entry.tags,
            version=known.version or entry.version,
            note=known.note or entry.note,
            facts={**entry.facts, **known.facts},
            opened_from=entry.opened_from or known.opened_from,
        )
        if known.parent is None:  # a source stays one, even when a recipe arrives at the same content
            entry = replace(entry, parent=None, recipe=None, data=entry.data or known.data)
        _write(entry, entry.folder)
        return entry

    def _sweep(self) -> None:
        """Remove what a crash left half added, once it is old enough to be nobody's."""
        if not self._directory.is_dir():
            return
        for leftover in self._directory.glob(".*-*"):
            with contextlib.suppress(
                FileNotFoundError
            ):  # whoever was adding it has just moved it to its place
                if time.time() - leftover.stat().st_mtime > _STALE_S:
                    shutil.rmtree(leftover, ignore_errors=True)


def _read(folder: Path) -> Entry | None:
    try:
        document = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
        if document.pop("schema_version") != SCHEMA_VERSION:
            return None
        known = {item.name for item in fields(Entry)}
        document = {key: value for key, value in document.items() if key in known}
        for name in ("tags", "steps", "warnings"):
            document[name] = tuple(document.get(name, ()))
        entry = Entry(**document, folder=folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return entry if entry.path.exists() else None


def _write(entry: Entry, folder: Path) -> None:
    document = asdict(entry)
    del document["folder"]
    new = folder / f".{ENTRY}.{os.getpid()}"
    text = json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=1, ensure_ascii=False)
    # A file's name need not be UTF-8: what is not stands as an escape of JSON, and is read back as it was.
    with new.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / ENTRY)


def _sync(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _unwritable(error: OSError) -> InputError:
    if error.errno == errno.ENOSPC:
        return InputError(
            "The disk is full; the library is as it was.",
            hint="Free some space and try again.",
            code="disk-full",
        )
    return InputError(
        f"The library cannot be written: {error.strerror or error}; it is as it was.",
        hint="Check the permissions of the studio's folder.",
        code="library-unwritable",
    )
