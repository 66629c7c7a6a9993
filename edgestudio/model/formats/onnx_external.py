"""Checks where an ONNX model keeps its weights outside of the file, without reading them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from edgestudio.model.links import stays_inside
from edgestudio.wire.errors import ModelError


class ExternalData:
    """The data files one model refers to, each checked once."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.files: dict[str, int | None] = {}
        self._short: set[str] = set()
        self._nowhere: set[str] = set()
        self._counts: dict[str, int] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of all data files that are there."""
        return sum(size for size in self.files.values() if size)

    def add(self, tensor: str, entry: dict[str, str], expected: int | None) -> None:
        """Note that `tensor` is kept outside; raises ModelError when that is outside of the model's folder."""
        location = entry.get("location", "")
        if location not in self.files:
            self.files[location] = self._size(tensor, location)
        self._counts[location] = self._counts.get(location, 0) + 1
        size = self.files[location]
        place = span(entry)
        if place is None:
            self._nowhere.add(location)
        elif size is not None and place[0] + (place[1] or expected or 0) > size:
            self._short.add(location)

    def _size(self, tensor: str, location: str) -> int | None:
        path = check_location(self.model, tensor, location)
        return path.stat().st_size if path.is_file() else None

    def warnings(self) -> list[str]:
        """What is missing or too short, a sentence per data file."""
        said = []
        for location, size in self.files.items():
            if size is None:
                said.append(
                    f"the file {location} with {self._counts[location]} weights is missing; "
                    "put it beside the model before optimizing or running it"
                )
            elif location in self._short:
                said.append(
                    f"the file {location} is shorter than the weights in it; it was probably cut short"
                )
            if location in self._nowhere:
                said.append(
                    f"where weights in the file {location} begin or end is no number; they are not read"
                )
        return said


def check_location(model: Path, tensor: str, location: str) -> Path:
    """The data file of a tensor; raises ModelError when it is not inside of the model's folder."""
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    absolute = (
        PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or location.startswith("\\")
    )
    if location and not absolute and ".." not in parts and "\0" not in location:
        target = model.parent / location
        if stays_inside(target, model.parent):
            return target.resolve()
    raise ModelError(
        f"{model.name} wants to read weight {tensor!r} from outside of its folder ({location!r}); that is refused.",
        hint="Do not use this file: a model has no business elsewhere on the disk.",
        code="hostile-model",
    )


def span(entry: dict[str, str]) -> tuple[int, int] | None:
    """Where in its file a tensor begins, and its length or 0 where that is not said; None for what is no number."""
    numbers = [entry.get(key, "").strip() or "0" for key in ("offset", "length")]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        return None
    return int(numbers[0]), int(numbers[1])
