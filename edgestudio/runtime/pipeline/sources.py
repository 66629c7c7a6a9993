"""Where items come from: folders of images, sounds or tensors, arrays in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from edgestudio.runtime.arrays import Rows, open_rows, read_npy, read_raw
from edgestudio.runtime.class_labels import (
    MAX_ITEMS,
    check_labels,
    class_index,
    class_names,
    csv_entries,
    npz_labels,
)
from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.imaging import IMAGE_SUFFIXES, read_image
from edgestudio.runtime.pipeline.sound import AUDIO_SUFFIXES, read_sound
from edgestudio.wire.errors import InputError, RecipeError

_LOOK_THROUGH = "Remove it, or save it again; `edgestudio examine data` finds all such files."
_LABEL_FILES = ("labels.csv", "y_labels.csv")
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

    @property
    def labels(self) -> list[int]:
        """The known classes of the items, without reading any."""
        return [label for _, label in self._entries if label is not None]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Item]:
        for path, label in self._entries:
            yield Item(self._read(path), label, path.name)

    def readable(self, tell: Callable[[str, InputError], None]) -> Iterator[Item]:
        """The items, going on after one that cannot be read: `tell` gets its name and why."""
        for path, label in self._entries:
            try:
                yield Item(self._read(path), label, path.name)
            except InputError as error:  # noqa: PERF203 - going on is what it is for
                tell(path.name, error)

    def _read(self, path: Path) -> Any:
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            try:
                return read_image(path)
            except InputError as error:
                error.hint = error.hint or _LOOK_THROUGH
                raise
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
    """The rows of an .npz file, with the classes in `y` where there are any; read row by row.

    Items are the rows of `x`, or, where there is no `x`, mappings of each of the model's `inputs` to its own row.
    """

    def __init__(self, path: Path, classes: Sequence[str], inputs: Sequence[str] = ()) -> None:
        super().__init__((), classes, None)
        self._path = path
        self._rows = _npz_rows(path, inputs)
        self._labels = None if "y" in self._rows else npz_labels(path, len(self))

    @property
    def is_labelled(self) -> bool:
        """Whether the file has `y`."""
        return self._labels is not None

    @property
    def labels(self) -> list[int]:
        """What `y` says."""
        return [] if self._labels is None else self._labels.tolist()

    def readable(self, tell: Callable[[str, InputError], None]) -> Iterator[Item]:
        """All rows: a file is readable as a whole or not at all."""
        return iter(self)

    def __len__(self) -> int:
        return len(next(iter(self._rows.values())))

    def __iter__(self) -> Iterator[Item]:
        for index, rows in enumerate(zip(*self._rows.values(), strict=True)):
            item = rows[0] if len(rows) == 1 else dict(zip(self._rows, rows, strict=True))
            label = None if self._labels is None else int(self._labels[index])
            yield Item(item, label, f"{self._path.name}[{index}]")


def open_source(
    where: Path | str | FolderSource,
    *,
    labels: Sequence[str] = (),
    raw: RawLayout | None = None,
    classes: int | None = None,
    inputs: Sequence[str] = (),
    limit: int | None = None,
) -> Source:
    """Open data: a folder with a sub-folder of images per class, an .npz with `x` (and `y`), or files with labels.csv.

    For a model of several `inputs` the .npz has an array for each, named as the input.

    `labels` are the names of the classes in the model's order (pipeline.labels): folders and csv rows that
    carry those names get their index. `raw` says how .bin files are read, `classes` how many the model knows,
    `limit` takes the first so many. RecipeError for what is missing, empty, mixed up or out of range.
    """
    path = Path(where.path if isinstance(where, FolderSource) else where)
    if path.is_dir():
        source: Source = _folder(path, labels, raw)
    elif path.suffix.lower() == ".npz" and path.is_file():
        source = ArraySource(path, labels, inputs)
    elif path.is_file() and path.suffix.lower() in _SUFFIXES:
        source = Source([(path, None)], labels, raw)
    elif path.exists():
        raise RecipeError(
            f"{path.name} holds no data that can be read",
            hint="Give a folder, or an .npz with x and y.",
            code="no-items",
        )
    else:
        raise RecipeError(f"there is no data at {path}", hint="Check the path.", code="no-file")
    if len(source) == 0:
        raise RecipeError(
            f"{path.name} holds no items",
            hint="Give images, .wav, .npy or .bin files, or an .npz.",
            code="no-items",
        )
    if source.is_labelled:
        check_labels(source.labels, path, classes)
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

    def readable(self, tell: Callable[[str, InputError], None]) -> Iterator[Item]:
        """As the source behind it."""
        return islice(self._source.readable(tell), self._limit)


def _folder(path: Path, labels: Sequence[str], raw: RawLayout | None) -> Source:
    names = list(labels) or class_names(path)
    for file_name in _LABEL_FILES:
        if (path / file_name).is_file():
            return Source(csv_entries(path, path / file_name, names), names, raw)
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
        index = class_index(folder.name, names, f"the folder {folder.name}")
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


def _npz_rows(path: Path, inputs: Sequence[str]) -> dict[str, Rows]:
    """`x`, or the arrays that are named as the model's inputs; RecipeError when neither is there."""
    whole = open_rows(path, "x", is_required=False)
    if whole is not None and (len(inputs) < 2 or "x" not in inputs):
        return {"x": whole}
    named = {name: open_rows(path, name, is_required=False) for name in inputs}
    rows = {name: found for name, found in named.items() if found is not None}
    if not rows or len(rows) < len(inputs):
        missing = [name for name in inputs if name not in rows]
        wanted = f"{missing[0]!r}, an input of the model" if rows else "'x'"
        wants = f" or, for this model, an array for each of its inputs: {', '.join(inputs)}" if inputs else ""
        raise RecipeError(
            f"{path.name} has no array {wanted}", hint=f"Save the items as `x`{wants}.", code="no-array"
        )
    counts = {name: len(found) for name, found in rows.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise RecipeError(f"the arrays in {path.name} have different numbers of rows: {listed}")
    return rows
