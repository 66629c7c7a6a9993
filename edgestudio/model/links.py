"""Which links in a model's folder are followed: those that stay inside, and those of a download cache to its own files.

A cache of Hugging Face keeps every file once, under its hash, and shows each state of a repository as links:
`models--org--name/snapshots/<commit>/model.onnx` leads to `models--org--name/blobs/<hash>`
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgestudio.wire.errors import ModelError

_REPOSITORY = re.compile(r"models--[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Of git for small files, SHA-256 for large ones."""


def cache_blobs(path: Path) -> Path | None:
    """The `blobs` folder of the cache that `path` is in, with every link before it followed; None outside of one.

    The folders of the cache must be folders: one that is a link is not recognised.
    """
    place = path.absolute()
    for commit in (place, *place.parents):
        repository = commit.parent.parent
        if (
            commit.parent.name == "snapshots"
            and _COMMIT.fullmatch(commit.name)
            and _REPOSITORY.fullmatch(repository.name)
        ):
            blobs = repository / "blobs"
            folders = [blobs, commit.parent, repository, *_between(commit, place.parent)]
            is_plain = all(each.is_dir() and not each.is_symlink() for each in folders)
            return Path(os.path.realpath(blobs)) if is_plain else None
    return None


def _between(top: Path, bottom: Path) -> list[Path]:
    """The folders from `top` down to `bottom`, both included."""
    inside = [bottom, *bottom.parents]
    return inside[: inside.index(top) + 1] if top in inside else [top]


def stays_inside(item: Path, root: Path) -> bool:
    """True for what lies in the folder `root` itself, and for a link of a cache to one of its own files."""
    real = Path(os.path.realpath(item))
    if real.is_relative_to(os.path.realpath(root)):
        return True
    blobs = cache_blobs(item)
    return (
        blobs is not None
        and item.is_symlink()
        and real.parent == blobs
        and _HASH.fullmatch(real.name) is not None
        and real.is_file()
    )


def followed(path: Path) -> Path:
    """The file that a person means who chooses a link: what it leads to, with what lies beside that.

    A link in a cache stays as it is: what belongs to it lies beside the link.
    """
    is_plain = path.is_symlink() and path.is_file() and cache_blobs(path) is None
    return Path(os.path.realpath(path)) if is_plain else path


def refuse_link(item: Path, root: Path) -> None:
    """Raise ModelError for a link that leads out of a model's folder: what it names would be read, and copied along."""
    if not stays_inside(item, root):
        raise ModelError(
            f"{root.name} holds a link that leads out of its folder ({item.relative_to(root)}).",
            hint="If you trust it, copy it with what its links name (cp -rL) and open the copy.",
            code="hostile-model",
        )


def refuse_links(root: Path) -> None:
    """As `refuse_link`, for everything below a folder."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            item = Path(folder, name)
            if item.is_symlink():
                refuse_link(item, root)
