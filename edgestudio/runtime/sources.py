"""Where items come from: folders of images, sounds or tensors, arrays in a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edgestudio.runtime.arrays import open_rows, read_npy, read_raw
from edgestudio.runtime.documents import Document
from edgestudio.runtime.imaging import IMAGE_SUFFIXES, read_image
from edgestudio.runtime.sound import AUDIO_SUFFIXES, read_sound
from edgestudio.wire.errors import RecipeError

MAX_ITEMS = 5_000_000
MAX_LABELS_BYTES = 256 << 20
_LABEL_FILES = ("labels.csv", "y_labels.csv")
_CLASS_FILE = "labels.txt"
_TENSOR_SUFFIXES = frozenset({".npy", ".bin", ".raw"})
_SUFFIXES = IMAGE_SUFFIXES | AUDIO_SUFFIXES | _TENSOR_SUFFIXES


class FolderSource(Document):
    """The files of a folder, again and again."""

    kind: Literal["folder"] = Field(description="Images, WAV files or tensors in a folder, or an .npz file.")
    path: str = Field(
        min_length=1, max_length=4096, description="The folder or .npz; relative to the release."
    )
    rate_hz: float = Field(10.0, gt=0, le=10_000, description="How many items a second are offered.")
    loops: bool = Field(True, description="Start again after the last item.")


class Item(NamedTuple):
    """One raw item, its class (None where unknown) and where it came from."""

    item: Any
    label: int | None
    name: str


@dataclass(frozen=True)
class RawLayout:
    """Element type and shape of raw .bin files."""

    dtype: str
    shape: tuple[int, ...]


class Source:
    """Items that can be counted and gone through any number of times, one at a time in memory."""

    def __init__(
        self, entries: Sequence[tuple[Path, int | None]], classes: Sequence[str], raw: RawLayout | None
    ):
        self._entries = entries
        self.classes = list(classes)
        self._raw = raw

    @property
    def is_labelled(self) -> bool:
        """Whether every item has a class."""
        return all(label is not None for _, label in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Item]:
        for path, label in self._entries:
            yield Item(self._read(path), label, path.name)

    def _read(self, path: Path) -> Any:
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            return read_image(path)
        if suffix in AUDIO_SUFFIXES:
            return read_sound(path)
        if suffix == ".npy":
            return read_npy(path)
        if self._raw is None:
            raise RecipeError(
                f"the element type and shape of {path.name} are unknown",
                hint="Set raw_dtype and raw_shape in the pipeline's tensor input.",
            )
        return read_raw(path, self._raw.dtype, self._raw.shape)


class ArraySource(Source):
    """The rows of `x` in an .npz file, with the classes in `y` where there are any; read row by row."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        super().__init__((), classes, None)
        self._path = path
        self._rows = open_rows(path, "x")
        self._labels = _npz_labels(path, len(self._rows))

    @property
    def is_labelled(self) -> bool:
        """Whether the file has `y`."""
        return self._labels is not None

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Item]:
        for index, row in enumerate(self._rows):
            label = None if self._labels is None else int(self._labels[index])
            yield Item(row, label, f"{self._path.name}[{index}]")


def open_source(
    where: Path | str | FolderSource,
    *,
    labels: Sequence[str] = (),
    raw: RawLayout | None = None,
    classes: int | None = None,
    limit: int | None = None,
) -> Source:
    """Open data: a folder with a sub-folder of images per class, an .npz with `x` (and `y`), or files with labels.csv.

    `labels` are the names of the classes in the model's order (pipeline.labels): folders and csv rows that
    carry those names get their index. `raw` says how .bin files are read, `classes` how many the model knows,
    `limit` takes the first so many. RecipeError for what is missing, empty, mixed up or out of range.
    """
    path = Path(where.path if isinstance(where, FolderSource) else where)
    if path.is_dir():
        source: Source = _folder(path, labels, raw)
    elif path.suffix.lower() == ".npz" and path.is_file():
        source = ArraySource(path, labels)
    elif path.is_file() and path.suffix.lower() in _SUFFIXES:
        source = Source([(path, None)], labels, raw)
    elif path.exists():
        raise RecipeError(
            f"{path.name} holds no data that can be read", hint="Give a folder, or an .npz with x and y."
        )
    else:
        raise RecipeError(f"there is no data at {path}", hint="Check the path.", code="no-file")
    if len(source) == 0:
        raise RecipeError(
            f"{path.name} holds no items", hint="Give images, .wav, .npy or .bin files, or an .npz."
        )
    _check_labels(source, path, classes)
    return source if limit is None or limit >= len(source) else Limited(source, limit)


class Limited(Source):
    """The first items of another source."""

    def __init__(self, source: Source, limit: int) -> None:
        super().__init__((), source.classes, None)
        self._source, self._limit = source, max(limit, 0)

    @property
    def is_labelled(self) -> bool:
        """As the source behind it."""
        return self._source.is_labelled

    def __len__(self) -> int:
        return min(self._limit, len(self._source))

    def __iter__(self) -> Iterator[Item]:
        return islice(iter(self._source), self._limit)


def _folder(path: Path, labels: Sequence[str], raw: RawLayout | None) -> Source:
    names = list(labels) or _class_names(path)
    for file_name in _LABEL_FILES:
        if (path / file_name).is_file():
            return Source(_csv_entries(path, path / file_name, names), names, raw)
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = _data_files(path)
    if folders and files:
        raise RecipeError(
            f"{path.name} holds files beside sub-folders: it is unclear which classes they have",
            hint="Put every file into a sub-folder named as its class, or add a labels.csv.",
        )
    if not folders:
        return Source([(file, None) for file in files], names, raw)
    if not names:
        names = _ordered([folder.name for folder in folders])
    entries: list[tuple[Path, int | None]] = []
    for folder in folders:
        index = _class_index(folder.name, names, f"the folder {folder.name}")
        entries.extend((file, index) for file in _data_files(folder))
    # Classes take turns, so that the first items of a source are a fair sample of it.
    return Source(_interleaved(entries), names, raw)


def _data_files(folder: Path) -> list[Path]:
    files = sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() in _SUFFIXES and entry.is_file()
    )
    if len(files) > MAX_ITEMS:
        raise RecipeError(f"{folder.name} holds more than {MAX_ITEMS} files")
    return files


def _interleaved(entries: list[tuple[Path, int | None]]) -> list[tuple[Path, int | None]]:
    seen: dict[int | None, int] = {}
    keyed = []
    for position, (path, label) in enumerate(entries):
        turn = seen[label] = seen.get(label, -1) + 1
        keyed.append((turn, position, path, label))
    return [(path, label) for _, _, path, label in sorted(keyed, key=lambda row: row[:2])]


def _ordered(names: list[str]) -> list[str]:
    if all(name.isdigit() for name in names):
        highest = max(int(name) for name in names)
        if highest < 100_000:
            return [str(index) for index in range(highest + 1)]
    return sorted(names)


def _class_names(path: Path) -> list[str]:
    file = path / _CLASS_FILE
    if not file.is_file() or file.stat().st_size > MAX_LABELS_BYTES:
        return []
    return [
        line.strip()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]


def _class_index(value: str, names: Sequence[str], where: str) -> int:
    if value in names:
        return list(names).index(value)
    if value.lstrip("-").isdigit():
        index = int(value)
        if index < 0 or (names and index >= len(names)):
            raise RecipeError(
                f"{where} has the class {index}, but there are {len(names)} classes", code="bad-label"
            )
        return index
    known = ", ".join(names[:10])
    raise RecipeError(f"{where} has the class '{value}', which is none of: {known}", code="bad-label")


def _csv_entries(root: Path, file: Path, names: Sequence[str]) -> list[tuple[Path, int | None]]:
    """Rows of `file,label`; a header may name the columns, otherwise the first is the file and the last the label."""
    if file.stat().st_size > MAX_LABELS_BYTES:
        raise RecipeError(f"{file.name} is too large")
    entries: list[tuple[Path, int | None]] = []
    inside = root.resolve()
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = csv.reader(stream)
        file_column, label_column = 0, -1
        for number, row in enumerate(rows, start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            lowered = [cell.lower() for cell in cells]
            if number == 1 and "file" in lowered:
                file_column = lowered.index("file")
                label_column = lowered.index("label") if "label" in lowered else -1
                continue
            if len(cells) < 2 or max(file_column, label_column) >= len(cells):
                raise RecipeError(
                    f"line {number} of {file.name} has no file and label", hint="Write `file,label`."
                )
            path = (root / cells[file_column]).resolve()
            if not path.is_relative_to(inside):
                raise RecipeError(f"line {number} of {file.name} leaves the folder: {cells[file_column]}")
            if not path.is_file():
                raise RecipeError(
                    f"line {number} of {file.name}: there is no file {cells[file_column]}", code="no-file"
                )
            entries.append((path, _class_index(cells[label_column], names, f"line {number} of {file.name}")))
            if len(entries) > MAX_ITEMS:
                raise RecipeError(f"{file.name} has more than {MAX_ITEMS} rows")
    return entries


def _npz_labels(path: Path, count: int) -> npt.NDArray[np.int64] | None:
    rows = open_rows(path, "y", is_required=False)
    if rows is None:
        return None
    values = np.asarray(list(rows))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "fiu":
        values = values.argmax(axis=1)  # one-hot
    if len(values) != count:
        raise RecipeError(f"{path.name} has {count} rows in x but {len(values)} in y", code="bad-label")
    if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.all(np.isfinite(values)):
        raise RecipeError(f"y in {path.name} must be one class number per row of x", code="bad-label")
    if np.any(values != np.floor(values)) or np.any(values < 0):
        raise RecipeError(f"y in {path.name} must hold class numbers from 0", code="bad-label")
    return values.astype(np.int64)


def _check_labels(source: Source, path: Path, classes: int | None) -> None:
    if classes is None or not source.is_labelled:
        return
    if isinstance(source, ArraySource):
        labels = [] if source._labels is None else source._labels.tolist()
    else:
        labels = [label for _, label in source._entries if label is not None]
    highest = max(labels, default=0)
    if highest >= classes:
        raise RecipeError(
            f"{path.name} has the class {highest}, but the model knows 0 to {classes - 1}",
            hint="Check that data and model belong together.",
            code="bad-label",
        )
