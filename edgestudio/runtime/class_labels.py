"""Which class each item of the data has: names from folders and lists, numbers from arrays, all checked."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgestudio.runtime.arrays import open_rows
from edgestudio.wire.errors import RecipeError

MAX_ITEMS = 5_000_000
MAX_LABELS_BYTES = 256 << 20
_CLASS_FILE = "labels.txt"


def class_names(path: Path) -> list[str]:
    """The names in the folder's labels.txt, one a line in the model's order; none where there is no such file."""
    file = path / _CLASS_FILE
    if not file.is_file() or file.stat().st_size > MAX_LABELS_BYTES:
        return []
    return [
        line.strip()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]


def class_index(value: str, names: Sequence[str], where: str) -> int:
    """The number of the class that `value` names or is; RecipeError naming `where` it stands."""
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
    if not names:
        raise RecipeError(
            f"{where} has the class '{value}', and nothing says which number that is",
            hint="Put the names, one a line in the model's order, into a labels.txt beside the data.",
            code="bad-label",
        )
    raise RecipeError(f"{where} has the class '{value}', which is none of: {known}", code="bad-label")


def csv_entries(root: Path, file: Path, names: Sequence[str]) -> list[tuple[Path, int | None]]:
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
            entries.append((path, class_index(cells[label_column], names, f"line {number} of {file.name}")))
            if len(entries) > MAX_ITEMS:
                raise RecipeError(f"{file.name} has more than {MAX_ITEMS} rows")
    return entries


def npz_labels(path: Path, count: int) -> npt.NDArray[np.int64] | None:
    """`y` of an .npz with `count` items, numbers or one-hot; None without `y`, RecipeError when it is no classes."""
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


def check_labels(labels: Sequence[int], path: Path, classes: int | None) -> None:
    """RecipeError when the data at `path` has a class that the model does not know."""
    if classes is None:
        return
    highest = max(labels, default=0)
    if highest >= classes:
        raise RecipeError(
            f"{path.name} has the class {highest}, but the model knows 0 to {classes - 1}",
            hint="Check that data and model belong together.",
            code="bad-label",
        )
