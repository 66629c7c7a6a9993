"""Releases laid out as read-only folders that a model host may open, rebuilt from blobs when damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from edgestudio.agent.store.blobs import BlobStore
from edgestudio.agent.store.fsops import FileOps, remove_tree, storage_error
from edgestudio.wire.api import is_safe_name
from edgestudio.wire.errors import DeviceError

MANIFEST = "manifest.json"
READ_BYTES = 4 << 20


def require_safe_name(name: str) -> str:
    """`name` itself when it can only ever be a plain file name; DeviceError `bad-name` otherwise."""
    if not is_safe_name(name):
        raise DeviceError(
            f"{name!r} cannot be a file name on a board.",
            hint="Use lower-case letters, digits, dots, dashes and underscores, at most 100.",
            code="bad-name",
        )
    return name


class SlotStore:
    """`root`/<model>/<release>/ with copies of the release's files: mode 0500, files 0400, no links.

    Nothing here waits for the disk: a slot is a copy, and `is_intact` reads every byte of it before it is used.
    """

    def __init__(self, ops: FileOps, root: Path, blobs: BlobStore) -> None:
        self._ops = ops
        self._root = root
        self._blobs = blobs

    def prepare(self) -> None:
        """Make the folder and remove half-built slots."""
        self._ops.mkdir(self._root)
        for model in self._ops.list_dir(self._root):
            for name in self._ops.list_dir(self._root / model):
                if name.endswith(".part"):
                    remove_tree(self._ops, self._root / model / name)

    def path(self, model: str, release: str) -> Path:
        """Where the slot is or will be."""
        return self._root / require_safe_name(model) / require_safe_name(release)

    def build(self, model: str, release: str, files: Mapping[str, str]) -> Path:
        """Lay out `files` (name -> digest) as the slot, in place of one that is there; returns its folder."""
        folder = self.path(model, release)
        part = folder.with_name(folder.name + ".part")
        try:
            self._ops.mkdir(folder.parent)
            remove_tree(self._ops, part)
            self._ops.mkdir(part)
            for name, digest in files.items():
                target = part / require_safe_name(name)
                self._ops.copy_new(self._blobs.path(digest), target)
                self._ops.protect(target, 0o400)
            if self._ops.exists(folder):
                remove_tree(self._ops, folder)
            self._ops.replace(part, folder)
            self._ops.protect(folder, 0o500)
        except OSError as failure:
            raise storage_error(failure, "laying out the release") from failure
        return folder

    def is_intact(self, model: str, release: str, files: Mapping[str, str]) -> bool:
        """Whether the slot holds exactly `files`, each with its digest; reads every byte."""
        folder = self.path(model, release)
        if self._ops.list_dir(folder) != sorted(files):
            return False
        return all(self._digest(folder / name) == digest for name, digest in files.items())

    def releases(self) -> list[tuple[str, str]]:
        """(model, release) of every complete slot."""
        return [
            (model, release)
            for model in self._ops.list_dir(self._root)
            for release in self._ops.list_dir(self._root / model)
            if not release.endswith(".part")
        ]

    def remove(self, model: str, release: str) -> None:
        """Remove a slot that nothing runs from."""
        remove_tree(self._ops, self.path(model, release))

    def read(self, model: str, release: str, name: str) -> bytes:
        """A small file of a slot; FileNotFoundError when there is none."""
        return self._ops.read(self.path(model, release) / require_safe_name(name))

    def _digest(self, path: Path) -> str | None:
        size = self._ops.size(path)
        if size is None:
            return None
        digest = hashlib.sha256()
        for offset in range(0, size, READ_BYTES):
            digest.update(self._ops.read_at(path, offset, READ_BYTES))
        return digest.hexdigest()
