"""A shared folder as a registry: NAME/VERSION/ with the files and their facts, renamed into place when whole."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path

from edgestudio.studio.registry.artifact import (
    FACTS_FILE,
    Artifact,
    Listed,
    RegistryError,
    parse_facts,
    safe_path,
    sha256_of,
)


class FolderRegistry:
    """Versions of models below one folder, which may lie on a share; each version is there whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def models(self) -> list[Listed]:
        """What the folder has; names in alphabetical order."""
        return await asyncio.to_thread(self._models)

    async def publish(self, artifact: Artifact) -> str:
        """Copy the files in; raises RegistryError when the version exists or the folder cannot be written."""
        return await asyncio.to_thread(self._publish, artifact)

    async def fetch(self, name: str, version: str, folder: Path) -> Artifact:
        """Copy a version's files out and compare them with their digests."""
        return await asyncio.to_thread(self._fetch, name, version, folder)

    def _models(self) -> list[Listed]:
        if not self._root.is_dir():
            raise RegistryError(
                f"the folder {self._root} is not there", hint="Is the share connected?", code="not-found"
            )
        found = []
        for model in sorted(path for path in self._root.iterdir() if path.is_dir() and path.name[0] != "."):
            versions = sorted(path.name for path in model.iterdir() if (path / FACTS_FILE).is_file())
            if versions:
                found.append(Listed(model.name, tuple(versions)))
        return found

    def _publish(self, artifact: Artifact) -> str:
        target = self._root / safe_path(artifact.name) / safe_path(artifact.version)
        if target.exists():
            raise RegistryError(
                f"{artifact.name} {artifact.version} is already in {self._root}",
                hint="Published versions never change: choose another version.",
                code="version-exists",
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".publishing-", dir=target.parent))
        except OSError as error:
            raise RegistryError(
                f"{self._root} cannot be written: {error.strerror}", hint="Check its rights."
            ) from error
        try:
            digests = {}
            for name, source in artifact.files.items():
                copy = staging / safe_path(name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                digests[name] = sha256_of(copy)
            facts = {"files": digests, "facts": dict(artifact.facts)}
            (staging / FACTS_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")
            staging.chmod(0o755)
            staging.rename(target)
        except OSError as error:
            raise RegistryError(
                f"{artifact.name} could not be published to {self._root}: {error.strerror}",
                hint="Is there room, and did somebody publish the same version just now?",
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return str(target)

    def _fetch(self, name: str, version: str, folder: Path) -> Artifact:
        source = self._root / safe_path(name) / safe_path(version)
        listed = source / FACTS_FILE
        if not listed.is_file():
            raise RegistryError(
                f"{name} {version} is not in {self._root}", hint="List the folder's models first."
            )
        document = parse_facts(listed.read_bytes())
        digests = document.get("files")
        if not isinstance(digests, dict) or not digests:
            raise RegistryError(
                f"{listed} does not list any files", hint="The entry is damaged: publish it again."
            )
        files = {}
        for file, digest in digests.items():
            copy = folder / safe_path(str(file))
            copy.parent.mkdir(parents=True, exist_ok=True)
            origin = source / safe_path(str(file))
            if not origin.is_file() or origin.is_symlink():
                raise RegistryError(
                    f"{file} of {name} {version} is missing", hint="Publish the version again."
                )
            shutil.copyfile(origin, copy)
            if sha256_of(copy) != digest:
                raise RegistryError(
                    f"{file} of {name} {version} is not what was published",
                    hint="Do not use it; publish it again.",
                )
            files[str(file)] = copy
        facts = document.get("facts")
        return Artifact(name, version, files, facts if isinstance(facts, dict) else {})
