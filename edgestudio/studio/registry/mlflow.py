"""An MLflow model registry through its REST interface: a run that holds the files, a registered version that names it.

Source: MLflow REST API 2.0 (registered-models, model-versions, runs, mlflow-artifacts). The tracking server must
serve artifacts itself (`mlflow server --serve-artifacts`, its default).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgestudio.studio.registry.artifact import (
    MOST_FILES,
    Artifact,
    Listed,
    RegistryError,
    parse_facts,
    safe_path,
    sha256_of,
)
from edgestudio.studio.registry.web import Web, file_chunks

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_EXPERIMENT = "edgestudio"
_VERSION, _FACTS, _DIGESTS = "edgestudio.version", "edgestudio.facts", "edgestudio.files"
_MOST_TAG = 4900  # the server refuses longer values


class MlflowRegistry:
    """The models of one MLflow server. MLflow counts versions itself; ours stands in a tag beside its number."""

    def __init__(self, base: str, token: str | None = None) -> None:
        self._base, self._token = base, token

    async def models(self) -> list[Listed]:
        """Registered models with our version where one was given, else MLflow's number."""
        async with Web(self._base, self._token) as web:
            answer = await web.document("GET", f"{_API}/registered-models/search?max_results=200")
            listed = []
            for model in answer.get("registered_models") or []:
                versions = [_named(version) for version in await self._versions(web, str(model["name"]))]
                listed.append(Listed(str(model["name"]), tuple(reversed(versions))))
            return listed

    async def publish(self, artifact: Artifact) -> str:
        """Upload the files into a new run and register them as the model's next version."""
        async with Web(self._base, self._token) as web:
            await self._ensure_model(web, artifact.name)
            if any(_named(held) == artifact.version for held in await self._versions(web, artifact.name)):
                raise RegistryError(
                    f"{artifact.name} {artifact.version} is already in the registry",
                    hint="Published versions never change: choose another version.",
                    code="version-exists",
                )
            run = await self._start_run(web, artifact)
            root = str(run["artifact_uri"])
            place = _served(root, self._base)
            for name, path in artifact.files.items():
                address = f"{_FILES}/{quote(f'{place}/model/{safe_path(name)}')}"
                async with web.request("PUT", address, data=file_chunks(path)) as answer:
                    await web.expect(answer, 200)
            await web.document(
                "POST", f"{_API}/runs/update",
                json={"run_id": run["run_id"], "status": "FINISHED", "end_time": int(time.time() * 1000)},
            )  # fmt: skip
            digests = json.dumps({name: sha256_of(path) for name, path in artifact.files.items()})
            tags = {_VERSION: artifact.version, _FACTS: json.dumps(dict(artifact.facts)), _DIGESTS: digests}
            registered = await web.document(
                "POST", f"{_API}/model-versions/create",
                json={
                    "name": artifact.name, "source": f"{root}/model", "run_id": run["run_id"],
                    "tags": [{"key": key, "value": value} for key, value in tags.items() if len(value) <= _MOST_TAG],
                },
            )  # fmt: skip
        return f"models:/{artifact.name}/{registered['model_version']['version']}"

    async def fetch(self, name: str, version: str, folder: Path) -> Artifact:
        """Download the files of a version, given by ours or by MLflow's number."""
        async with Web(self._base, self._token) as web:
            held = next(
                (v for v in await self._versions(web, name) if version in (_named(v), str(v["version"]))),
                None,
            )
            if held is None:
                raise RegistryError(f"{name} {version} is not in the registry", code="not-found")
            place = _served(str(held["source"]), self._base)
            tags = _tags(held)
            digests = parse_facts(tags.get(_DIGESTS, "{}"))
            files: dict[str, Path] = {}
            for file in await self._listing(web, place):
                target = folder / safe_path(file)
                sha256 = digests.get(file)
                address = f"{_FILES}/{quote(f'{place}/{file}')}"
                await web.download(address, target, size_bytes=None, sha256=sha256)
                files[file] = target
        if not files or set(digests) - set(files):
            raise RegistryError(
                f"{name} {version} lacks files that it was published with", hint="Publish it again."
            )
        first = [file for file in digests if file in files] + sorted(set(files) - set(digests))
        return Artifact(
            name, version, {file: files[file] for file in first}, parse_facts(tags.get(_FACTS, "{}"))
        )

    async def _versions(self, web: Web, name: str) -> list[dict[str, Any]]:
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        query = quote(f"name='{quoted}'")
        answer = await web.document("GET", f"{_API}/model-versions/search?max_results=200&filter={query}")
        return list(answer.get("model_versions") or [])

    async def _ensure_model(self, web: Web, name: str) -> None:
        async with web.request("POST", f"{_API}/registered-models/create", json={"name": name}) as answer:
            if answer.status == 400 and b"RESOURCE_ALREADY_EXISTS" in await answer.content.read(4000):
                return
            await web.expect(answer, 200)

    async def _start_run(self, web: Web, artifact: Artifact) -> dict[str, Any]:
        async with web.request(
            "GET", f"{_API}/experiments/get-by-name?experiment_name={_EXPERIMENT}"
        ) as answer:
            held = await answer.json(content_type=None) if answer.status == 200 else None
        if held is None:
            made = await web.document("POST", f"{_API}/experiments/create", json={"name": _EXPERIMENT})
            experiment = made["experiment_id"]
        else:
            experiment = held["experiment"]["experiment_id"]
        metrics = artifact.facts.get("metrics")
        started = await web.document(
            "POST", f"{_API}/runs/create",
            json={
                "experiment_id": experiment, "run_name": f"{artifact.name} {artifact.version}",
                "start_time": int(time.time() * 1000),
            },
        )  # fmt: skip
        info: dict[str, Any] = started["run"]["info"]
        for key, value in (metrics if isinstance(metrics, dict) else {}).items():
            if isinstance(value, int | float):
                entry = {
                    "run_id": info["run_id"],
                    "key": str(key),
                    "value": value,
                    "timestamp": int(time.time() * 1000),
                }
                await web.document("POST", f"{_API}/runs/log-metric", json=entry)
        return info

    async def _listing(self, web: Web, place: str, below: str = "") -> list[str]:
        where = f"{place}/{below}".rstrip("/")
        answer = await web.document("GET", f"{_FILES}?path={quote(where)}")
        found: list[str] = []
        for entry in answer.get("files") or []:
            name = f"{below}/{safe_path(str(entry['path']))}".lstrip("/")
            found += await self._listing(web, place, name) if entry.get("is_dir") else [name]
            if len(found) > MOST_FILES:
                raise RegistryError(f"{where} holds more files than a model can have")
        return found


def _served(uri: str, base: str) -> str:
    """The path below the server's own artifacts that a run's location means."""
    scheme, _, rest = uri.partition(":/")
    if scheme != "mlflow-artifacts":
        raise RegistryError(
            f"{base} keeps this model's files elsewhere ({scheme}), not behind its own address",
            hint="Start it with --serve-artifacts, or fetch the files from there.",
        )
    return rest.lstrip("/")


def _tags(version: dict[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag["value"]) for tag in version.get("tags") or []}


def _named(version: dict[str, Any]) -> str:
    return _tags(version).get(_VERSION) or str(version["version"])
