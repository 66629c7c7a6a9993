"""What travels to and from a registry: a model's files with the facts about it, checked before they are believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from edgestudio.wire.errors import InputError, RefusedError

MOST_FILES = 10_000
MOST_FACTS_BYTES = 1 << 20
FACTS_FILE = "edgestudio.json"


class RegistryError(RefusedError):
    """A registry that cannot be reached, refuses, or answers with something else than was published."""

    code = "registry"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version of one model: `files` by their slash-separated path, the first of them the model itself.

    `facts` are JSON-able and describe it: sha256, format, parent, recipe, metrics, tags, tool versions.
    """

    name: str
    version: str
    files: Mapping[str, Path]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that a registry has, with its versions, newest last as far as the registry says."""

    name: str
    versions: tuple[str, ...]


class Registry(Protocol):
    """A place that keeps versions of models. All methods raise RegistryError with a reason and a hint."""

    async def models(self) -> list[Listed]:
        """What the registry has."""

    async def publish(self, artifact: Artifact) -> str:
        """Add a version and return the reference under which it is found; a version that exists is refused."""

    async def fetch(self, name: str, version: str, folder: Path) -> Artifact:
        """Bring a version's files into the empty `folder`; what does not match its digests is refused."""


def safe_path(name: str) -> PurePosixPath:
    """`name` as a relative path that stays inside its folder; raises RegistryError for any other."""
    path = PurePosixPath(name)
    is_plain = (
        name and not path.is_absolute() and not {"..", ".", ""} & set(name.split("/")) and "\\" not in name
    )
    if not is_plain or len(name) > 400 or any(ord(character) < 32 for character in name):
        raise RegistryError(
            f"the registry offers a file called {name[:80]!r}, which is no plain relative path",
            hint="Do not use this entry; tell whoever published it.",
        )
    return path


def files_of(model: Path, companions: tuple[Path, ...] = ()) -> dict[str, Path]:
    """The files of a model, a folder's with their paths below it, and of what lies beside it."""
    if model.is_dir():
        inside = sorted(path for path in model.rglob("*") if path.is_file())
        files = {f"{model.name}/{path.relative_to(model).as_posix()}": path for path in inside}
    else:
        files = {model.name: model}
    for companion in companions:
        files[companion.relative_to(model.parent).as_posix()] = companion
    if not files or len(files) > MOST_FILES:
        raise InputError(f"{model.name} has {len(files)} files; between 1 and {MOST_FILES} can be published.")
    return files


def sha256_of(path: Path) -> str:
    """The digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_facts(text: str | bytes) -> dict[str, Any]:
    """Facts as they were written by `json.dumps`; anything else counts as no facts."""
    if len(text) > MOST_FACTS_BYTES:
        return {}
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
