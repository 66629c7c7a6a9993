"""Bookmarks and notes that are kept beside a model, one small file that a person can read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edgestudio.wire.errors import InputError

_SCHEMA = 1
_MOST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in graph number `graph`: a node by its name, or where one looks from (zoom, left, top)."""

    title: str
    node: str = ""
    camera: tuple[float, float, float] | None = None
    graph: int = 0


@dataclass(frozen=True, slots=True)
class Marks:
    """Everything that was marked in one model; `notes` by the names of nodes."""

    bookmarks: tuple[Bookmark, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write them, whole or not at all; raises InputError when that is impossible."""
        document = {"schema_version": _SCHEMA, **asdict(self), "notes": dict(self.notes)}
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
            draft.replace(path)
        except OSError as error:
            raise InputError(
                f"The notes could not be kept: {error.strerror or error}.",
                hint="Check the room on the disk and the permissions of the studio's folder.",
            ) from error

    @classmethod
    def load(cls, path: Path) -> Marks:
        """Read what `save` wrote; none where there is no file, or one that cannot be read."""
        try:
            if path.stat().st_size > _MOST_BYTES:
                return cls()
            document = json.loads(path.read_text("utf-8"))
            if document["schema_version"] != _SCHEMA:
                return cls()
            bookmarks = tuple(_bookmark(each) for each in document["bookmarks"])
            return cls(bookmarks, {str(name): str(text) for name, text in document["notes"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()


def _bookmark(row: Mapping[str, object]) -> Bookmark:
    camera = row["camera"]
    place = None
    if isinstance(camera, list):
        zoom, left, top = (float(number) for number in camera)
        place = (zoom, left, top)
    return Bookmark(str(row["title"]), str(row["node"]), place, int(str(row["graph"])))
