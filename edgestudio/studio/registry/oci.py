"""An OCI registry: one manifest a version, one blob a file, with the media types of the CNCF ModelPack.

Source: OCI Distribution Specification 1.1 (push, pull, tags); ModelPack model-spec 0.0.7 for the media types.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from edgestudio.studio.registry.artifact import (
    Artifact,
    Listed,
    RegistryError,
    parse_facts,
    safe_path,
    sha256_of,
)
from edgestudio.studio.registry.web import Web, file_chunks

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
FILE_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
FACTS = "dev.edgestudio.facts"

_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*")


class OciRegistry:
    """Models below `prefix` of the registry at `base` (https://host[:port]); tags are their versions."""

    def __init__(self, base: str, prefix: str = "", token: str | None = None) -> None:
        self._base, self._prefix, self._token = base, prefix.strip("/"), token

    async def models(self) -> list[Listed]:
        """The repositories below the prefix with their tags; registries may forbid listing."""
        async with Web(self._base, self._token) as web:
            catalog = await web.document("GET", "/v2/_catalog?n=1000")
            names = [str(name) for name in catalog.get("repositories") or []]
            start = f"{self._prefix}/" if self._prefix else ""
            listed = []
            for name in sorted(name for name in names if name.startswith(start)):
                tags = await web.document("GET", f"/v2/{quote(name)}/tags/list")
                if tags.get("tags"):
                    listed.append(
                        Listed(name.removeprefix(start), tuple(_version(t) for t in sorted(tags["tags"])))
                    )
            return listed

    async def publish(self, artifact: Artifact) -> str:
        """Push the blobs that the registry lacks, then the manifest."""
        repository, tag = self._repository(artifact.name), _tag(artifact.version)
        async with Web(self._base, self._token) as web:
            async with web.request(
                "HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST}
            ) as held:
                if held.status == 200:
                    raise RegistryError(
                        f"{repository}:{tag} is already in the registry",
                        hint="Published versions never change: choose another version.",
                        code="version-exists",
                    )
            layers = []
            for name, path in artifact.files.items():
                layer = {
                    "mediaType": WEIGHT,
                    "digest": f"sha256:{sha256_of(path)}",
                    "size": path.stat().st_size,
                }
                layer["annotations"] = {FILE_PATH: str(safe_path(name)), TITLE: str(safe_path(name))}
                await self._push(web, repository, layer, path)
                layers.append(layer)
            manifest = await self._manifest(web, repository, artifact, layers)
            headers = {"Content-Type": MANIFEST}
            async with web.request(
                "PUT", f"/v2/{repository}/manifests/{tag}", data=manifest, headers=headers
            ) as answer:
                await web.expect(answer, 201)
        return f"{repository}:{tag}"

    async def fetch(self, name: str, version: str, folder: Path) -> Artifact:
        """Pull a version; every blob is compared with the digest and size of the manifest."""
        repository = self._repository(name)
        async with Web(self._base, self._token) as web:
            headers = {"Accept": MANIFEST}
            manifest = await web.document(
                "GET", f"/v2/{repository}/manifests/{_tag(version)}", headers=headers
            )
            files = {}
            for layer in _layers(manifest, f"{name} {version}"):
                path = folder / safe_path(layer["name"])
                sha256 = layer["digest"].removeprefix("sha256:")
                address = f"/v2/{repository}/blobs/{layer['digest']}"
                await web.download(address, path, size_bytes=layer["size"], sha256=sha256)
                files[layer["name"]] = path
        return Artifact(
            name, version, files, parse_facts(str((manifest.get("annotations") or {}).get(FACTS, "")))
        )

    async def _manifest(
        self, web: Web, repository: str, artifact: Artifact, layers: list[dict[str, Any]]
    ) -> bytes:
        digests = [layer["digest"] for layer in layers]
        descriptor = {"name": artifact.name, "version": artifact.version}
        config = {"descriptor": descriptor, "config": {}, "modelfs": {"type": "layers", "diffIds": digests}}
        body = json.dumps(config).encode()
        described = {
            "mediaType": CONFIG,
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
            "size": len(body),
        }
        await self._push(web, repository, described, body)
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": ARTIFACT,
                "config": described,
                "layers": layers,
                "annotations": {FACTS: json.dumps(dict(artifact.facts))},
            }
        ).encode()

    async def _push(
        self, web: Web, repository: str, described: dict[str, Any], content: Path | bytes
    ) -> None:
        digest = described["digest"]
        async with web.request("HEAD", f"/v2/{repository}/blobs/{digest}") as held:
            if held.status == 200:
                return
        async with web.request("POST", f"/v2/{repository}/blobs/uploads/") as started:
            await web.expect(started, 202)
            location = urljoin(f"{web.base}/", started.headers.get("Location", ""))
        if not location.startswith(f"{web.base}/"):
            raise RegistryError(
                f"{web.base} wants the upload to go to another server", hint="Push to that one."
            )
        location += ("&" if "?" in location else "?") + f"digest={quote(digest)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(described["size"])}
        body = file_chunks(content) if isinstance(content, Path) else content
        async with web.request("PUT", location, data=body, headers=headers) as stored:
            await web.expect(stored, 201)

    def _repository(self, name: str) -> str:
        repository = "/".join(part for part in (self._prefix, name.lower().replace(" ", "-")) if part)
        if not _REPOSITORY.fullmatch(repository) or len(repository) > 255:
            raise RegistryError(
                f"{name!r} cannot be the name of a repository",
                hint="Registries take small letters and digits, parted by single dots, dashes or underscores.",
            )
        return repository


def _layers(manifest: Any, what: str) -> list[dict[str, Any]]:
    layers = []
    try:
        for layer in manifest["layers"]:
            annotations = layer.get("annotations") or {}
            name = annotations.get(FILE_PATH) or annotations.get(TITLE)
            digest, size = str(layer["digest"]), int(layer["size"])
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or size < 0 or not isinstance(name, str):
                raise ValueError("a layer without a name or digest")
            layers.append({"name": name, "digest": digest, "size": size})
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError(f"{what} is no model that can be fetched file by file ({error})") from error
    if not layers:
        raise RegistryError(f"{what} holds no files")
    return layers


def _tag(version: str) -> str:
    # Tags take no plus sign, which semantic versions put before build metadata.
    tag = version.replace("+", "__")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag):
        raise RegistryError(f"{version!r} cannot be a tag", hint="Use a semantic version such as 1.2.0.")
    return tag


def _version(tag: str) -> str:
    return tag.replace("__", "+")
